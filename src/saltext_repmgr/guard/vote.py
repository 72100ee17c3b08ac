"""repmgr's ``failover_validation_command``: may the winner of an election promote itself?

Ends with 0 to let it, and with 1 to have the election repeated later.
"""

import os
import sys
import time

import psycopg2

from . import config
from . import rules
from . import sessions
from . import wal
from .probe import Probe
from .probe import step_all
from .probe import wait

_PATIENCE = 12
_LOCAL = """
SELECT pg_is_in_recovery(), repmgr.get_upstream_last_seen(),
       coalesce(repmgr.get_upstream_node_id(), -1),
       coalesce(repmgr.repmgrd_is_running() AND NOT repmgr.repmgrd_is_paused(), false)
"""
_NODES = """
SELECT node_id, node_name, type, coalesce(upstream_node_id, -1), active, conninfo
  FROM repmgr.nodes ORDER BY node_id
"""
# So long others see that this node is about to be promoted.
_ANNOUNCED_SECONDS = 20


def _own(cursor):
    cursor.execute(_LOCAL)
    in_recovery, last_seen, upstream, repmgrd = cursor.fetchone()
    return rules.Answer(in_recovery, 0, "", last_seen, upstream, repmgrd)


def _announce(conninfo):
    """Hold a session open, in a process of its own, that start checks elsewhere look for."""
    ready, told = os.pipe()
    if os.fork():
        os.close(told)
        return os.read(ready, 1) == b"+"
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        # repmgrd reads this command's output until it is closed.
        os.dup2(null, fd)
    try:
        connection = psycopg2.connect(conninfo, connect_timeout=2, application_name=sessions.VOTE)
        os.write(told, b"+")
        os.close(told)
        time.sleep(_ANNOUNCED_SECONDS)
        connection.close()
    finally:
        os._exit(0)


def _electorate(cursor, told, upstream):
    """Return ``(the primary or None, the other electors)`` as they are recorded."""
    cursor.execute(_NODES)
    peers = [config.Peer(*row) for row in cursor.fetchall()]
    primary = next((p for p in peers if p.node_id == upstream), None)
    return primary, [p for p in config.electors(peers, upstream) if p.node_id != told.node_id]


def judge(told):
    """Ask until there is a verdict; return it."""
    connection = psycopg2.connect(told.own_conninfo, connect_timeout=2)
    connection.autocommit = True
    cursor = connection.cursor()
    primary, others = _electorate(cursor, told, _own(cursor).upstream)
    if primary is None:
        return rules.Verdict(rules.Vote.DENY, "repmgrd does not say which node it watches")
    of_primary = Probe(primary, 0.1)
    of_others = [Probe(p, 0.1) for p in others]
    announced = False
    clean = None
    deadline = time.monotonic() + _PATIENCE
    while True:
        now = step_all([of_primary, *of_others])
        member = of_primary.member(now)
        if clean is None and member.refused:
            clean = wal.shut_down_cleanly(cursor, told.data_directory)
        verdict = rules.vote(
            _own(cursor),
            told.vote_seconds,
            member,
            [p.member(now) for p in of_others],
            bool(clean),
        )
        if verdict.do is rules.Vote.DENY:
            return verdict
        if verdict.do is rules.Vote.GRANT:
            if announced:
                return verdict
            # A primary that comes back from now on sees the announcement; one that came back
            # before it, the next look sees.
            announced = _announce(told.own_conninfo)
        if now > deadline:
            return verdict
        wait([of_primary, *of_others], 0.1)


def main():
    """Judge, say why, and return the exit code."""
    told = config.load()
    if not told.fence:
        return 0
    try:
        verdict = judge(told)
    except psycopg2.Error as err:
        print(f"no vote: PostgreSQL on this node does not answer: {err}")
        return 1
    granted = verdict.do is rules.Vote.GRANT
    print(f"{'granted' if granted else 'not granted'}: {verdict.reason}")
    return 0 if granted else 1


if __name__ == "__main__":
    sys.exit(main())
