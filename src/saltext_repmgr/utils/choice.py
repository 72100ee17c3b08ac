"""Whom an orchestration goes by as the primary, after it asked every node. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import drained
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.plan import PROMOTE
from saltext_repmgr.utils.plan import describe_data
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import reached
from saltext_repmgr.utils.plan import two_primaries
from saltext_repmgr.utils.spec import ClusterSpec


@dataclass(frozen=True)
class Choice:
    """The primary that an orchestration goes by."""

    primary: str | None
    reason: str
    new: bool = False
    problem: str = ""
    system_identifier: str | None = None


def choose_primary(spec: ClusterSpec, said: Mapping[str, Observation]) -> Choice:
    """Return which node an orchestration takes for the primary.

    said
        What each node that answered said of itself. A data node that is missing here did
        not answer, and nobody knows what it holds.
    """
    servers = reached(said)
    away = drained.away(spec, said, servers)
    silent = [n.name for n in spec.data_nodes if n.name not in said and n.name not in away]
    own = {n.name: said[n.name] for n in spec.data_nodes if n.name in said}
    live = primaries(spec, servers)
    if len(live) > 1:
        return Choice(None, "", problem=two_primaries(servers, live))
    if live:
        return Choice(live[0], f"{live[0]} is the primary on timeline {servers[live[0]].timeline}")
    if silent:
        return Choice(
            None,
            "",
            problem=f"no primary answers, and {', '.join(silent)} did not say what it holds: it may"
            " be the primary. Bring it back (host, salt-minion), or mark it 'ensure: absent' in"
            " pillar if it is gone for good",
        )
    standbys = [n for n, s in own.items() if s.data.standby and not s.data.unfinished_clone]
    if standbys:
        return _restart(own, standbys)
    return _first(spec, own)


def _restart(own, standbys):
    """All is down or leaderless; the data tells who was the primary."""
    identifiers = {own[n].data.control.system_identifier for n in standbys if own[n].data.control}
    newest = max(_timeline(own[n]) for n in standbys)
    candidates = [
        n
        for n, seen in own.items()
        if n not in standbys
        and seen.data.content is Content.POSTGRES
        and seen.data.control is not None
        and seen.data.control.system_identifier in identifiers
        and _timeline(seen) >= newest
    ]
    top = max((_timeline(own[n]) for n in candidates), default=0)
    candidates = [n for n in candidates if _timeline(own[n]) == top]
    if len(candidates) == 1:
        return Choice(
            candidates[0],
            f"{candidates[0]} was the primary on timeline {top} and is down",
            system_identifier=own[candidates[0]].data.control.system_identifier,
        )
    listed = "; ".join(f"{n}: {describe_data(s)}" for n, s in own.items())
    return Choice(None, "", problem=f"no primary can be told: {listed}. {PROMOTE}")


def _timeline(seen):
    if seen.server is not None:
        return seen.server.timeline
    return seen.data.control.timeline if seen.data.control else 0


def _first(spec, own):
    """No standby anywhere: the first build, or one that was cut off early."""
    first = spec.bootstrap_primary.name
    bare = own[first].data.content is not Content.POSTGRES or own[first].untouched
    former = [
        n
        for n, s in own.items()
        if n != first
        and s.member
        and not s.untouched
        and s.data.content is Content.POSTGRES
        and not s.data.unfinished_clone
    ]
    if bare and former and not spec.force:
        listed = "; ".join(f"{n}: {describe_data(own[n])}" for n in former)
        return Choice(
            None,
            "",
            problem=f"{first} is empty, but another node was a member and holds data: {listed}."
            " If that data counts, give that node 'role: primary' in pillar; if not, move it away",
        )
    reason = f"{first} is pillar's role: primary and no cluster exists"
    if not bare:
        reason += f"; {own[first].data.path} there is taken over as the first primary"
    return Choice(first, reason, new=True)
