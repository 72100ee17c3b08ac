"""Replace a new primary that is lost in its first moments.

repmgrd cannot do that before it watches the new primary, on a majority of the nodes. Until then
whoever takes part in the switchover stays, and does it where it has to be done.
docs/design-switchover.md says why that makes no second primary.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from saltext_repmgr.guard import rules
from saltext_repmgr.guard import sessions
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pause
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import promotion
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import succession
from saltext_repmgr.utils import turn
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.succession import Elector

_WATCHED = """
SELECT CASE WHEN repmgr.repmgrd_is_running() THEN repmgr.get_upstream_node_id() END AS watched
"""
_BELOW = "SELECT node_id FROM repmgr.nodes WHERE active AND upstream_node_id = %(id)s"
_STATE = f"""
SELECT pg_is_in_recovery() AS in_recovery,
       {wal.TIMELINE} AS timeline,
       coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0', 0)::bigint
           AS lsn,
       (SELECT string_agg(a.pid || ' ' || a.backend_start, ', ' ORDER BY a.pid)
          FROM pg_stat_activity a JOIN pg_roles o ON o.oid = a.usesysid
         WHERE o.rolsuper AND a.application_name = %(claim)s) AS claim,
       EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{sessions.VOTE}') AS voting
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
        raise CommandFailed(f"{look.node.name}'s own server does not answer; nothing was touched")
    # A witness has a timeline of its own.
    timeline = plan.visible(look.seen).get(old.name, server).timeline
    return succession.change(look.spec, old, heir, server, timeline)


def await_watched(look, what, check):
    """Wait until repmgrd of all electors watches the new primary, which is one like any other then.

    what
        The :class:`~saltext_repmgr.utils.succession.Change`.
    check
        Function that raises where the new primary is gone.
    """
    # Its own first: that costs the others nothing.
    waiting = sorted(what.electors, key=lambda n: n.name != look.node.name)
    for _ in turn.looks(turn.WATCH_SECONDS, 0.2):
        while waiting and _watches(look.spec, waiting[0], what.heir):
            waiting.pop(0)
        if not waiting:
            return
        check()


def _watches(spec, node, primary):
    try:
        with observe.member_connection(spec, node) as connection:
            return db.row(connection, _WATCHED)["watched"] == primary.id
    except RepmgrError:
        # It has no word either when the new primary is lost.
        return True


def watch(look):
    """Have repmgrd of a witness watch the primary.

    By itself it finds that when the former one is gone, or within ``witness_sync_interval``.
    """
    if not look.node.is_witness:
        return
    seen = look.again().seen
    if upstreams.not_watched(look.spec, look.node, seen.server, look.plan.primary):
        act.restart_daemon(observe.REPMGRD_UNIT)


def is_followed(spec, what):
    """Whether somebody is on the timeline of the new primary already."""
    return any(not e.witness and e.timeline > what.timeline for e in _ask(spec, what)[1])


def take_part(look, what, salt):
    """Have the standby that is ahead take the place of the new primary, and follow it.

    look, what
        A :class:`~saltext_repmgr.utils.look.Look` at this node, and the change that it is part of.
    salt
        Salt's ``__salt__``.

    Returns the :class:`~saltext_repmgr.utils.spec.NodeSpec` of the primary, which is the new one
    again where that is back.
    """
    _may_take_part(look, what)
    # What began it may be two minutes old.
    pause.begin(look.spec, look.layout, turn.LEASE_MINUTES, lasting=False)
    primary = _replace(look, what)
    if primary is look.node:
        promotion.settle(look, salt)
    else:
        settling.settle(look.again(), salt)
        watch(look)
    return primary


def _may_take_part(look, what):
    spec = look.spec
    settings = effective(repmgr_conf.node_settings(spec, look.node, look.layout))
    reasons = {
        "the guards are switched off ('fence: false')": not spec.fence,
        "pillar says 'failover: manual'": settings["failover"] != "automatic",
        "two data nodes and no witness cannot tell a lost host from a cut cable": (
            len(what.electors) < 2
        ),
        "a node that is not in pillar has a word in it": what.strangers,
    }
    for reason, holds in reasons.items():
        if holds:
            raise _nobody(what, f"nobody takes its place, as {reason}")


def _nobody(what, why):
    return CommandFailed(
        f"{what.heir.name} went away right after its promotion, and {why}: there is no primary before"
        " it is back. Where it is lost, promote the standby with the most WAL ('salt-run"
        " repmgr.status' shows it, 'salt NODE repmgr.standby_promote' does it)"
    )


def _replace(look, what):
    """Return the node that is the primary in the end; this one, where it has to be."""
    spec, lost = look.spec, what.heir
    # A guard that hears so, or hears nothing, has frozen the new primary by then.
    lease = rules.UNKNOWN_SECONDS + spec.failover_after
    told = since = None
    deadline = time.monotonic() + turn.SUCCEED_SECONDS
    with promotion.announced(spec, look.layout, f"{sessions.WITHOUT}{lost.id}"):
        for _ in turn.looks(turn.SUCCEED_SECONDS + turn.PROMOTE_SECONDS, 0.2):
            primary, found = _ask(spec, what)
            if primary is not None:
                return primary
            # Who is promoted at this moment counts on this node's word.
            if time.monotonic() > deadline and not any(e.voting for e in found):
                break
            if succession.claims(found, what) != told:
                told, since = succession.claims(found, what), time.monotonic()
            ready = told is not None and time.monotonic() - since >= lease
            if ready and succession.successor(found, what.timeline) == look.node.name:
                if _succeed(look, what, told):
                    return look.node
    silent = {n.name for n in what.electors} - {e.name for e in found if e.claim is not None}
    who = ", ".join(sorted(silent))
    raise _nobody(what, f"{who} did not help to replace it" if who else "nobody followed it")


def _succeed(look, what, told):
    """Become the primary, where nothing has changed that speaks for it; return whether it is."""
    # Who stops its server to be the primary again sees this, or is missed in the question.
    with promotion.announced(look.spec, look.layout):
        primary, found = _ask(look.spec, what)
        if primary is not None or succession.claims(found, what) != told:
            return False
        with observe.local_connection(look.spec, look.layout) as own:
            _require_record(own, what)
            promotion.become_primary(look, own, what.heir)
        return True


def _require_record(own, what):
    """Raise where the guard of the new primary may go by less than all electors.

    This node has all that the new primary wrote and anybody else got.
    """
    below = {row["node_id"] for row in db.rows(own, _BELOW, {"id": what.heir.id})}
    left = ", ".join(n.name for n in what.electors if n.id not in below)
    if left:
        raise _nobody(what, f"nobody takes its place, as it had not recorded {left} below it")


def _ask(spec, what):
    """Return ``(the node that acts as a primary or None, an Elector of each that answers)``."""
    nodes = (what.heir, *what.electors)
    claim = f"{sessions.WITHOUT}{what.heir.id}"
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        found = [e for e in pool.map(lambda node: _ask_one(spec, node, claim), nodes) if e]
    primary = next((spec.nodes[e.name] for e in found if e.is_primary), None)
    return primary, [e for e in found if e.node_id != what.heir.id]


def _ask_one(spec, node, claim):
    try:
        with observe.member_connection(spec, node) as connection:
            said = db.row(connection, _STATE, {"claim": claim})
    except RepmgrError:
        return None
    return Elector(node.name, node.id, node.priority, node.is_witness, **said)
