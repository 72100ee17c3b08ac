"""What is wrong with a cluster, in words and with the next step. Pure.

Each finder looks at one thing and yields a :class:`Problem` for what it does not like; the
list of them is at the end.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from saltext_repmgr.utils import drain
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import election
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import rotation
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.choice import choose_primary
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.spec import Role
from saltext_repmgr.utils.topology import State
from saltext_repmgr.utils.topology import View

ORCHESTRATE = "'salt-run state.orchestrate repmgr.cluster'"
AGAIN = "repmgrd may be about to promote a standby: ask again in some seconds first"


class Severity(str, Enum):
    """What a problem makes of the cluster; a note leaves it healthy."""

    NOTE = "note"
    DEGRADED = "degraded"
    BROKEN = "broken"


@dataclass(frozen=True)
class Problem:
    """Something to know, the nodes it is about, and what to do; ``step`` is empty where ``what``
    says that already."""

    severity: Severity
    nodes: tuple[str, ...]
    what: str
    step: str = ""
    details: tuple[str, ...] = ()  # lines


def size(count):
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 10240:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} TB"


def _degraded(name, what, step=""):
    return Problem(Severity.DEGRADED, (name,) if name else (), what, step)


def _broken(what, step=""):
    return Problem(Severity.BROKEN, (), what, step)


def _primary(seen: View) -> Iterator[Problem]:
    """There must be one primary."""
    if seen.primary:
        return
    if seen.live:
        lines = tuple(plan.server_line(n, seen.servers[n]) for n in seen.live)
        what = f"{len(seen.live)} primaries at once"
        yield Problem(Severity.BROKEN, seen.live, what, plan.DECIDE, lines)
        return
    if not seen.said:
        step = "see 'salt-run manage.status', and that salt-minion runs on them"
        yield _broken("no node could be asked", step)
        return
    chosen = choose_primary(seen.spec, seen.said)
    follows = any(s.in_recovery for s in seen.servers.values())
    if chosen.problem:
        yield _broken(chosen.problem, _promotion(seen) if follows else "")
    else:
        step = f"{ORCHESTRATE} makes {chosen.primary} the primary"
        what = f"no primary answers: {chosen.reason}"
        yield _broken(what, f"{AGAIN}; if it does not, {step}" if follows else step)


def _promotion(seen):
    """What is left to people where nobody is promoted."""
    standbys = [
        (server.timeline, lsn.parse(server.lsn or "0/0"), -node.id, node.name)
        for node in seen.spec.data_nodes
        if (server := seen.servers.get(node.name)) is not None
        and server.in_recovery
        and node.name not in seen.drained
    ]
    if not standbys:
        return AGAIN
    *_, best = max(standbys)
    return (
        f"{AGAIN}. If it does not, make sure that the host of the lost primary is off, then run"
        f" 'salt {best} repmgr.standby_promote'"
    )


def _mistakes(seen: View) -> Iterator[Problem]:
    for line in seen.mistakes:
        yield _degraded("", line, "correct the pillar")


def _drained(seen: View) -> Iterator[Problem]:
    for name, fact in seen.drained.items():
        ailment = drained.ailment(name, fact, name in seen.said and seen.said[name].running)
        severity = Severity.NOTE if ailment.note else Severity.DEGRADED
        yield Problem(severity, (name,), ailment.what, ailment.step)


def _silent(seen: View) -> Iterator[Problem]:
    """Minions that said nothing, and what is known of their PostgreSQL all the same."""
    for name, why in seen.missing.items():
        if name in seen.drained:
            continue
        if name in seen.servers:
            what = f"{why}; its PostgreSQL answers the other nodes"
            yield _degraded(name, what, "'systemctl status salt-minion' on it")
        else:
            step = "check the host; if it is gone for good, mark it 'ensure: absent' in pillar"
            yield _degraded(name, f"{why}; {_down(seen, name)}", step)


def _down(seen, name):
    """Words for a server that does not answer, and how the metadata contradict that."""
    state, others = seen.state(name), ", ".join(seen.seen_from(name))
    words = {
        State.STUCK: "its PostgreSQL does not answer",
        State.DOWN: "its PostgreSQL does not run",
        State.REJECTING: f"its PostgreSQL refuses connections from {others}",
        State.UNREACHABLE: f"its host cannot be reached from {others}",
        State.UNKNOWN: "the state of its PostgreSQL is unknown",
    }[state]
    record = seen.records.get(name)
    if record is None:
        return f"{words}, and it is not registered" if seen.records else words
    return f"{words}, and it is {'active' if record.active else 'inactive'} in repmgr's metadata"


def _nodes(seen: View) -> Iterator[Problem]:
    """What the decisions of a run have to say about each node."""
    if len(seen.live) > 1:
        return
    chosen = choose_primary(seen.spec, seen.said)
    primary = seen.servers.get(seen.primary)
    run = plan.Run(chosen.primary, chosen.new, chosen.system_identifier)
    for node in seen.spec.members:
        if node.name in seen.drained:
            continue
        if node.name in seen.said:
            found = survey.node_ailments(seen.spec, node, seen.said[node.name], run, primary)
        elif node.name in seen.servers and primary is not None:
            found = list(_from_afar(seen, node, primary))
        else:
            continue
        if node.name not in seen.servers:
            what = "; ".join([_down(seen, node.name), *(a.what for a in found)])
            step = f"{ORCHESTRATE} does it" if any(a.planned for a in found) else ""
            if seen.state(node.name) is State.STUCK:
                step = "look at the disks of the host and at the log of its server"
            yield _degraded(node.name, what, step)
            continue
        for ailment in found:
            step = f"{ORCHESTRATE} does it" if ailment.planned else ailment.step
            severity = Severity.NOTE if ailment.note else Severity.DEGRADED
            yield Problem(severity, (node.name,), ailment.what, step)


def _from_afar(seen, node, primary):
    """A node whose minion is silent and whose PostgreSQL answers the others."""
    server = seen.servers[node.name]
    role = Role.WITNESS if node.is_witness else Role.STANDBY
    if node.name == seen.primary:
        role = Role.PRIMARY
    elif not node.is_witness and server.system_identifier != primary.system_identifier:
        what = f"its system identifier is {server.system_identifier}, the cluster's is"
        step = "it is of another cluster: look at it before you change it"
        yield survey.Ailment(node.name, f"{what} {primary.system_identifier}", step)
        return
    for action in plan.registration(seen.spec, node, server, primary, role):
        yield survey.Ailment(node.name, f"still to do: register ({action.reason})", planned=True)
    if role is Role.STANDBY:
        yield from survey.stream_ailments(seen.spec, node, server, primary)
    attached = server.repmgrd_pid is not None
    repmgrd = Repmgrd(attached=attached, paused=server.repmgrd_paused)
    yield from survey.daemon_ailments(node, repmgrd)
    if attached:
        yield from survey.watch_ailments(seen.spec, node, server, seen.primary)


def _strangers(seen: View) -> Iterator[Problem]:
    """Registered nodes that pillar does not want."""
    members = {n.name for n in seen.spec.members}
    for name, record in seen.records.items():
        if name not in members:
            absent = name in seen.spec.nodes
            words = "'ensure: absent' in pillar" if absent else "not in pillar"
            at = seen.primary or "NODE"
            away = f"'salt {at} repmgr.{record.type}_unregister node_id={record.node_id}'"
            step = f"{away} removes it" if absent else f"add it to pillar, or {away}"
            yield _degraded(name, f"it is registered as {record.type}, and {words}", step)


def _upstreams(seen: View) -> Iterator[Problem]:
    """Standbys that stream from another node than pillar wants."""
    for node in seen.spec.data_nodes:
        actual = seen.upstream(node.name)
        if node.upstream in seen.drained:
            continue
        if node.upstream and actual and actual != node.upstream:
            what = f"it streams from {actual}, and pillar's upstream is {node.upstream}"
            if seen.upstream(node.upstream) is None and node.upstream not in seen.live:
                yield _degraded(node.name, what, f"bring {node.upstream} back, or change pillar")
                continue
            wanted = seen.spec.nodes[node.upstream].id
            follow = f"'salt {node.name} repmgr.standby_follow upstream_node_id={wanted}'"
            yield _degraded(node.name, what, f"{follow}, or change pillar")


def _replay(seen: View) -> Iterator[Problem]:
    for name, server in seen.servers.items():
        if server.replay_paused:
            why = limits.why_paused(seen.servers, name, seen.primary)
            step = why or f'"SELECT pg_wal_replay_resume()" on {name}, as postgres'
            yield _degraded(name, "its replay is paused, so it falls behind", step)


def _collations(seen: View) -> Iterator[Problem]:
    """Hosts that sort text by other rules than those by which its indexes were made."""
    for name, server in seen.servers.items():
        versions = {}
        for found in server.collations:
            versions.setdefault((found.made, found.here), []).append(found.database)
        for (made, here), databases in versions.items():
            what = (
                f"its host sorts text by collation version {here or 'none'},"
                f" {' and '.join(databases)} {'was' if len(databases) == 1 else 'were'} made with"
                f" {made}: indexes on text may give wrong results there"
            )
            step = "give all nodes the same release of the system (docs/troubleshooting.md)"
            if name == seen.primary:
                step = (
                    "on it, as postgres, for each of them: REINDEX DATABASE, then ALTER DATABASE …"
                    " REFRESH COLLATION VERSION"
                )
            yield _degraded(name, what, step)


def _slots(seen: View) -> Iterator[Problem]:
    """Slots that keep WAL, or a name, for nobody."""
    owners = {f"repmgr_slot_{n.id}": n.name for n in seen.spec.nodes.values()}
    owners |= {r.slot_name: r.node_name for r in seen.records.values() if r.slot_name}
    for name, server in seen.servers.items():
        for slot in server.slots:
            if not slot.active:
                yield _idle(seen, name, slot, owners.get(slot.slot_name))


def _idle(seen, name, slot, owner):
    kept = f"slot {slot.slot_name} is inactive and keeps {size(slot.retained_bytes or 0)} of WAL"
    if owner in seen.drained:
        return _of_drained(seen, name, slot, kept, owner)
    drop = f"\"SELECT pg_drop_replication_slot('{slot.slot_name}')\" on {name}, as postgres"
    if slot.wal_status == "lost":
        lost = f"slot {slot.slot_name} has lost WAL that {owner or 'its user'} needs"
        return _degraded(name, lost, f"clone {owner or 'its user'} anew, then {drop}")
    upstream = seen.belongs_below(owner)
    if owner and upstream == name:
        wait = f"bring {owner} back before the disk of {name} is full, or give it up: {drop}"
        return _degraded(name, f"{kept} for {owner}", wait)
    whose = "it belongs to no node"
    if owner:
        whose = f"it is {owner}'s, which " + (
            f"streams from {upstream}" if upstream else "is no standby of it"
        )
    severity = Severity.DEGRADED if slot.retained_bytes else Severity.NOTE
    return Problem(severity, (name,), f"{kept}; {whose}", f"if it is not needed: {drop}")


def _of_drained(seen, name, slot, kept, owner):
    """It was left there on purpose; without a limit it fills the disk all the same."""
    if drain.slot_stays(seen.servers[name]) or not slot.retained_bytes:
        return Problem(Severity.NOTE, (name,), f"{kept} for {owner}, which is drained")
    drop = f"'salt {name} repmgr_pg.slot_drop {slot.slot_name}'"
    step = f"bring {owner} back before the disk of {name} is full, or give it up: {drop}"
    return _degraded(name, f"{kept} for {owner}, which is drained, without a limit", step)


def _paths(seen: View) -> Iterator[Problem]:
    """Members that do not reach a server that others do."""
    for name in seen.servers:
        failed = {o: m for o, m in seen.seen_from(name).items() if m.reach is not Reach.ANSWERED}
        if not failed or name not in seen.records:
            continue
        reach = ", ".join(sorted({m.reach.value for m in failed.values()}))
        first = min(failed)
        host = seen.spec.nodes[name].host
        yield _degraded(
            name,
            f"its PostgreSQL runs, and {' and '.join(failed)} cannot use it ({reach})",
            f"'salt {first} repmgr_pg.reachable host={host}' says why",
        )


@dataclass(frozen=True)
class Electors:
    """Who elects a new primary: the primary itself, and those active below it.

    ready
        Those besides the primary that answer and whose repmgrd runs, not paused, and watches it.
    needed
        How many of them it takes to promote one.
    """

    names: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    needed: int = 0


def electors(seen: View, nodes) -> Electors:
    """Return the :class:`Electors`; none where there is no one primary.

    nodes
        The tree, as :func:`~saltext_repmgr.utils.topology.tree` returns it.
    """
    primary = seen.records.get(seen.primary)
    if primary is None:
        return Electors()
    below = [
        r.node_name
        for r in seen.records.values()
        if r.active and r.upstream_node_id == primary.node_id
    ]
    up = {
        n.name
        for n in nodes
        if n.state is State.RUNNING
        and n.repmgrd == "running"
        and seen.servers[n.name].watched in (None, primary.node_id)
    }
    names = (seen.primary, *below)
    return Electors(names, tuple(n for n in below if n in up), len(names) // 2 + 1)


def _majority(seen: View, elect: Electors) -> Iterator[Problem]:
    """Whether the loss of the primary could be survived."""
    data, members = seen.spec.data_nodes, seen.spec.members
    if not elect.names:
        return
    if len(data) == 1:
        if len(members) > 1:
            what = f"if {seen.primary} is lost, nobody is promoted: it is the only data node"
            yield Problem(Severity.NOTE, (), what, "add a standby to pillar")
        return
    if len(members) == 2:
        what = "two data nodes and no witness: no standby is promoted after the loss of a host"
        step = "add a node with 'role: witness' to pillar"
        yield Problem(Severity.NOTE, (), what, step)
        if elect.ready:
            yield from _outcome(seen, elect)
        return
    if len(elect.ready) < elect.needed:
        what = (
            f"if {seen.primary} is lost, no standby is promoted: {elect.needed} of"
            f" {len(elect.names)} electors are needed, and without the primary {len(elect.ready)} can"
            " vote"
        )
        idle = [n for n in elect.names[1:] if n not in elect.ready]
        if seen.drained and not idle:
            back = ", ".join(map(drained.way_back, seen.drained))
            yield Problem(Severity.NOTE, (), what, back)
            return
        step = f"bring {', '.join(idle)} back" if idle else "add or bring back a node"
        lower = _cascaded(seen, elect.names)
        if lower and not idle:
            step = f"let {', '.join(lower)} stream from {seen.primary} ('upstream' in pillar), or {step}"
        yield _degraded("", what, step)
        return
    yield from _outcome(seen, elect)


def _outcome(seen, elect):
    """Whether those that can vote can promote somebody, and whether that one has every row."""
    if election.is_automatic(seen.spec.settings):
        voters = [seen.records[name] for name in elect.ready]
        why = election.obstacle(seen.records[seen.primary].location, voters)
        if why:
            step = "correct 'priority' or 'location' in pillar, or bring the other nodes back"
            yield _degraded("", f"if {seen.primary} is lost, nobody is promoted: {why}", step)
    confirmed, _ = pg_settings.confirming(seen.spec, seen.spec.nodes[seen.primary])
    needed = election.confirmations(len(elect.names))
    if 0 < confirmed < needed:
        what = (
            f"a commit waits for {confirmed} of the standbys: where they are lost together with"
            f" {seen.primary}, the other electors promote a standby that may not have it"
        )
        yield Problem(Severity.NOTE, (), what, f"write 'synchronous: {needed}' in pillar")


def _cascaded(seen, electors):
    """Names of the registered standbys that have no vote, being below another standby."""
    return [
        r.node_name
        for r in seen.records.values()
        if r.active and r.type == "standby" and r.node_name not in electors
    ]


def _routers(seen: View) -> Iterator[Problem]:
    """PgBouncers that do not lead to the primary, or that clients cannot use."""
    for name, why in seen.lost.items():
        yield _degraded(name, why, "check the host; its PgBouncer may still work")
    for name, router in seen.routers.items():
        for ailment in routing.ailments(seen.spec, router, seen.primary):
            severity = Severity.NOTE if ailment.note else Severity.DEGRADED
            yield Problem(severity, (name,), ailment.what, ailment.step)


def _passwords(seen: View) -> Iterator[Problem]:
    """Pillar's must be in force."""
    for ailment in rotation.ailments(seen.passwords, away=seen.drained):
        yield _degraded("", ailment.what, ailment.step)


# A new kind of finding is one more function here; what is worst comes first all the same.
_FINDERS = (
    _primary,
    _mistakes,
    _drained,
    _silent,
    _nodes,
    _strangers,
    _upstreams,
    _replay,
    _collations,
    _slots,
    _paths,
    _routers,
    _passwords,
)


def find(seen: View, elect: Electors) -> tuple[Problem, ...]:
    """Return all problems, the worst first; the same problem of several nodes is one."""
    found = [problem for finder in _FINDERS for problem in finder(seen)]
    merged = {}
    for problem in [*found, *_majority(seen, elect)]:
        merged.setdefault((problem.severity, problem.what), []).append(problem)
    order = list(Severity)
    return tuple(sorted(map(_merge, merged.values()), key=lambda p: -order.index(p.severity)))


def _merge(problems):
    first = problems[0]
    nodes = tuple(name for problem in problems for name in problem.nodes)
    if len(nodes) == len(first.nodes):
        return first
    step = first.step.replace(f"'salt {nodes[0]} ", f"'salt -L {','.join(nodes)} ")
    return dataclasses.replace(first, nodes=nodes, step=step)
