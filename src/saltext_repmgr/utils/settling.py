"""Bring a running node to what its plan says: follow, register."""

import time

from saltext_repmgr.utils import membership
from saltext_repmgr.utils import registration
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.plan import Step

FOLLOW_SECONDS = 60
_PAUSE_SECONDS = 0.2


def settle(look, salt, leave=None, check=None):
    """Do what the plan says of a running node until nothing is left: follow, register.

    look
        A :class:`~saltext_repmgr.utils.look.Look` of this moment.
    salt
        Salt's ``__salt__``.
    leave
        Name of the node that was the primary: who streamed from it goes to the new one, also where
        it is back as a standby already, unless pillar says otherwise.
    check
        Function that is called while something is waited for, and raises where that is in vain.
    """
    check = check or (lambda: None)
    left, deadline = "", time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < deadline:
        plan = look.plan
        if leave is not None and plan.source == leave != look.node.upstream:
            plan = look.below(plan.primary).plan
        left = plan.refusal or ", ".join(f"{a.step.value} ({a.reason})" for a in plan.actions)
        if plan.refusal or plan.role is not None and plan.primary is None:
            # Others are on their way, too. Who is drained has no role.
            left = left or "no primary answers"
            _wait(check)
        elif plan.action(Step.FOLLOW):
            old = membership.moved_from(look.spec, look.seen, plan)
            membership.follow(
                look.spec, look.node, look.layout, look.spec.nodes[plan.source], check
            )
            if old is not None:
                membership.drop_member_slot(look.spec, old, look.node.slot)
        elif plan.action(Step.REGISTER):
            registration.register(look, salt)
        elif plan.actions:
            _wait(check)
        else:
            return
        look.again()
    raise CommandFailed(
        f"{look.node.name} is not finished after {FOLLOW_SECONDS} s, left to do: {left}. Run"
        " 'salt-run state.orchestrate repmgr.cluster'"
    )


def _wait(check):
    check()
    time.sleep(_PAUSE_SECONDS)
