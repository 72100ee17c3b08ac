"""Work on one node after the other, the primary last: what is next? Pure.

docs/rolling.md has the order of things and why it is so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import Enum

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import switchover
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import reached
from saltext_repmgr.utils.plan import two_primaries
from saltext_repmgr.utils.spec import ClusterSpec

# The package of it, among those that go with it.
_SERVER = re.compile(r"postgresql-\d+")


class Do(str, Enum):
    """What a move does."""

    WORK = "work"
    IN_PLACE = "in place"  # on the primary, clients wait
    SWITCH = "switchover"  # the node becomes the primary
    EXTENSION = "extension"  # repmgr's, on the primary


@dataclass(frozen=True)
class Move:
    """One move: on which node, and why.

    still
        Names of those that keep repmgrd paused meanwhile.
    """

    do: Do
    node: str
    reason: str = ""
    still: tuple[str, ...] = ()

    @property
    def line(self):
        """It in words."""
        words = {
            Do.WORK: self.node,
            Do.IN_PLACE: f"{self.node}, the primary, in place; clients wait",
            Do.SWITCH: f"switchover to {self.node}",
            Do.EXTENSION: f"repmgr's extension, on {self.node}",
        }[self.do]
        return f"{words}: {self.reason}" if self.reason else words


@dataclass(frozen=True)
class Needs:
    """Who needs the work.

    now
        Name of each node that does, to the reason.
    later
        The same of standbys for which it makes sense only after the primary.
    in_place
        The primary cannot become a standby before it was worked on.
    restarted
        Names of those whose server is restarted by it.
    extension
        Why repmgr's extension is to be updated at the end; empty where it is not.
    """

    now: Mapping[str, str] = field(default_factory=dict)
    later: Mapping[str, str] = field(default_factory=dict)
    in_place: bool = False
    restarted: tuple[str, ...] = ()
    extension: str = ""


@dataclass(frozen=True)
class Course:
    """All that is left to do, in order, and what stands against the first of it.

    primary
        Name of the primary; None where there is not one.
    """

    primary: str | None
    moves: tuple[Move, ...] = ()
    problem: str = ""


def for_restart(spec: ClusterSpec, said: Mapping[str, Observation], forced: Mapping[str, str]):
    """Return the :class:`Needs` of a restart.

    said
        What each member said of itself.
    forced
        Nodes that are restarted whether or not a setting waits for it, each with the reason.
    """
    servers = reached(said)
    now, later, in_place = dict(forced), {}, False
    for node in spec.members:
        seen, server = said.get(node.name), servers.get(node.name)
        if seen is None or server is None:
            continue
        wrong, able = _limits(spec, node, seen, server)
        words = [f"{n} {server.limits[n]} -> {v}" for n, v in wrong.items()]
        reason = ", ".join([*words, *(n for n in server.pending if n not in wrong)])
        is_primary = not server.in_recovery and not node.is_witness
        if is_primary and any(v < server.limits[n] for n, v in wrong.items()):
            in_place = True
        if able or server.pending or is_primary and wrong:
            now.setdefault(node.name, reason)
        elif wrong:
            later[node.name] = reason
    return Needs(now, later, in_place, restarted=tuple(now))


def _limits(spec, node, seen, server):
    """Return the limits that are asked for and not in force, and whether a restart now would
    change one of them."""
    settings = limits.wanted(spec, node, seen)
    wrong = {
        name: value
        for name, value in limits.asked(settings, seen).items()
        if server.limits.get(name, value) != value
    }
    held = {h.name: h.value for h in limits.hold(spec, node, seen, settings)}
    return wrong, any(held.get(name) != server.limits[name] for name in wrong)


def for_upgrade(spec: ClusterSpec, said: Mapping[str, Observation], newer):
    """Return the :class:`Needs` of an upgrade.

    newer
        Node name to what :func:`saltext_repmgr.utils.packages.newer` found there.
    """
    now, restarted = {}, []
    for node in spec.members:
        words = [f"{n} {v['old']} -> {v['new']}" for n, v in newer.get(node.name, {}).items()]
        replaced = said[node.name].replaced if node.name in said else ()
        words += [f"{name} still runs its former program" for name in replaced]
        if words:
            now[node.name] = ", ".join(words)
        if "postgres" in replaced or any(map(_SERVER.fullmatch, newer.get(node.name, ()))):
            restarted.append(node.name)
    servers = reached(said)
    live = primaries(spec, servers)
    extension = ""
    if len(live) == 1 and servers[live[0]].outgrown:
        primary = servers[live[0]]
        extension = f"{primary.extension} -> {primary.extension_offered}"
    return Needs(now, restarted=tuple(restarted), extension=extension)


def chart(spec: ClusterSpec, said: Mapping[str, Observation], needs: Needs, home=None):
    """Return the :class:`Course`.

    said
        What each member said of itself.
    home
        Name of the node that shall be the primary in the end; None: whoever is by then.
    """
    servers = reached(said)
    live = primaries(spec, servers)
    if len(live) != 1:
        problem = two_primaries(servers, live) if live else "no node is the primary"
        return Course(None, problem=problem)
    primary = live[0]
    sources = {n.name: _source(spec, servers, n) for n in spec.members}
    # Who is out of service has its turn when it is back.
    away = drained.away(spec, said, servers)
    others = [n for n in _in_order(spec, sources) if n != primary and n not in away]
    moves = [_work(sources, n, needs.now[n]) for n in others if n in needs.now]
    turn, problem = _turn(spec, said, needs, primary, home)
    moves += turn
    moves += [_work(sources, n, needs.later[n]) for n in others if n in needs.later]
    heir = next((m.node for m in turn if m.do is Do.SWITCH), primary)
    if needs.extension:
        moves.append(Move(Do.EXTENSION, heir, needs.extension))
    if home == primary and heir != primary:
        moves.append(Move(Do.SWITCH, home, "back"))
    if moves and not problem:
        problem = _alone(spec, servers, primary, moves[0])
    return Course(primary, tuple(moves), problem)


def _turn(spec, said, needs, primary, home):
    """What is done about the primary, and what stands against that."""
    reason = needs.now.get(primary)
    away = home not in (None, primary)
    if reason is not None and needs.in_place:
        gone = {primary, *drained.away(spec, said, reached(said))}
        still = tuple(n.name for n in spec.members if n.name not in gone)
        found = switchover.archive(reached(said)[primary])
        return [Move(Do.IN_PLACE, primary, reason, still)], found.problem
    if reason is None and not away:
        return [], ""
    found = switchover.examine(spec, said, {}, home if away else None, due=needs.restarted)
    problem = "; ".join(found.problems)
    if reason is None:
        return [Move(Do.SWITCH, home)], problem
    heir = found.target or "the standby that is fit best"
    return [Move(Do.SWITCH, heir, f"{primary} is next"), Move(Do.WORK, primary, reason)], problem


def _source(spec, servers, node):
    server = servers.get(node.name)
    if server is None or not server.in_recovery:
        return None
    found = upstreams.upstream_of(spec, server)
    return found.name if found else None


def _in_order(spec, sources):
    """The witness, then standbys, those first that are farthest from the primary."""

    def hops(name):
        path = []
        while name is not None and name not in path:
            path.append(name)
            name = sources.get(name)
        return len(path)

    order = sorted(spec.members, key=lambda n: (not n.is_witness, -hops(n.name), n.id))
    return [n.name for n in order]


def _work(sources, name, reason):
    still = tuple(sorted(n for n, source in sources.items() if source == name))
    return Move(Do.WORK, name, reason, still)


def _alone(spec, servers, primary, move):
    """Say whether too few synchronous standbys are left while a node is away."""
    if not spec.synchronous or move.do is not Do.WORK:
        return ""
    number, names = pg_settings.confirming(spec, spec.nodes[primary])
    there = {s.application_name for s in servers[primary].senders if s.state == "streaming"}
    left = sorted(there & set(names) - {move.node})
    if move.node not in names or len(left) >= number:
        return ""
    return (
        f"while {move.node} is away only {len(left)} of {number} synchronous standbys is there, and"
        " clients could not write; add a standby, or set 'synchronous: 0' in pillar for this time"
    )
