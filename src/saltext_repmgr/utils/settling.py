"""Bring a running node to what its plan says: follow, register."""

from saltext_repmgr.utils import membership
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.plan import Step

FOLLOW_SECONDS = 60


def settle(look, salt):
    """Do what the plan says of a running node until nothing is left: follow, register."""
    left = ""
    for _ in turn.looks(FOLLOW_SECONDS, 0.2):
        plan = look.again().plan
        left = plan.refusal or ", ".join(f"{a.step.value} ({a.reason})" for a in plan.actions)
        if plan.refusal:
            # Others are on their way, too.
            continue
        if plan.action(Step.FOLLOW):
            old = membership.moved_from(look.spec, look.seen, plan)
            membership.follow(look.spec, look.node, look.layout, look.spec.nodes[plan.source])
            if old is not None:
                membership.drop_member_slot(look.spec, old, look.node.slot)
        elif plan.action(Step.REGISTER):
            registration.register(look, salt)
        elif not plan.actions:
            return
    raise CommandFailed(
        f"after {FOLLOW_SECONDS} s this is still to do: {left};"
        " 'salt-run state.orchestrate repmgr.cluster' does it"
    )
