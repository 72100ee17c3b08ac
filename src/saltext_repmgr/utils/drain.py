"""May a node be taken out of service, and may it come back? What would that take? Pure."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import leaving
from saltext_repmgr.utils import switchover
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import reached
from saltext_repmgr.utils.plan import two_primaries
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.switchover import Check

FORCE = "'force=True' overrides this"
ORCHESTRATE = "'salt-run state.orchestrate repmgr.cluster'"


@dataclass(frozen=True)
class Drain:
    """A node that is to go out of service, or to come back, as it is planned.

    primary
        Name of the primary, or None.
    heir
        Name of the node that has to take over from it first, or None.
    steps
        What would be done, in words.
    done
        Whether it is so already.
    below
        Names of the standbys that stream from it again when it is back.
    """

    cluster: str
    node: str
    primary: str | None = None
    heir: str | None = None
    checks: tuple[Check, ...] = ()
    steps: tuple[str, ...] = ()
    done: bool = False
    below: tuple[str, ...] = ()

    @property
    def problems(self):
        """What stands against it, a line each."""
        return tuple(f"{c.name}: {c.problem}" for c in self.checks if c.problem)


def examine(
    spec: ClusterSpec,
    said: Mapping[str, Observation],
    missing,
    name,
    to=None,
    force=False,
    keep_slot=None,
):
    """Return the :class:`Drain` that takes a node out of service.

    said
        What each node that answered said of itself.
    missing
        Name of each member that did not, to the reason.
    name
        Of the node.
    to
        Who takes over where it is the primary; None: the standby that is fit best.
    force
        Go on where others are not in service or nobody is left to take over.
    keep_slot
        Whether its slots stay (bool); None: where they can keep so much WAL and no more.
    """
    servers = reached(said)
    problem, primary = _begin(spec, said, missing, name, servers)
    if not problem and servers[primary].record(spec.nodes[name].id) is None:
        problem = f"{name} is not registered; run {ORCHESTRATE} first, which registers it"
    if problem:
        return Drain(spec.cluster, name, checks=(Check("node", name, problem),))
    slot = spec.nodes[name].slot
    useless = [n for n in holders(servers, name, slot) if not slot_stays(servers[n], keep_slot)]
    if not useless and _is_out(said[name], servers[primary].record(spec.nodes[name].id)):
        return Drain(spec.cluster, name, primary, done=True)
    return _examined(spec, said, missing, servers, primary, name, to, force, keep_slot)


def _examined(spec, said, missing, servers, primary, name, to, force, keep_slot):
    away = {n: d for n, d in drained.away(spec, said, servers).items() if n != name}
    # Who is drained is missed by nobody.
    present = drained.without(spec, away)
    heir, checks = _move(spec, said, missing, None if to == name else to, name == primary)
    checks = (
        Check("node", f"{name}, {'the primary' if name == primary else 'not the primary'}"),
        _forced(_alone(away), force),
        _forced(_others(present, said, missing, servers, primary, name), force),
        *checks,
        _majority(present, servers, primary, name),
    )
    if not spec.nodes[name].is_witness:
        left = _left(present, servers, primary, name, heir)
        checks += (
            switchover.synchronous(spec, heir or primary, left, f"without {name}"),
            _forced(_successors(spec, left, name), force),
            _slot(spec, servers, spec.nodes[name], heir or primary, keep_slot),
        )
    # What streams from a primary follows the one that takes over.
    fed = () if heir else upstreams.fed_by(present, servers, name)
    return Drain(spec.cluster, name, primary, heir, checks, _steps(name, primary, heir, fed))


def _move(spec, said, missing, to, needed):
    """Who takes over from a primary, and what stands against that."""
    if not needed:
        return None, ()
    found = switchover.examine(spec, said, missing, to)
    checks = tuple(dataclasses.replace(c, name=f"switchover: {c.name}") for c in found.checks)
    return (found.target if found.target in [n.name for n in spec.data_nodes] else None), checks


def examine_back(spec: ClusterSpec, said: Mapping[str, Observation], missing, name):
    """Return the :class:`Drain` that brings a node back; see :func:`examine`."""
    servers = reached(said)
    problem, primary = _begin(spec, said, missing, name, servers)
    if problem:
        if name in said and not primaries(spec, servers):
            problem += f" ('salt {name} repmgr_node.back' before that lets {name} take part)"
        return Drain(spec.cluster, name, checks=(Check("node", name, problem),))
    seen = said[name]
    if seen.drained is None and not drained.is_recorded(servers[primary], spec.nodes[name]):
        return Drain(spec.cluster, name, primary, done=True)
    below = tuple(
        n.name
        for n in spec.data_nodes
        if n.upstream == name and n.name in servers and n.name != primary
    )
    steps = (
        f"PostgreSQL on {name} may start again, also at boot",
        f"'state.apply repmgr' on {name}: server, slot, registration, repmgrd, guard",
        f"{', '.join(below)} stream{_s(below)} from {name} again, as pillar says" if below else "",
    )
    why = (
        f"{name} {drained.words(seen.drained)}"
        if seen.drained
        else f"repmgr's history says that {name} is drained"
    )
    steps = tuple(step for step in steps if step)
    return Drain(spec.cluster, name, primary, None, (Check("node", why),), steps, below=below)


def holders(servers, name, slot):
    """Return the names of the other nodes whose servers have a slot of that name."""
    return [other for other, server in servers.items() if other != name and server.slot(slot)]


def slot_stays(server, keep_slot=None):
    """Whether the slot of a drained node stays on a server: only with an end to what it keeps.

    keep_slot
        What a person says about it, or None.
    """
    return (server.max_slot_wal or -1) >= 0 if keep_slot is None else bool(keep_slot)


def _is_out(seen, record):
    return seen.drained is not None and not seen.running and not record.active


def _forced(check, force):
    """With force, what is wrong is told and stops nobody."""
    if not force or not check.problem:
        return check
    return dataclasses.replace(check, finding=f"forced: {check.problem}", problem="")


def _begin(spec, said, missing, name, servers):
    """Return ``(why there is nothing to begin with, or "", name of the one primary or None)``."""
    live = primaries(spec, servers)
    node = spec.nodes.get(name)
    if node is None or node.absent:
        names = ", ".join(n.name for n in spec.members)
        return f"{name} is no node of {spec.cluster}; choose one of {names}", None
    if name not in said:
        return (
            f"{missing.get(name, 'its minion was not asked')}; nothing was changed. If {name} is gone"
            " for good, mark it 'ensure: absent' in pillar"
        ), None
    if len(live) > 1:
        return two_primaries(servers, live), None
    if not live:
        return f"no node is the primary; run {ORCHESTRATE} first", None
    return "", live[0]


def _alone(away):
    lines = [f"{name} {drained.words(fact)}" for name, fact in away.items()]
    back = ", ".join(drained.way_back(name) for name in away)
    problem = f"{'; '.join(lines)}. Bring it back first ({back}); {FORCE}" if lines else ""
    finding = f"{', '.join(away) or 'no other node'} is drained"
    return Check("one at a time", finding, problem)


def _others(spec, said, missing, servers, primary, name):
    silent = {n.name: missing[n.name] for n in spec.members if n.name in missing}
    wrong = [f"{n}: {why}" for n, why in silent.items()]
    for node in spec.members:
        if node.name == name or node.name in silent:
            continue
        server, seen = servers.get(node.name), said.get(node.name)
        if server is None:
            wrong.append(f"PostgreSQL on {node.name} does not answer")
        elif not node.is_witness and node.name != primary and server.receiver != "streaming":
            wrong.append(f"{node.name} does not stream")
        elif seen is not None and not seen.repmgrd.attached:
            wrong.append(f"repmgrd on {node.name} does not run")
        elif seen is not None and seen.repmgrd.paused:
            wrong.append(f"repmgrd on {node.name} is paused, perhaps for maintenance")
        elif seen is not None and spec.fence and not seen.guard.attached:
            wrong.append(f"the guard on {node.name} does not run")
    step = f". Run {ORCHESTRATE}, which repairs what it can; {FORCE}"
    return Check(
        "the others are in service",
        ", ".join(n.name for n in spec.members if n.name != name) or "there are none",
        "; ".join(wrong) + step if wrong else "",
    )


def _left(spec, servers, primary, name, heir):
    """Names of the standbys that stream from the primary once the node is away."""
    found = []
    for node in spec.data_nodes:
        server = servers.get(node.name)
        if node.name in (name, heir or primary) or server is None:
            continue
        upstream = upstreams.upstream_of(spec, server)
        # What streams from the node follows the primary first.
        above = (primary, name, heir)
        if server.receiver == "streaming" and upstream and upstream.name in above:
            found.append(node.name)
    return found


def _successors(spec, left, name):
    able = [n for n in left if spec.nodes[n].priority > 0]
    problem = (
        f"without {name} no standby could take over from the primary. Add a standby, or wait until"
        f" one streams from the primary; {FORCE}"
    )
    return Check("who can take over", ", ".join(able) or "no standby", "" if able else problem)


def _majority(spec, servers, primary, name):
    """Who elects a primary while the node is away: also what streams from it now."""
    records = servers[primary].nodes
    ids = {r.node_id for r in leaving.electors(records)}
    fed = upstreams.fed_by(spec, servers, name)
    rest = [
        r.node_name
        for r in records
        if r.node_name != name and (r.node_id in ids or r.node_name in fed)
    ]
    here = [n for n in rest if n in servers]
    problem = ""
    if len(here) < len(rest) // 2 + 1:
        down = [n for n in rest if n not in here]
        problem = (
            f"without {name}, {len(here)} of {len(rest)} electors would be up, which is no majority."
            f" Bring back {' or '.join(down)} first ('salt {down[0]} state.apply repmgr')"
        )
    finding = f"electors: {', '.join(rest)}"
    if spec.fence and len(rest) == 2:
        finding += "; repmgrd fails over after a crash of PostgreSQL, not after the loss of a host"
    return Check("majority", finding, problem)


def _slot(spec, servers, node, primary, keep_slot):
    holders = [n.name for n in spec.data_nodes if n.name in servers and n.name != node.name]
    holders = [n for n in holders if servers[n].slot(node.slot)] or [primary]
    lines = [_of_slot(n, servers[n], slot_stays(servers[n], keep_slot)) for n in holders]
    return Check("WAL for it", "; ".join(lines))


def _of_slot(holder, server, stays):
    limit = server.max_slot_wal
    limit = "without limit" if limit is None or limit < 0 else f"up to {limit} MB"
    if stays:
        return f"its slot on {holder} stays and keeps WAL {limit}"
    return (
        f"its slot on {holder} is dropped, because it would keep WAL {limit}"
        " (max_slot_wal_keep_size): the node may have to be cloned when it is back"
    )


def _s(names):
    """The ending of the verb after so many names."""
    return "s" * (len(names) == 1)


def _steps(name, primary, heir, fed):
    lines = (
        f"the primary is moved from {primary} to {heir}" if heir else "",
        f"{name} is marked as drained: on its host, and in repmgr's history on {heir or primary}",
        f"{', '.join(fed)} stream{_s(fed)} from {primary}" if fed else "",
        f"repmgrd, PostgreSQL and the guard on {name} are stopped and do not start at boot",
        f"{name} is no longer an elector",
    )
    return tuple(line for line in lines if line)
