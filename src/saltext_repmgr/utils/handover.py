"""A node's part in a switchover. docs/design-switchover.md has the order of things."""

import time

from saltext_repmgr.utils import act
from saltext_repmgr.utils import demotion
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import promotion
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import turn
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed


def take_part(look, old, target, away, salt):
    """Do this node's part and return what became of it, in words.

    look
        A :class:`~saltext_repmgr.utils.look.Look` at this node.
    old, target
        Names of the primary and of the node that shall be it.
    away
        Names of nodes that are not waited for.
    salt
        Salt's ``__salt__``.
    """
    if look.node.name == old:
        return demotion.hand_over(look, target, away, salt)
    primary = look.spec.nodes[old]
    turn.await_turn(look.spec, primary, look.spec.nodes[target])
    with turn.pausing(look):
        if look.node.name == target:
            return promotion.take_over(look, primary, salt)
        return _follow(look, primary, look.spec.nodes[target], salt)


def _follow(look, primary, heir, salt):
    gone = None
    before = turn.READY_SECONDS + turn.LAST_CHECKPOINT_SECONDS + turn.ROUTER_SECONDS
    for _ in turn.looks(before + turn.HEIR_SECONDS + turn.PROMOTE_SECONDS, 0.2):
        if turn.is_primary(look.spec, heir):
            settling.settle(look.again(), salt, leave=primary.name)
            if look.plan.primary == primary.name:
                return f"still with {primary.name}, which took the role back"
            if look.node.is_witness:
                _watch(look)
            return f"follows {heir.name}"
        goes_on = turn.goes_on(look.spec, primary)
        if goes_on:
            continue
        if goes_on is False:
            return f"still with {primary.name}, which stays the primary"
        gone = gone or time.monotonic()
        if time.monotonic() - gone > turn.HEIR_SECONDS + turn.PROMOTE_SECONDS:
            break
    raise CommandFailed(f"{heir.name} did not become the primary: see what it says")


def _watch(look):
    """Have repmgrd of this witness watch the new primary.

    By itself it finds that when the former one is gone, or within ``witness_sync_interval``.
    """
    seen = look.again().seen
    if upstreams.not_watched(look.spec, look.node, seen.server, look.plan.primary):
        act.restart_daemon(observe.REPMGRD_UNIT)
