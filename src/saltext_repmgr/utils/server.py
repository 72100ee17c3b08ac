"""Questions to a PostgreSQL server; each returns facts and raises when it cannot ask."""

from saltext_repmgr.utils import db
from saltext_repmgr.utils.facts import NodeRecord
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.facts import Slot

# One round trip. A primary's timeline is the one it writes: the control file knows a
# new timeline only after the next checkpoint. A standby's is the one it receives, or,
# while it receives nothing, that of its last restart point.
_SERVER = """
SELECT s.system_identifier::text,
       r.in_recovery,
       CASE WHEN r.in_recovery
            THEN coalesce(w.received_tli, c.timeline_id)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
       END AS timeline,
       (CASE WHEN r.in_recovery
             THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
             ELSE pg_current_wal_lsn()
        END)::text AS lsn,
       to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
           AS started,
       current_setting('server_version_num')::int AS version,
       w.status AS receiver, coalesce(w.sender_host, p.host) AS upstream_host,
       w.sender_port AS upstream_port,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM %(role)s
           AND pid <> pg_backend_pid())::int AS clients,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
       to_regclass('repmgr.nodes') IS NOT NULL AS has_nodes
  FROM pg_control_system() s
 CROSS JOIN pg_control_checkpoint() c
 CROSS JOIN (SELECT pg_is_in_recovery() AS in_recovery) r
  LEFT JOIN pg_stat_wal_receiver w ON true
  LEFT JOIN (SELECT substring(setting FROM '(?:^|[[:space:]])host=''?([^''[:space:]]+)') AS host
               FROM pg_settings WHERE name = 'primary_conninfo') p ON r.in_recovery
"""
_SENDERS = """
SELECT application_name, state, sent_lsn::text, replay_lsn::text, sync_state
  FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY application_name
"""
_SLOTS = """
SELECT slot_name AS name, active,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint AS retained
  FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary ORDER BY slot_name
"""
_NODES = """
SELECT node_id, node_name, type, upstream_node_id, active, location, priority, conninfo,
       slot_name, config_file
  FROM repmgr.nodes ORDER BY node_id
"""


def describe(connection, role):
    """Return a :class:`~saltext_repmgr.utils.facts.Server` for an open connection.

    role
        Name of repmgr's role, whose sessions do not count as clients.
    """
    facts = db.row(connection, _SERVER, {"role": role})
    nodes = None
    if facts.pop("has_nodes"):
        nodes = tuple(NodeRecord(**row) for row in db.rows(connection, _NODES))
    senders = tuple(Sender(**row) for row in db.rows(connection, _SENDERS))
    slots = tuple(Slot(**row) for row in db.rows(connection, _SLOTS))
    return Server(nodes=nodes, senders=senders, slots=slots, **facts)
