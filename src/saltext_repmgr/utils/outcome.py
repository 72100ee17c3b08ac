"""What became of a planned change, as the master's side saw it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from saltext_repmgr.utils import facts

NO_RESULT = (
    "its minion returned no result; its part may be done ('salt-run repmgr.status' shows that)"
)


@dataclass(frozen=True)
class Outcome:
    """What became of a planned change.

    plan
        As it was made, with its ``cluster``, ``checks`` and ``steps``.
    changed
        Whether it was begun.
    nodes
        What each node says of its part.
    problems
        Why nothing was done, or what is not as it should be now; a line each.
    seconds
        From the first question to the last answer.
    """

    plan: Any
    changed: bool = False
    nodes: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    seconds: float = 0

    @property
    def summary(self):
        """All of it in a line, or a line for each problem."""
        return "\n".join(self.problems) or self.news

    @property
    def news(self):
        """What is so now, where there is no problem."""
        raise NotImplementedError

    def told(self, **subject):
        """Return it as a runner tells it, a dictionary of plain data.

        subject
            What it was about, such as ``node``.
        """
        return {
            "cluster": self.plan.cluster,
            **subject,
            "changed": self.changed,
            "result": self.summary,
            "checks": [facts.to_dict(check) for check in self.plan.checks],
            "steps": list(self.plan.steps),
            "nodes": dict(self.nodes),
            "seconds": round(self.seconds, 2),
        }
