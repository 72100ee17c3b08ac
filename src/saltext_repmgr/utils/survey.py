"""What all nodes said, taken together: may an orchestration begin, in which order does it
go, and is the cluster healthy. Pure; the asking is done by the callers.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import existing
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import leaving
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import rotation
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import slots
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.ailment import Ailment
from saltext_repmgr.utils.choice import choose_primary
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.scrub import scrub
from saltext_repmgr.utils.spec import ClusterSpec

NOT_INSTALLED = "is not available"
RESTART = "'salt-run repmgr.restart'"
UPGRADE = "'salt-run repmgr.upgrade'"


@dataclass(frozen=True)
class Survey:
    """What an orchestration goes by.

    problems
        Mistakes that must be mended before any host is touched.
    missing
        Nodes that cannot take part, each with the reason; the others go on without them.
    run
        What every node is told, as inline pillar ``repmgr_run``.
    waves
        Names of the data nodes in the order in which they can be worked on; those of one
        wave need nothing from each other.
    asleep
        Names of the other nodes whose servers are down like the primary's. Its start check has to
        hear from some of them, so they come before it.
    again
        Name of the primary, where it begins to wait for standbys only once they are there.
    leaving
        Names of the nodes that are marked absent, still members, and answer.
    tidying
        Names of the nodes on which something of a node that left, or moved, is to be removed.
    routers
        Names of the hosts with a PgBouncer that answer.
    host_keys
        The address by which nodes reach each other over SSH to the type and the text of its
        public key.
    passwords
        Names of the roles for which pillar has another password than the cluster.
    """

    cluster: str
    problems: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    primary: str | None = None
    reason: str = ""
    run: Mapping[str, object] = field(default_factory=dict)
    waves: tuple[tuple[str, ...], ...] = ()
    witnesses: tuple[str, ...] = ()
    asleep: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    tidying: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    host_keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    passwords: tuple[str, ...] = ()
    order: str = ""


def read_reports(spec: ClusterSpec, replies: Mapping[str, object]):
    """Sort what the minions returned for ``repmgr_node.report``.

    replies
        Minion id to what it returned; a minion that did not answer is not in it.

    Returns ``(observations, reports, problems, missing)``.
    """
    observations, reports, problems, missing = {}, {}, [], {}
    for node in spec.members:
        reply = replies.get(node.name)
        if reply is None:
            missing[node.name] = f"its minion does not answer ('salt {node.name} test.ping')"
        elif not isinstance(reply, Mapping):
            text = " ".join(str(reply).split())[:300]
            if NOT_INSTALLED in text:
                text = "this extension is not installed in its minion ('salt-pip install saltext.repmgr')"
            missing[node.name] = text
        elif reply.get("problems"):
            problems += [f"{node.name}: {p}" for p in reply["problems"]]
        else:
            reports[node.name] = reply
            observations[node.name] = facts.from_dict(Observation, reply["observation"])
    return observations, reports, problems, missing


def _servers(observations):
    """Return ``{node name: server}`` of all servers that answered somebody."""
    found = {n: seen.server for n, seen in observations.items() if seen.server is not None}
    for seen in observations.values():
        for name, server in plan.visible(seen).items():
            found.setdefault(name, server)
    return found


def leavers(spec: ClusterSpec, replies: Mapping[str, object]):
    """Return the names of the nodes marked absent that are to be asked too, given what the
    members said: those that the cluster still knows."""
    observations, _, _, _ = read_reports(spec, replies)
    return [node.name for node in leaving.leavers(spec, _servers(observations))]


def _on_leave(spec, replies, servers):
    """Return ``(problems, names of those that answer, those that do not with the reason)``."""
    names = [node.name for node in leaving.leavers(spec, servers)]
    here, silent = [], {}
    for name in names:
        reply = replies.get(name)
        if isinstance(reply, Mapping) and "observation" in reply:
            here.append(name)
            server = facts.from_dict(Observation, reply["observation"]).server
            servers = {**servers, name: server} if server is not None else servers
        else:
            silent[name] = "its minion does not answer, so nothing is done on its host"
    up = {*servers, *(s.application_name for server in servers.values() for s in server.senders)}
    problem = leaving.objection(spec, servers, names, up) if names else ""
    return ([problem] if problem else []), here, silent


def survey(spec: ClusterSpec, replies: Mapping[str, object]) -> Survey:
    """Return what an orchestration has to go by, given what the minions said: those of all
    members, and of the :func:`leavers`."""
    observations, reports, problems, missing = read_reports(spec, replies)
    problems += disagreements(spec, reports)
    objections, going, silent = _on_leave(spec, replies, _servers(observations))
    problems += objections
    if not observations and not problems:
        problems = [f"{name}: {why}" for name, why in missing.items()]
    if problems:
        return Survey(spec.cluster, problems=tuple(problems), missing=missing)
    chosen = choose_primary(spec, observations)
    if chosen.problem:
        return Survey(spec.cluster, problems=(chosen.problem,), missing=missing)
    routers, lost = routing.read(spec, replies)
    away = drained.away(spec, observations, _servers(observations))
    missing = {n: why for n, why in {**missing, **silent, **lost}.items() if n not in away}
    observations = {n: seen for n, seen in observations.items() if n not in away}
    found = _work(spec, observations, chosen, going, bool(going or silent))
    reason = "; without ".join([chosen.reason, *(f"{n}: {why}" for n, why in missing.items())])
    return replace(
        found,
        missing=missing,
        reason="; ".join([reason, *(drained.ailment(n, d, False).line for n, d in away.items())]),
        routers=tuple(routers),
        host_keys=_host_keys(spec, reports),
        passwords=_to_rotate(spec, chosen, observations, replies),
    )


def _host_keys(spec, reports):
    told = {spec.nodes[name].host: report.get("host_key", "") for name, report in reports.items()}
    return {address: tuple(key.split()[:2]) for address, key in told.items() if key}


def _to_rotate(spec, chosen, observations, replies):
    """Nothing can be changed while nobody is the primary; what is in force stays so."""
    servers = plan.reached(observations)
    live = servers.get(chosen.primary)
    if live is None or live.in_recovery or live.nodes is None:
        return ()
    return rotation.due(rotation.read(replies), drained.away(spec, observations, servers))


def _work(spec, observations, chosen, going, departing):
    """What is to be done, and in which order."""
    here = set(observations)
    waves = tuple(filter(None, _present(order(spec, chosen.primary), here)))
    witnesses = [n.name for n in spec.members if n.is_witness and n.name in here]
    asleep = _asleep(spec, observations, chosen)
    return Survey(
        cluster=spec.cluster,
        primary=chosen.primary,
        run={
            "primary": chosen.primary,
            "new": chosen.new,
            "system_identifier": chosen.system_identifier,
        },
        waves=waves,
        witnesses=tuple(witnesses),
        asleep=asleep,
        again=_again(spec, observations, chosen.primary),
        nodes=tuple(n.name for n in spec.members if n.name in here),
        leaving=tuple(going),
        tidying=_to_tidy(spec, _servers(observations), chosen.primary, departing, here),
        order=_in_words(asleep, waves, going, witnesses),
    )


def _present(waves, here):
    return (tuple(name for name in wave if name in here) for wave in waves)


def _in_words(asleep, waves, going, witnesses):
    """Return the order of work for people."""
    steps = [f"start of {' and '.join(asleep)}"] if asleep else []
    steps += [" and ".join(wave) for wave in waves]
    steps += [f"{' and '.join(going)} to leave"] if going else []
    return ", then ".join([*steps, *witnesses])


def _again(spec, observations, primary):
    seen = observations.get(primary)
    later = seen is not None and limits.waits_for_standbys(spec, spec.nodes[primary], seen)
    return (primary,) if later else ()


def _asleep(spec, observations, chosen):
    """Return the nodes that are to be started before the primary."""
    primary = observations.get(chosen.primary)
    # One whose minion is silent is known from others: it runs.
    if not spec.fence or chosen.new or primary is None or primary.running:
        return ()
    return tuple(
        name
        for name, seen in observations.items()
        if name != chosen.primary
        and not seen.running
        and not seen.data.unfinished_clone
        and (seen.data.standby or spec.nodes[name].is_witness and seen.member)
    )


def _to_tidy(spec, servers, primary, departing, here):
    """Return the data nodes that have something to remove; the primary has the records."""
    found = {s.holder for s in slots.strays(spec, servers, primary) if s.unused}
    found |= {primary} if departing else set()
    return tuple(n.name for n in spec.data_nodes if n.name in found & here)


def disagreements(spec, reports):
    """Return, as lines, in what the nodes' pillars and releases contradict each other."""
    problems = []
    for name, report in reports.items():
        if report["cluster"] != spec.cluster:
            problems.append(
                f"repmgr.cluster: {name} gets {report['cluster']!r} from its pillar, the"
                f" orchestration {spec.cluster!r}; give all of them the same pillar"
            )
        for other, address in report["resolution"].items():
            # With manage_hosts the first step is what makes them resolve.
            if not address and not spec.manage_hosts:
                problems.append(
                    f"repmgr.nodes.{other}.host: {name} cannot resolve"
                    f" {spec.nodes[other].host!r}; correct it, or set 'manage_hosts: true' and an"
                    " address for it"
                )
    versions = {name: report["version"] for name, report in reports.items()}
    if len(set(versions.values())) > 1:
        listed = ", ".join(f"{name}: {version}" for name, version in versions.items())
        problems.append(
            f"repmgr.postgres.version: the nodes would run different major versions ({listed});"
            " set it"
        )
    return problems


def order(spec: ClusterSpec, primary):
    """Return the data nodes in waves: the primary, its standbys, theirs, and so on."""
    waves = [[primary]]
    rest = [n for n in spec.data_nodes if n.name != primary]
    while rest:
        # An upstream that is no standby any more, or gone, holds nobody up.
        names = {n.name for n in rest}
        wave = [n for n in rest if n.upstream not in names]
        waves.append([n.name for n in wave])
        rest = [n for n in rest if n not in wave]
    return waves


def ailments(spec: ClusterSpec, replies: Mapping[str, object], test=False):
    """Return the :class:`Ailment` of every node that is not as it should be.

    test
        A dry run: tell what a real one would do from here.
    """
    observations, _, problems, missing = read_reports(spec, replies)
    found = [Ailment("", problem) for problem in problems]
    routers, lost = routing.read(spec, replies)
    away = drained.away(spec, observations, _servers(observations))
    found += [Ailment(n, why) for n, why in {**missing, **lost}.items() if n not in away]
    found += [
        drained.ailment(n, fact, n in observations and observations[n].running)
        for n, fact in away.items()
    ]
    chosen = choose_primary(spec, observations)
    if chosen.problem and not set(missing) - set(away):
        return found + [Ailment("", chosen.problem)]
    primary = plan.reached(observations).get(chosen.primary)
    run = plan.Run(chosen.primary, chosen.new, chosen.system_identifier, assume=test)
    for node in spec.members:
        if node.name in observations and node.name not in away:
            found += node_ailments(spec, node, observations[node.name], run, primary)
    if primary is not None:
        found += _leftovers(spec, _servers(observations), chosen.primary)
        for router in routers.values():
            found += routing.ailments(spec, router, chosen.primary)
        found += rotation.ailments(rotation.read(replies), test, away)
    return found


def _leftovers(spec, servers, primary):
    """What nodes that left, or moved, have left behind."""
    found = []
    by_id = {n.id: n for n in spec.nodes.values()}
    for record in servers[primary].nodes or ():
        node = by_id.get(record.node_id)
        if node is not None and node.absent:
            way_out = (
                f"'salt {primary} state.apply repmgr.leave' deletes its record once it is down"
            )
            what = "is marked 'ensure: absent' and still registered"
            found.append(Ailment(node.name, what, way_out))
        elif node is None:
            what = f"node {record.node_id} ({record.node_name}) is registered, but not in pillar"
            step = "put it there, with 'ensure: absent' if it shall go"
            found.append(Ailment("", what, step, note=True))
    return found + [Ailment("", s.line, note=True) for s in slots.strays(spec, servers, primary)]


def node_ailments(spec, node, seen, run, primary):
    """Return what is wrong with a node that said what it sees.

    run
        The :class:`~saltext_repmgr.utils.plan.Run` it goes by.
    primary
        The :class:`~saltext_repmgr.utils.facts.Server` of the primary, or None.
    """
    decided = plan.decide(spec, node, seen, run)
    if decided.refusal:
        return [Ailment(node.name, decided.refusal)]
    if decided.actions:
        steps = ", ".join(f"{a.step.value} ({a.reason})" for a in decided.actions)
        return [Ailment(node.name, f"still to do: {steps}", planned=True)]
    found = []
    if not node.is_witness and node.name != run.primary and primary is not None:
        found += stream_ailments(spec, node, seen.server, primary)
    if spec.fence:
        found += guard_ailments(node, seen.guard)
    found += waiting(spec, node, seen)
    if seen.server is not None and seen.server.out_of_step and not seen.repmgrd.attached:
        what = (
            f"repmgrd does not run: its package brings extension {seen.server.extension_offered},"
            f" the database has {seen.server.extension}"
        )
        return found + [Ailment(node.name, what, UPGRADE, rolling=True)]
    found += daemon_ailments(node, seen.repmgrd, seen.guard.paused_until)
    if seen.repmgrd.attached:
        found += watch_ailments(spec, node, seen.server, run.primary)
    return found


def waiting(spec, node, seen):
    """Return what of a node's settings is not in force yet, or never will be: as notes, where nothing is
    wrong with the cluster."""
    settings = limits.wanted(spec, node, seen)
    held = limits.hold(spec, node, seen, settings)
    lines = [h.line for h in held if h.name != limits.SYNCHRONOUS]
    if seen.server is not None and seen.server.pending:
        lines.append(f"a restart is needed for {', '.join(seen.server.pending)}")
    found = [Ailment(node.name, line, RESTART, note=True, rolling=True) for line in lines]
    later = (h.line for h in held if h.name == limits.SYNCHRONOUS)
    found += [Ailment(node.name, line, planned=True) for line in later]
    gone = existing.resets(settings, seen, {*spec.postgres.settings, *spec.settings})
    found += [Ailment(node.name, reset.line, planned=True) for reset in gone]
    found += _outranked(node, seen, {reset.name for reset in gone})
    if seen.replaced:
        what = f"the program files of {' and '.join(seen.replaced)} are newer than what runs"
        found.append(Ailment(node.name, what, UPGRADE, note=True, rolling=True))
    return found


def _outranked(node, seen, without):
    """Settings of pillar, or of ours, that another file of the server has the last word on."""
    if seen.server is None:
        return
    config = seen.server.configuration
    if not config.included:
        yield Ailment(node.name, existing.NOT_INCLUDED, existing.INCLUDE)
    for over in config.overrides:
        if over.name in without:
            continue
        what = (
            f"{over.name} is '{scrub(over.value)}' by {over.file} line {over.line}, which outranks"
            " the value of pillar"
        )
        step = f"remove that line on {node.name}, then 'salt {node.name} state.apply repmgr'"
        if over.file.endswith("/postgresql.auto.conf"):
            step = f'"ALTER SYSTEM RESET {over.name}" on {node.name}, as postgres, and a reload'
        yield Ailment(node.name, what, step, note=True)


def guard_ailments(node, guard):
    """Return what is wrong with a node's :class:`~saltext_repmgr.utils.facts.Guard`."""
    if not guard.attached:
        what = f"its guard does not run (unit: {guard.unit}): it could become a second primary"
        step = f"'salt {node.name} state.apply repmgr', and see 'journalctl -u repmgr-guard' on it"
        return [Ailment(node.name, what, step, settles=True)]
    if guard.state == "frozen":
        what = f"its guard froze the server: {guard.reason}"
        return [Ailment(node.name, what, "look at the network between the nodes", settles=True)]
    return []


def daemon_ailments(node, repmgrd, paused_until=None):
    """Return what is wrong with a node's :class:`~saltext_repmgr.utils.facts.Repmgrd`.

    paused_until
        When a pause of it ends by itself, in seconds since the epoch; None: never.
    """
    if not repmgrd.attached:
        what = f"repmgrd does not run (unit: {repmgrd.unit})"
        step = (
            f"'salt {node.name} state.apply repmgr.daemon', and see 'journalctl -u repmgrd' on it"
        )
        return [Ailment(node.name, what, step, settles=True)]
    if repmgrd.paused:
        end = "it does not end by itself"
        if paused_until:
            end = time.strftime("until %H:%M:%S UTC", time.gmtime(paused_until))
        what = f"repmgrd is paused, no failover will happen; {end}"
        return [Ailment(node.name, what, step=f"'salt {node.name} repmgr_node.unpause'")]
    return []


def watch_ailments(spec, node, server, primary):
    """Return whether repmgrd of a node watches another one than it should.

    primary
        Name of the primary, or None.
    """
    found = upstreams.not_watched(spec, node, server, primary)
    if found is None:
        return []
    what = f"its repmgrd does not watch {found}, and would not notice that it is lost"
    step = f"'salt {node.name} state.apply repmgr.daemon'"
    return [Ailment(node.name, what, step, settles=True)]


def stream_ailments(spec, node, server, primary):
    """Return what is wrong with the replication of a standby that runs."""
    if server.receiver != "streaming":
        what = f"does not stream (WAL receiver: {server.receiver or 'none'})"
    elif upstreams.upstream_of(spec, server) is None:
        what = f"streams from {server.upstream_host}, which is no node of the pillar"
    elif server.timeline != primary.timeline:
        what = f"on timeline {server.timeline}, the primary is on {primary.timeline}"
    else:
        return []
    step = f"see 'salt {node.name} repmgr.node_check' and the log of its server"
    return [Ailment(node.name, what, step, settles=True)]
