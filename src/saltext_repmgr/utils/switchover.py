"""May the primary be moved to another node, and what would that take? Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import reached
from saltext_repmgr.utils.plan import two_primaries
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.spec import ClusterSpec

# What a standby has still to replay keeps clients waiting when it is promoted.
MOST_LAG_BYTES = 16 * 2**20
# A primary archives all of its WAL before it is down.
MOST_WAITING_WAL = 8
# What a check finds that would be about something else by then.
_AFTERWARDS = "known after its restart"


@dataclass(frozen=True)
class Check:
    """One look before anything is touched.

    problem
        What is wrong and what to do about it; empty where all is well.
    """

    name: str
    finding: str
    problem: str = ""


@dataclass(frozen=True)
class Switchover:
    """A switchover as it is planned.

    steps
        What would be done, in words.
    done
        Whether the node is the primary already.
    away
        Names of the nodes that are drained: they take no part.
    """

    cluster: str
    primary: str | None
    target: str | None
    checks: tuple[Check, ...] = ()
    steps: tuple[str, ...] = ()
    done: bool = False
    away: tuple[str, ...] = ()

    @property
    def problems(self):
        """What stands against it, a line each."""
        return tuple(f"{c.name}: {c.problem}" for c in self.checks if c.problem)


def examine(spec: ClusterSpec, said: Mapping[str, Observation], missing, target=None, due=()):
    """Return the :class:`Switchover` to ``target``.

    said
        What each node that answered said of itself.
    missing
        Name of each member that did not, to the reason.
    target
        Name of the node that shall be the primary; None: the standby that is fit best.
    due
        Names of nodes whose server is restarted before: it ends a pause of their replay, and puts
        their settings in force.
    """
    servers = reached(said)
    away = drained.away(spec, said, servers)
    # One that was promoted before it could be stopped is in service, whatever it says of itself.
    away = {n: fact for n, fact in away.items() if n not in primaries(spec, servers)}
    if target in away:
        problem = f"{target} {drained.words(away[target])}; {drained.way_back(target)} first"
        return Switchover(spec.cluster, None, target, (Check("candidate", target, problem),))
    # Who is drained takes no part and is not waited for.
    whole, spec = spec, drained.without(spec, away)
    checks = [_everybody(spec, {n: why for n, why in missing.items() if n not in away})]
    live = primaries(spec, servers)
    if len(live) != 1:
        problem = two_primaries(servers, live) if live else "no node is the primary"
        step = "" if live else "; run 'salt-run state.orchestrate repmgr.cluster' first"
        checks.append(Check("one primary", f"{len(live)} found", problem + step))
        return Switchover(spec.cluster, None, target, tuple(checks))
    primary = live[0]
    checks.append(Check("one primary", f"{primary}, on timeline {servers[primary].timeline}"))
    target = target or fittest(spec, servers, primary, due)
    if target == primary:
        return Switchover(spec.cluster, primary, target, done=True)
    problem = _no_candidate(spec, target)
    if problem:
        checks.append(Check("candidate", str(target), problem))
        return Switchover(spec.cluster, primary, target, tuple(checks))
    followers = tuple(n for n in upstreams.fed_by(spec, servers, primary) if n != target)
    checks += [
        _streams(spec, servers, primary, target),
        _lag(servers, primary, target, due),
        _replay(servers, target, primary, due),
        archive(servers[primary]),
        _room(spec, servers, primary, target, followers, due),
        synchronous(whole, target, _below(spec, servers, primary, target), "below it"),
        _siblings(spec, servers, primary, target),
        _limits(spec, servers, primary, target, due),
        _daemons(spec, said),
    ]
    steps = _steps(spec, primary, target, followers)
    return Switchover(spec.cluster, primary, target, tuple(checks), steps, away=tuple(away))


def _below(spec, servers, primary, target):
    """Return the names of those that will stream from ``target``, once all is done."""
    found = {
        *upstreams.fed_by(spec, servers, primary),
        *upstreams.fed_by(spec, servers, target),
        primary,
    } - {target}
    # Pillar sends others elsewhere.
    upstream = {n: spec.nodes[n].upstream for n in found}
    return [n for n in found if upstream[n] in (None, target) or upstream[n] not in servers]


def _everybody(spec, missing):
    lines = [f"{name}: {why}" for name, why in missing.items()]
    hint = "mend that first, or take the node out of the cluster with 'ensure: absent'"
    problem = f"{'; '.join(lines)}; {hint}" if lines else ""
    return Check("every member answers", f"{len(spec.members)} members", problem)


def fittest(spec, servers, primary, due=()):
    """The standby that streams from the primary, by priority, then by what it has; one that others
    could not follow comes last."""
    fit = [
        node
        for node in spec.data_nodes
        if node.name in servers
        and node.name != primary
        and node.priority > 0
        and not _streams(spec, servers, primary, node.name).problem
        and (node.name in due or not servers[node.name].replay_paused)
        and not servers[node.name].apply_delay
    ]

    def place(node):
        outdone = bool(_outdone(spec, servers, primary, node.name, due))
        return outdone, -node.priority, -lsn.parse(servers[node.name].lsn or "0/0"), node.id

    fit.sort(key=place)
    return fit[0].name if fit else None


def _no_candidate(spec, target):
    if target is None:
        return "no standby streams from the primary; 'salt-run repmgr.status' shows why"
    node = spec.nodes.get(target)
    names = ", ".join(n.name for n in spec.data_nodes)
    if node is None or node.absent:
        return f"{target} is no node of {spec.cluster}; choose one of {names}"
    if node.is_witness:
        return f"{target} is the witness and has no data; choose one of {names}"
    return ""


def _streams(spec, servers, primary, target):
    server, problem = servers.get(target), ""
    if server is None:
        problem = f"its server does not answer; 'salt {target} state.apply repmgr' mends that"
    elif server.receiver != "streaming":
        problem = f"it does not stream; 'salt {target} repmgr.node_check' tells more"
    else:
        upstream = upstreams.upstream_of(spec, server)
        if upstream is None or upstream.name != primary:
            source = upstream.name if upstream else server.upstream_host
            problem = (
                f"it streams from {source}; give it 'upstream: {primary}' in pillar and run the"
                " orchestration first"
            )
        elif server.timeline != servers[primary].timeline:
            problem = f"it is on timeline {server.timeline}, {primary} on another"
    return Check("candidate streams", f"{target} from {primary}", problem)


def _sender(servers, primary, target):
    return next((s for s in servers[primary].senders if s.application_name == target), None)


def _lag(servers, primary, target, due):
    if target in due and target in servers and servers[target].replay_paused:
        return Check("candidate is up to date", _AFTERWARDS)
    sender = _sender(servers, primary, target)
    if sender is None or sender.replay_lsn is None:
        problem = (
            f"{primary} does not say how far {target} is: nothing streams from it as {target!r} yet"
            f" ('salt {primary} repmgr_pg.replication_status'); 'salt-run state.orchestrate"
            " repmgr.cluster' corrects a standby's application_name"
        )
        return Check("candidate is up to date", "not known", problem)
    behind = max(0, lsn.diff(servers[primary].lsn, sender.replay_lsn))
    problem = ""
    if behind > MOST_LAG_BYTES:
        problem = (
            f"{target} is {behind} bytes behind, more than {MOST_LAG_BYTES}; wait until it has"
            f" caught up ('salt {primary} repmgr_pg.replication_status')"
        )
    return Check("candidate is up to date", f"{behind} bytes behind", problem)


def _replay(servers, target, primary, due):
    delay = servers[target].apply_delay if target in servers else 0
    if delay:
        finding = f"{delay / 1000:g} s late on purpose"
        problem = (
            f"recovery_min_apply_delay is set on {target}, and nobody could write until it has"
            " replayed all; choose another node, or take the setting out first"
        )
        return Check("candidate replays", finding, problem)
    if target not in servers or not servers[target].replay_paused:
        return Check("candidate replays", "not paused")
    if target in due:
        return Check("candidate replays", _AFTERWARDS)
    why = limits.why_paused(servers, target, primary)
    step = why or f"'SELECT pg_wal_replay_resume()' on {target} ends that"
    return Check("candidate replays", "paused", f"replay is paused; {step}")


def archive(primary):
    """Whether the archive lets a primary go down, which archives all of its WAL first.

    primary
        Its :class:`~saltext_repmgr.utils.facts.Server`.
    """
    problem = ""
    if primary.archive_failing:
        problem = (
            f"archive_command fails ({primary.archive_failing}), and the primary would not be down"
            " before it is archived; mend it (the server's log has its messages)"
        )
    elif primary.archive_waiting > MOST_WAITING_WAL:
        problem = (
            f"{primary.archive_waiting} WAL files wait to be archived, more than"
            f" {MOST_WAITING_WAL}; wait until they are"
        )
    return Check("archive", f"{primary.archive_waiting} WAL files wait", problem)


def _room(spec, servers, primary, target, followers, due):
    """Senders and slots for the followers and the old primary."""
    server = servers.get(target)
    if server is None:
        return Check("room on the candidate", f"{target} does not say")
    if target in due:
        return Check("room on the candidate", _AFTERWARDS)
    wanted = [*followers, primary]
    senders = server.max_wal_senders - len(server.senders)
    slots = server.max_replication_slots - len(server.slots)
    new = [n for n in wanted if server.slot(spec.nodes[n].slot) is None]
    problem = ""
    if senders < len(wanted):
        problem = f"max_wal_senders leaves {senders} free, {len(wanted)} are needed"
    elif effective(spec.settings)["use_replication_slots"] and slots < len(new):
        problem = f"max_replication_slots leaves {slots} free, {len(new)} are needed"
    step = f"; raise it for {target} in 'postgres: settings'"
    return Check(
        "room on the candidate",
        f"{senders} senders and {slots} slots are free, {len(wanted)} nodes will follow",
        problem and problem + step,
    )


def synchronous(spec, primary, below, when):
    """What a commit waits for on a node that is the primary.

    below
        Names of the standbys that stream from it then.
    when
        When that is, in words.
    """
    number, names = pg_settings.confirming(spec, spec.nodes[primary])
    here = [n for n in names if n in below]
    problem = ""
    if len(here) < number:
        problem = (
            f"pillar's 'synchronous' has every commit on {primary} wait for {number} of"
            f" {', '.join(names)}, and {when} there is {', '.join(here) or 'none'}: nobody could"
            " write. Lower it in pillar and run 'salt-run state.orchestrate repmgr.cluster' first"
        )
    finding = f"{number} needed, {len(here)} left" if number else "not asked for"
    return Check("synchronous standbys", finding, problem)


def _limits(spec, servers, primary, target, due):
    """A standby with less than its primary stops replaying; the old primary is given as much."""
    wrong = _outdone(spec, servers, primary, target, due)
    hint = "; with one value for all in 'postgres: settings', 'salt-run repmgr.restart' brings them there"
    finding = f"{'less than' if wrong else 'at least'} those of {target}"
    return Check("limits of the others", finding, "; ".join(wrong) + hint if wrong else "")


def _outdone(spec, servers, primary, target, due):
    """Say which limits of the others are lower than those of ``target``, and stay so."""
    wrong = []
    most = servers[target].limits if target in servers else {}
    for node in spec.data_nodes:
        if node.name in (primary, target) or node.name not in servers:
            continue
        server, moves = servers[node.name], ()
        if node.name in due:
            moves = (*pg_settings.server_settings(spec, node), *server.pending)
        wrong += [
            f"{name} is {own} on {node.name} and {needed} on {target}"
            for name, (own, needed) in limits.less(server.limits, most).items()
            if name not in moves
        ]
    return wrong


def _siblings(spec, servers, primary, target):
    wrong = []
    for node in spec.data_nodes:
        if node.name in (primary, target):
            continue
        server = servers.get(node.name)
        if server is None:
            wrong.append(f"the server of {node.name} does not answer")
        elif server.receiver != "streaming":
            wrong.append(f"{node.name} does not stream")
    wrong += [
        f"the server of witness {n.name} does not answer"
        for n in spec.members
        if n.is_witness and n.name not in servers
    ]
    hint = "; 'salt-run state.orchestrate repmgr.cluster' mends what can be mended"
    return Check(
        "the others are in service",
        ", ".join(n.name for n in spec.members if n.name not in (primary, target))
        or "there are none",
        "; ".join(wrong) + hint if wrong else "",
    )


def _daemons(spec, said):
    wrong = []
    for node in spec.members:
        seen = said.get(node.name)
        if seen is None or seen.server is not None and seen.server.outgrown:
            # In the midst of an upgrade: it runs again once the extension is new, too.
            continue
        if not seen.repmgrd.attached:
            wrong.append(
                f"repmgrd of {node.name} does not run ('salt {node.name} state.apply repmgr.daemon'"
                " starts it)"
            )
        elif seen.repmgrd.paused:
            wrong.append(
                f"repmgrd of {node.name} is paused: somebody is at work there ('salt {node.name}"
                " repmgr_node.unpause' ends that)"
            )
        if not seen.guard.attached:
            # It ends pauses, and a cut-off primary.
            wrong.append(
                f"the guard of {node.name} does not run ('salt {node.name} state.apply"
                " repmgr.daemon' starts it)"
            )
    return Check("repmgrd and guard", "run everywhere", "; ".join(wrong))


def _steps(spec, primary, target, followers):
    moved = [*followers, *(n.name for n in spec.members if n.is_witness)]
    routers = ", ".join(spec.routers)
    waits = spec.routers and spec.pgbouncer.waits
    lines = (
        f"checkpoint on {primary}",
        "repmgrd is paused on every node; the pause ends by itself",
        (
            f"PgBouncer lets its clients wait, on {routers}, and leads them to {target}"
            if waits
            else ""
        ),
        (
            f"PgBouncer leads new connections to {target}, on {routers}; with pool_mode session its"
            " clients lose theirs"
            if routers and not waits
            else ""
        ),
        f"{primary} is stopped in good order",
        f"{target} is promoted as soon as it has the last byte",
        f"{primary} becomes a standby of {target}",
        f"{', '.join(moved)} follow{'s' * (len(moved) == 1)} {target}" if moved else "",
        "repmgrd goes on everywhere",
    )
    return tuple(line for line in lines if line)
