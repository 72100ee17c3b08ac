"""The state of a whole cluster, for people and for monitoring. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import findings
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import topology
from saltext_repmgr.utils.findings import Electors
from saltext_repmgr.utils.findings import Problem
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.routing import RouterStatus
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.topology import NodeStatus

# Counts up when a key of the data goes away or changes its meaning; new keys do not count.
FORMAT = 1


class Verdict(str, Enum):
    """All in a word."""

    HEALTHY = "healthy"  # nothing to do
    DEGRADED = "degraded"  # one primary is in service, and something is wrong
    BROKEN = "broken"  # no primary, or two, or nobody to ask

    @property
    def exit_code(self):
        """What a command ends with."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster.

    primary
        Name of the one primary, or None.
    nodes
        In the order of the tree.
    problems
        The worst first.
    """

    cluster: str
    verdict: Verdict
    primary: str | None = None
    nodes: tuple[NodeStatus, ...] = ()
    electors: Electors = Electors()
    problems: tuple[Problem, ...] = ()
    routers: tuple[RouterStatus, ...] = ()


def examine(spec: ClusterSpec, replies: Mapping[str, object]) -> ClusterStatus:
    """Return the status of a cluster.

    replies
        Minion id to what it returned for ``repmgr_node.report``; a minion that did not answer
        is not in it.
    """
    seen = topology.view(spec, replies)
    nodes = topology.tree(seen)
    electors = findings.electors(seen, nodes)
    problems = findings.find(seen, electors)
    severity = problems[0].severity if problems else Severity.NOTE
    verdict = Verdict.HEALTHY if severity is Severity.NOTE else Verdict(severity.value)
    routers = routing.status(spec, seen.routers)
    return ClusterStatus(spec.cluster, verdict, seen.primary, nodes, electors, problems, routers)


def unknown(cluster, mistakes) -> ClusterStatus:
    """Return the status of a cluster whose pillar is wrong, so that nobody could be asked.

    mistakes
        ``(key, message)`` pairs.
    """
    lines = [f"{key}: {message}" for key, message in mistakes]
    problems = tuple(Problem(Severity.BROKEN, (), line, "correct the pillar") for line in lines)
    return ClusterStatus(cluster or "", Verdict.BROKEN, problems=problems)


def to_data(status: ClusterStatus):
    """Return a status as plain data of a stable form; docs/status.md describes it."""
    return {"format": FORMAT, **facts.to_dict(status)}
