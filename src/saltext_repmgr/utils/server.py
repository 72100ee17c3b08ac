"""Questions to a PostgreSQL server; each returns facts and raises when it cannot ask."""

import contextlib

from saltext_repmgr.utils import db
from saltext_repmgr.utils import drained
from saltext_repmgr.utils.existing import KEPT
from saltext_repmgr.utils.facts import LIMITS
from saltext_repmgr.utils.facts import NodeRecord
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.scrub import scrub

# One round trip. A primary's timeline is the one it writes: the control file knows a
# new timeline only after the next checkpoint. A standby's is the one it receives, or,
# while it receives nothing, that of its last restart point. Seconds are rounded to what an
# interval holds, so that JSON has them as floats.
_SERVER = """
  WITH settings AS MATERIALIZED (SELECT name, setting, pending_restart FROM pg_settings)
SELECT s.system_identifier::text,
       r.in_recovery,
       CASE WHEN r.in_recovery
            THEN coalesce(w.received_tli, c.timeline_id)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
       END AS timeline,
       p.lsn::text AS lsn,
       to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
           AS started,
       current_setting('server_version_num')::int AS version,
       w.status AS receiver, coalesce(w.sender_host, k.host) AS upstream_host,
       w.sender_port AS upstream_port,
       w.conninfo AS used, k.setting AS configured,
       coalesce(nullif(current_setting('cluster_name'), ''), 'walreceiver') AS fallback_name,
       coalesce(w.slot_name, (SELECT setting FROM settings WHERE name = 'primary_slot_name'), '')
           AS slot_used,
       CASE WHEN NOT r.in_recovery THEN (
           SELECT upper(to_hex(('x' || substr(min(name), 9, 8))::bit(32)::bigint)) || '/' ||
                  upper(to_hex(('x' || substr(min(name), 17, 8))::bit(32)::bigint * z.size))
             FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')
       END AS oldest_wal,
       coalesce(current_setting('restore_command', true), '') <> '' AS has_archive,
       current_setting('synchronous_standby_names') AS synchronous,
       current_setting('max_wal_senders')::int AS max_wal_senders,
       current_setting('max_replication_slots')::int AS max_replication_slots,
       (SELECT setting::int FROM settings WHERE name = 'max_slot_wal_keep_size') AS max_slot_wal,
       (SELECT last_failed_wal FROM pg_stat_archiver
         WHERE last_failed_time > coalesce(last_archived_time, '-infinity')) AS archive_failing,
       CASE WHEN current_setting('archive_mode') <> 'off'
            THEN (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%%.ready')::int
            ELSE 0 END AS archive_waiting,
       CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn()::text END AS replay_lsn,
       CASE WHEN r.in_recovery
            THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
       END AS replay_age,
       CASE WHEN r.in_recovery THEN pg_is_wal_replay_paused() END AS replay_paused,
       (SELECT setting::int FROM settings WHERE name = 'recovery_min_apply_delay') AS apply_delay,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM %(role)s
           AND pid <> pg_backend_pid())::int AS clients,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
       (SELECT coalesce(json_agg(x), '[]') FROM (
           SELECT application_name, state, sent_lsn, write_lsn, flush_lsn, replay_lsn, sync_state,
                  round(extract(epoch FROM write_lag)::numeric, 6) AS write_lag,
                  round(extract(epoch FROM flush_lag)::numeric, 6) AS flush_lag,
                  round(extract(epoch FROM replay_lag)::numeric, 6) AS replay_lag
             FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'
            ORDER BY application_name) x) AS senders,
       (SELECT coalesce(json_agg(x), '[]') FROM (
           SELECT t.slot_name, t.slot_type, t.active, t.restart_lsn,
                  pg_wal_lsn_diff(p.lsn, t.restart_lsn)::bigint AS retained_bytes,
                  t.wal_status, a.application_name
             FROM pg_replication_slots t LEFT JOIN pg_stat_replication a ON a.pid = t.active_pid
            WHERE NOT t.temporary
            ORDER BY t.slot_name) x) AS slots,
       (SELECT json_object_agg(name, setting::int) FROM settings
         WHERE name = ANY (%(limits)s)) AS limits,
       (SELECT json_object_agg(name, setting) FROM settings
         WHERE name = ANY (%(kept)s)) AS kept,
       (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM settings
         WHERE pending_restart AND name <> 'data_directory') AS pending,
       to_regclass('repmgr.nodes') IS NOT NULL AS has_nodes
  FROM pg_control_system() s
 CROSS JOIN pg_control_checkpoint() c
 CROSS JOIN (SELECT pg_is_in_recovery() AS in_recovery) r
 CROSS JOIN LATERAL (
      SELECT CASE WHEN r.in_recovery
                  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_lsn()
             END AS lsn) p
 CROSS JOIN (SELECT setting::bigint AS size FROM settings WHERE name = 'wal_segment_size') z
  LEFT JOIN pg_stat_wal_receiver w ON true
  LEFT JOIN (SELECT setting, substring(setting FROM '(?:^|[[:space:]])host=''?([^''[:space:]]+)') AS host
               FROM settings WHERE name = 'primary_conninfo') k ON r.in_recovery
"""
# The functions answer NULL where repmgr's library is not preloaded.
_METADATA = """
SELECT (SELECT coalesce(json_agg(x), '[]') FROM (
           SELECT n.node_id, n.node_name, n.type, n.upstream_node_id, n.active, n.location,
                  n.priority, n.conninfo, n.slot_name, n.config_file, e.details AS drained
             FROM repmgr.nodes n LEFT JOIN LATERAL (
                  SELECT event, details FROM repmgr.events
                   WHERE node_id = n.node_id AND event = ANY (%(events)s)
                   ORDER BY event_timestamp DESC LIMIT 1) e ON e.event = %(drained)s
            ORDER BY n.node_id) x) AS nodes,
       CASE WHEN repmgr.repmgrd_is_running() THEN repmgr.get_repmgrd_pid() END AS repmgrd_pid,
       repmgr.repmgrd_is_paused() AS repmgrd_paused,
       CASE WHEN repmgr.repmgrd_is_running() THEN repmgr.get_upstream_node_id() END AS watched,
       (SELECT extversion FROM pg_extension WHERE extname = 'repmgr') AS extension,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'repmgr')
           AS extension_offered
"""
# Who is registered is back, whatever was before.
_EVENTS = (drained.EVENT, "primary_register", "standby_register", "witness_register")


def describe(connection, role):
    """Return a :class:`~saltext_repmgr.utils.facts.Server` for an open connection.

    role
        Name of repmgr's role, whose sessions do not count as clients.
    """
    names = {"limits": list(LIMITS), "kept": list(KEPT)}
    facts = db.row(connection, _SERVER, {"role": role, **names})
    if facts.pop("has_nodes"):
        facts |= db.row(connection, _METADATA, {"events": list(_EVENTS), "drained": drained.EVENT})
        facts["nodes"] = tuple(map(_record, facts["nodes"]))
    connections = (facts.pop("used"), facts.pop("configured"))
    facts |= _identity(connections, facts.pop("fallback_name"))
    facts["senders"] = tuple(Sender(**row) for row in facts["senders"])
    facts["pending"] = tuple(facts["pending"])
    facts["slots"] = tuple(Slot(**row) for row in facts["slots"])
    return Server(**facts)


def _identity(connections, fallback):
    """How a standby calls itself; a password in its connection strings goes no further.

    connections
        The one it uses and the one it is configured with. The server does not quote what it says of
        the former, so that it cannot always be read.
    """
    from psycopg2 import ProgrammingError  # pylint: disable=import-outside-toplevel
    from psycopg2.extensions import parse_dsn  # pylint: disable=import-outside-toplevel

    for text in filter(None, connections):
        with contextlib.suppress(ProgrammingError):
            found = parse_dsn(text)
            name = found.get("application_name") or fallback
            return {"sends_as": name, "passfile": found.get("passfile", "")}
    return {}


def _record(row):
    # Whoever registered by hand may have put a password there, and facts travel.
    told = {"conninfo": scrub(row["conninfo"]), "drained": drained.from_json(row["drained"])}
    return NodeRecord(**{**row, **told})
