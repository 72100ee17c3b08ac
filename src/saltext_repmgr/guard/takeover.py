"""A failover that repmgrd does not begin by itself: ``python3 -m repmgr_guard.takeover``.

repmgrd looks for a new primary at the moment at which it loses the old one and then only once
more. A primary that goes while repmgrd is paused, or not running, is never replaced by it. The
guard sees that there has been no primary for a while and runs this. The vote decides, as always.
"""

import shlex
import subprocess
import sys

import psycopg2

from . import config
from . import rules
from . import sessions
from . import vote

_PROMOTE_SECONDS = 120
_MEMBERS = """
SELECT node_id, node_name, priority, location, conninfo, type, upstream_node_id
  FROM repmgr.nodes WHERE active
"""
_STATE = f"""
SELECT pg_is_in_recovery() AS in_recovery,
       coalesce(repmgr.repmgrd_is_running() AND NOT repmgr.repmgrd_is_paused(), false) AS repmgrd,
       {sessions.VOTING} AS voting,
       (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint AS lsn
"""


def _rows(conninfo, query, **place):
    connection = psycopg2.connect(
        conninfo,
        connect_timeout=2,
        application_name="repmgr-guard",
        **{**place, "options": f"{config.PINNED} -c statement_timeout=5s"},
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
    finally:
        connection.close()


def _heir(member, conninfo, **place):
    """Return the :class:`~.rules.Heir` that a member is, or None where it does not answer."""
    try:
        (state,) = _rows(conninfo, _STATE, **place)
    except psycopg2.Error:
        return None
    return rules.Heir(
        member["node_id"], member["node_name"], member["priority"], member["location"], **state
    )


def objection(told):
    """Return why this node does not take over; empty where the vote lets it."""
    members = {m["node_id"]: m for m in _rows(told.own_conninfo, _MEMBERS)}
    own = members.get(told.node_id)
    primary = members.get(own["upstream_node_id"]) if own else None
    if primary is None or primary["type"] != "primary":
        return "this node is not a standby of the primary"
    me = _heir(own, told.own_conninfo)
    if me is None:
        return "PostgreSQL on this node does not answer"
    siblings = [
        m
        for m in members.values()
        if m["type"] == "standby"
        and m["upstream_node_id"] == primary["node_id"]
        and m["node_id"] != told.node_id
    ]
    found = [_heir(m, m["conninfo"], **config.AS_MEMBER) for m in siblings]
    others = [heir for heir in found if heir is not None]
    why = rules.unfit(me, others, primary["location"])
    if why:
        return why
    verdict = vote.judge(told)
    return "" if verdict.do is rules.Vote.GRANT else verdict.reason


def main():
    """Take over, or say why not."""
    told = config.load()
    try:
        why = objection(told)
    except psycopg2.Error as err:
        why = " ".join(str(err).split())
    if why:
        print(f"there is no primary, and this node does not take over: {why}", flush=True)
        return 1
    print("there is no primary, and repmgrd does not promote one: this node takes over", flush=True)
    done = subprocess.run(shlex.split(told.promote), check=False, timeout=_PROMOTE_SECONDS)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
