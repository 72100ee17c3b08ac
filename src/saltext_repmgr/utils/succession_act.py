"""Replace a new primary that is lost in its first moments.

repmgrd cannot do that before it watches the new primary, on a majority of the nodes. Until then
whoever takes part in the switchover stays, and does it where it has to be done.
docs/design-switchover.md says why that makes no second primary.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from saltext_repmgr.guard import rules
from saltext_repmgr.guard import sessions
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pause
from saltext_repmgr.utils import promotion
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import succession
from saltext_repmgr.utils import turn
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.succession import Elector

# Of repmgrd, by systemd; and until it watches somebody.
_RESTARTED_SECONDS = 5
_NOT_REPLACED = "no standby was promoted in its place, because"
_WATCHED = """
SELECT CASE WHEN repmgr.repmgrd_is_running() THEN repmgr.get_upstream_node_id() END AS watched
"""
_FED = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming') AS yes"
_BELOW = """
SELECT node_id FROM repmgr.nodes
 WHERE upstream_node_id = %(id)s
   AND EXISTS (SELECT FROM repmgr.nodes WHERE node_id = %(id)s AND active AND type = 'primary')
"""
#: SQL: whether a standby can be promoted. What it has of the latest timeline has to reach its last
#: record, or it has nothing of that but the history: then it reads that record on the former one.
WHOLE = f"""
       coalesce(pg_last_wal_receive_lsn() >= pg_last_wal_replay_lsn(), true)
         OR NOT EXISTS (SELECT FROM pg_ls_waldir()
                         WHERE name ~ '^[0-9A-F]{{24}}$'
                           AND ('x' || left(name, 8))::bit(32)::int = {wal.TIMELINE})
"""
_STATE = f"""
SELECT (SELECT priority FROM repmgr.nodes WHERE node_id = %(id)s) AS priority,
       pg_is_in_recovery() AS in_recovery,
       {wal.TIMELINE} AS timeline,
       coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0', 0)::bigint
           AS lsn,
       {WHOLE} AS whole,
       (SELECT string_agg(a.pid || ' ' || a.backend_start, ', ' ORDER BY a.pid)
          FROM pg_stat_activity a JOIN pg_roles o ON o.oid = a.usesysid
         WHERE o.rolsuper AND a.application_name = %(claim)s) AS claim,
       {sessions.VOTING} AS voting,
       EXISTS (SELECT FROM pg_stat_activity a JOIN pg_roles o ON o.oid = a.usesysid
                WHERE o.rolsuper AND a.application_name = %(recorded)s) AS recorded
"""


def change(look, old, heir):
    """Return the :class:`~saltext_repmgr.utils.succession.Change` that is about to happen.

    look
        A :class:`~saltext_repmgr.utils.look.Look` at this node, whose server runs.
    old, heir
        The primary and the node that shall be it.
    """
    server = look.seen.server
    if server is None:
        raise CommandFailed(f"PostgreSQL on {look.node.name} does not answer; nothing was changed")
    return succession.change(look.spec, old, heir, server)


def has_recorded_all(spec, what):
    """Whether the new primary has recorded just the electors below itself; its guard goes by them."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, what.heir) as connection:
            return _are_below(connection, what)
    return False


def _are_below(connection, what):
    below = {row["node_id"] for row in db.rows(connection, _BELOW, {"id": what.heir.id})}
    return below == {n.id for n in what.electors}


def await_watched(look, what, check):
    """Wait until repmgrd of all electors watches the new primary, which is one like any other then.

    what
        The :class:`~saltext_repmgr.utils.succession.Change`.
    check
        Function that returns whether the new primary answers, and raises where it is gone.
    """
    # Its own first: that costs the others nothing. Who is kept below another one never does.
    waiting = sorted(
        (n for n in what.electors if n.upstream in (None, what.heir.name)),
        key=lambda n: n.name != look.node.name,
    )
    began = time.monotonic()
    for _ in turn.looks(turn.WATCH_SECONDS + 2 * turn.GONE_SECONDS, 0.2):
        seconds = time.monotonic() - began
        while waiting and _watches(look.spec, waiting[0], what.heir, seconds):
            waiting.pop(0)
        if not waiting:
            return
        if check() and seconds > turn.WATCH_SECONDS:
            return


def _watches(spec, node, primary, seconds):
    """Whether repmgrd of a node watches the primary, or will not.

    seconds
        For how long that has been waited for.
    """
    try:
        with observe.member_connection(spec, node) as connection:
            watched = db.row(connection, _WATCHED)["watched"]
    except ConnectionFailed as err:
        # Who is gone has no word either when the new primary is lost.
        return err.kind is Reach.UNREACHABLE
    except RepmgrError:
        return False
    # One that gives up is started again after two seconds; in an upgrade it is stopped.
    return watched == primary.id or watched is None and seconds > _RESTARTED_SECONDS


def await_followed(look, what, check):
    """Wait until somebody streams from the new primary, but not for long.

    A witness that has its records keeps the old primary from taking the role back.
    """
    for _ in turn.looks(turn.RECORD_SECONDS, 0.2):
        with contextlib.suppress(RepmgrError):
            with observe.member_connection(look.spec, what.heir) as connection:
                if db.row(connection, _FED)["yes"]:
                    return
        check()


def watch(look):
    """Have repmgrd of a witness watch the primary.

    By itself it finds that when the former one is gone, or within ``witness_sync_interval``.
    """
    if not look.node.is_witness:
        return
    seen = look.again().seen
    if upstreams.not_watched(look.spec, look.node, seen.server, look.plan.primary):
        act.restart_daemon(observe.REPMGRD_UNIT)


def take_part(look, what, salt, recorded, back=None):
    """Have the standby that is ahead take the place of the new primary, and follow it.

    look, what
        A :class:`~saltext_repmgr.utils.look.Look` at this node, and the change that it is part of.
    salt
        Salt's ``__salt__``.
    recorded
        What :func:`has_recorded_all` said while the new primary was there.
    back
        Function that makes this node the primary again, and raises, where nobody has followed the new
        one; it returns where that cannot be.

    Returns the :class:`~saltext_repmgr.utils.spec.NodeSpec` of the primary, which is the new one
    again where that is back.
    """
    _may_take_part(look, what)
    # What began it may be two minutes old.
    pause.begin(look.spec, look.layout, turn.LEASE_MINUTES, lasting=False)
    # The lost one is kept from going on until it can see whom this node follows.
    with contextlib.ExitStack() as stack:
        for name in (sessions.WITHOUT, *((sessions.RECORDED,) if recorded else ())):
            session = promotion.announced(look.spec, look.layout, f"{name}{what.heir.id}")
            stack.enter_context(session)
        primary = _replace(look, what, back is not None)
        if primary is None:
            back()
        elif primary not in (look.node, what.heir):
            # One whose connection was cut at the end of a timeline goes on to say that it streams.
            settling.settle(look.again(), salt, leave=what.heir.name)
    if primary is None:
        return take_part(look, what, salt, recorded)
    if primary is look.node:
        promotion.settle(look, salt)
    elif primary is what.heir:
        settling.settle(look.again(), salt)
    watch(look)
    return primary


def _may_take_part(look, what):
    reasons = {
        "pillar switches the guards off ('fence: false')": not look.spec.fence,
        "two data nodes without a witness cannot tell a lost host from a network failure": (
            len(what.electors) < 2
        ),
        "a registered node that is not in pillar is an elector": what.strangers,
    }
    for reason, holds in reasons.items():
        if holds:
            raise _nobody(what, f"{_NOT_REPLACED} {reason}")


def _nobody(what, why):
    return CommandFailed(
        f"{what.heir.name} was lost right after its promotion, and {why}. There is no primary until"
        f" {what.heir.name} is back. If it is lost for good, promote the standby with the most WAL:"
        " 'salt-run repmgr.status' shows which, 'salt NODE repmgr.standby_promote' promotes it"
    )


def _replace(look, what, may_go_back):
    """Return the node that is the primary in the end; this one, where it has to be. None: nobody has
    followed the new one, and this node may be the primary again."""
    # A guard that hears so, or hears nothing, has frozen the new primary by then.
    lease = rules.UNKNOWN_SECONDS + look.spec.failover_after
    told = since = None
    deadline = time.monotonic() + turn.SUCCEED_SECONDS
    for _ in turn.looks(turn.SUCCEED_SECONDS + turn.PROMOTE_SECONDS, 0.2):
        primary, found = _ask(look.spec, what)
        if primary is not None:
            return primary
        # Who is promoted at this moment counts on this node's word.
        if time.monotonic() > deadline and not any(e.voting for e in found):
            break
        if succession.claims(found, what) != told:
            told, since = succession.claims(found, what), time.monotonic()
        if told is None or time.monotonic() - since < lease:
            continue
        name = succession.successor(found, what.timeline)
        if name == look.node.name:
            _require_automatic(look, what)
            if _succeed(look, what, told):
                return look.node
        if name is None and may_go_back:
            return None
    raise _in_vain(look, what, found)


def _require_automatic(look, what):
    settings = effective(repmgr_conf.node_settings(look.spec, look.node, look.layout))
    if settings["failover"] != "automatic":
        raise _nobody(what, f"{_NOT_REPLACED} pillar says 'failover: manual'")


def _in_vain(look, what, found):
    content = [e.name for e in found if e.claim is None]
    if content:
        return CommandFailed(
            f"{look.node.name} cannot reach the new primary {what.heir.name}, and {', '.join(content)}"
            " did not confirm that it is lost. Check 'salt-run repmgr.status', and the network between"
            f" {look.node.name} and {what.heir.name}"
        )
    silent = ", ".join({n.name for n in what.electors} - {e.name for e in found})
    return _nobody(what, f"{silent} did not answer" if silent else "no standby followed it")


def _succeed(look, what, told):
    """Become the primary, where nothing has changed that speaks for it; return whether it is."""
    name = look.node.name
    # Who stops its server to be the primary again sees this, or is missed in the question.
    with promotion.announced(look.spec, look.layout):
        primary, found = _ask(look.spec, what)
        if (
            primary is not None
            or succession.claims(found, what) != told
            or succession.successor(found, what.timeline) != name
            or any(e.voting for e in found if e.name != name)
        ):
            return False
        with observe.local_connection(look.spec, look.layout) as own:
            _require_record(own, what, found)
            promotion.become_primary(look, own, what.heir)
        return True


def _require_record(own, what, found):
    """Raise where the guard of the new primary may go by others than the electors."""
    elsewhere = [n.name for n in what.electors if n.upstream not in (None, what.heir.name)]
    if elsewhere:
        raise _nobody(what, f"{_NOT_REPLACED} pillar gives {', '.join(elsewhere)} another upstream")
    if not _are_below(own, what) and not any(e.recorded for e in found):
        raise _nobody(
            what, f"{_NOT_REPLACED} no node could confirm which members it counts as electors"
        )


def _ask(spec, what):
    """Return ``(the node that acts as a primary or None, an Elector of each that answers)``."""
    lost = what.heir.id
    names = {"claim": f"{sessions.WITHOUT}{lost}", "recorded": f"{sessions.RECORDED}{lost}"}
    with ThreadPoolExecutor(max_workers=1 + len(what.electors)) as pool:
        back = pool.submit(turn.is_there, spec, what.heir)
        asked = pool.map(lambda node: _ask_one(spec, node, names), what.electors)
        found = [elector for elector in asked if elector is not None]
    if back.result():
        return what.heir, found
    return next((spec.nodes[e.name] for e in found if e.is_primary), None), found


def _ask_one(spec, node, names):
    try:
        with observe.member_connection(spec, node) as connection:
            said = db.row(connection, _STATE, {"id": node.id, **names})
    except RepmgrError:
        return None
    return Elector(node.name, node.id, witness=node.is_witness, **said)
