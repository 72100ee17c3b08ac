"""A node's part in a switchover. docs/design-switchover.md has the order of things."""

import time

from saltext_repmgr.utils import demotion
from saltext_repmgr.utils import promotion
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import succession_act
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError


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
    what = succession_act.change(look, primary, heir)
    gone = promoted = None
    before = turn.READY_SECONDS + turn.LAST_CHECKPOINT_SECONDS + turn.ROUTER_SECONDS
    for _ in turn.looks(before + turn.HEIR_SECONDS + turn.PROMOTE_SECONDS, 0.2):
        if registration.is_recorded(look.spec, heir):
            return _move(look, what, salt)
        if turn.is_primary(look.spec, heir):
            promoted = promoted or time.monotonic()
            if time.monotonic() - promoted > turn.RECORD_SECONDS:
                return _move(look, what, salt)
            continue
        goes_on = turn.goes_on(look.spec, primary)
        if goes_on:
            continue
        if goes_on is False:
            return f"still follows {primary.name}, which stays the primary"
        if turn.is_standby(look.spec, primary):
            # It saw the new primary, which may be gone again.
            return _move(look, what, salt)
        gone = gone or time.monotonic()
        if time.monotonic() - gone > turn.HEIR_SECONDS + turn.PROMOTE_SECONDS:
            break
    raise CommandFailed(
        f"candidate {heir.name} was not promoted; the lines of {heir.name} and {primary.name} under"
        " 'nodes' have the reason. Check 'salt-run repmgr.status'"
    )


def _move(look, what, salt):
    """Follow the new primary, and stay until it could be replaced like any other."""
    presence = turn.Presence(look.spec, what.heir)
    recorded = succession_act.has_recorded_all(look.spec, what)
    try:
        if look.node.is_witness:
            succession_act.await_followed(look, what, presence.check)
        settling.settle(look.again(), salt, leave=what.old.name, check=presence.check)
        if look.plan.primary == what.heir.name:
            succession_act.watch(look)
            succession_act.await_watched(look, what, presence.check)
    except RepmgrError:
        if not presence.is_lost():
            raise
        primary = succession_act.take_part(look, what, salt, recorded)
        return f"{what.heir.name} was lost after its promotion; {primary.name} is the primary now"
    if look.plan.primary == what.old.name:
        return f"follows {what.old.name}, which is the primary again"
    return f"follows {what.heir.name}"
