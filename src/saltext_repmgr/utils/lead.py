"""The master's side of a switchover: look, hand out the parts, look again."""

import time

from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils import switchover
from saltext_repmgr.utils.outcome import NO_RESULT
from saltext_repmgr.utils.outcome import Outcome
from saltext_repmgr.utils.switchover import Switchover


class Result(Outcome):
    """What became of a switchover."""

    @property
    def news(self):
        plan = self.plan
        if plan.done:
            return f"{plan.target} is the primary of {plan.cluster} already"
        if not self.changed:
            return f"{plan.target} could take over from {plan.primary} now"
        return f"{plan.target} took over from {plan.primary} in {self.seconds:.1f} s"


def switch_over(cmd, spec, target=None, test=False):
    """Move the primary and return the :class:`Result`.

    cmd
        Salt's ``saltutil.cmd``.
    target
        Name of the node that shall be the primary; None: the standby that is fit best.
    test
        Only look.
    """
    began = time.monotonic()
    names = [n.name for n in spec.members]
    observations, _, problems, missing = survey.read_reports(spec, master.reports(cmd, names))
    if problems:
        return Result(Switchover(spec.cluster, None, target), problems=tuple(problems))
    plan = switchover.examine(spec, observations, missing, target)
    if plan.problems or plan.done or test:
        return Result(plan, problems=plan.problems, seconds=time.monotonic() - began)
    names = [name for name in names if name not in plan.away]
    parts = {"old": plan.primary, "target": plan.target, "away": list(plan.away)}
    replies = master.tell(cmd, names, "repmgr_node.switch_over", kwarg=parts)
    nodes = {name: replies.get(name, NO_RESULT) for name in names}
    failed = tuple(f"{name}: {text}" for name, text in nodes.items() if name not in _done(replies))
    found = master.settled(cmd, spec, known=True)
    problems = failed + tuple(a.line for a in found if not a.note)
    return Result(plan, True, _texts(nodes), problems, time.monotonic() - began)


def _done(replies):
    # An error comes as text.
    return [name for name, reply in replies.items() if isinstance(reply, dict)]


def _texts(nodes):
    return {n: r["comment"] if isinstance(r, dict) else str(r) for n, r in nodes.items()}
