"""The decisions: facts in, ordered actions out. Nothing in here touches anything.

:func:`decide` is asked on every node, by every state, before it acts. Its rules, and why
they are what they are, stand in docs/design.md. Whom an orchestration takes for the primary
is decided in :mod:`saltext_repmgr.utils.choice`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import leaving
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import Layout
from saltext_repmgr.utils.spec import NodeSpec
from saltext_repmgr.utils.spec import Role


class Step(str, Enum):
    """What a node may have to do, in the order in which it does it."""

    CREATE = "create"  # initdb
    MOVE_ASIDE = "move_aside"  # keep the present data directory under another name
    DISCARD_PARTIAL = "discard_partial"  # remove what an unfinished clone of ours left
    REJOIN = "rejoin"  # a former primary becomes a standby, with pg_rewind where needed
    CLONE = "clone"
    START = "start"
    FOLLOW = "follow"  # stream from another node
    REGISTER = "register"
    LEAVE = "leave"  # stop, and do not start again


@dataclass(frozen=True)
class Action:
    """One step and why it is needed."""

    step: Step
    reason: str


@dataclass(frozen=True)
class Plan:
    """What one node has to do.

    role
        What the node is in the live cluster, or will be after the plan.
    refusal
        Why nothing may be done, with the next step in words; then there are no actions.
    primary
        Name of the node that is, or will be, the primary.
    source
        Name of the node that a clone is taken from, or a standby is moved to, and that it
        streams from afterwards.
    """

    role: Role | None
    actions: tuple[Action, ...] = ()
    refusal: str = ""
    primary: str | None = None
    notes: tuple[str, ...] = ()
    source: str | None = None

    def action(self, *steps):
        """Return the first action that is one of ``steps``, or None."""
        return next((a for a in self.actions if a.step in steps), None)


@dataclass(frozen=True)
class Run:
    """What an orchestration tells its nodes; the defaults are those of a lone run.

    primary
        Node that the orchestration found to be, or chose to become, the primary after it
        had asked every node. A live primary that a node sees itself outranks it.
    new
        The cluster does not exist yet: the chosen primary may initialise it.
    system_identifier
        Of the chosen primary's data, where it has any.
    assume
        A dry run: go by the chosen primary although nobody made it yet.
    """

    primary: str | None = None
    new: bool = False
    system_identifier: str | None = None
    assume: bool = False

    @property
    def announced(self):
        """Whether this is the dry run of an orchestration: what earlier steps would have done
        cannot be seen."""
        return self.assume and self.primary is not None


def server_line(name, server):
    """Return one line that tells a server from another at 3 a.m."""
    kind = "standby" if server.in_recovery else "primary"
    return (
        f"{name}: {kind} on timeline {server.timeline} at {server.lsn}, started {server.started},"
        f" {server.clients} client session(s), system identifier {server.system_identifier}"
    )


def primaries(spec: ClusterSpec, servers: Mapping[str, Server]):
    """Return the names of the data nodes that act as a primary of a repmgr cluster."""
    data_nodes = {n.name for n in spec.data_nodes}
    return [
        name
        for name, server in servers.items()
        if name in data_nodes
        and not server.in_recovery
        and server.nodes is not None
        and any(r.type == "primary" for r in server.nodes)
    ]


DECIDE = (
    "Decide which node has the data to keep (later timeline, clients), stop PostgreSQL on the other"
    " ('systemctl stop postgresql@...' on it), then run the orchestration again"
)


def two_primaries(servers, names):
    """Return the refusal for a cluster in which more than one node takes writes."""
    lines = "; ".join(server_line(name, servers[name]) for name in names)
    return f"{len(names)} nodes act as primary, nothing was changed: {lines}. {DECIDE}"


def visible(seen: Observation):
    """Return ``{name: server}`` of all servers that answered this node, its own included."""
    servers = {n: m.server for n, m in seen.members.items() if m.server is not None}
    if seen.server is not None:
        servers[seen.node] = seen.server
    return servers


def reached(said: Mapping[str, Observation]):
    """Return ``{name: server}`` of all servers that answered anybody.

    said
        What nodes say, by name. What a node says of itself outranks what others see of it.
    """
    servers = {name: seen.server for name, seen in said.items() if seen.server is not None}
    for seen in said.values():
        for name, server in visible(seen).items():
            servers.setdefault(name, server)
    return servers


def decide(spec: ClusterSpec, node: NodeSpec, seen: Observation, run: Run = Run()) -> Plan:
    """Return what ``node`` has to do, given what it sees.

    spec, node
        The wanted cluster and this node in it.
    seen
        This node's :class:`~saltext_repmgr.utils.facts.Observation`.
    run
        What the orchestration says, if one is under way.
    """
    if node.absent:
        return _leave(spec, node, seen, run)
    if seen.drained is not None:
        told = f"{node.name} {drained.words(seen.drained)}; run {drained.way_back(node.name)}"
        return Plan(None, notes=(told,))
    if seen.running and seen.server is None:
        return Plan(None, refusal=f"the server on this host cannot be asked: {seen.server_error}")
    servers = visible(seen)
    live = primaries(spec, servers)
    if len(live) > 1:
        return Plan(None, refusal=two_primaries(servers, live))
    missing = missing_data(seen)
    if missing:
        return Plan(None, refusal=missing)
    if node.is_witness:
        assumed = run.primary if run.assume else None
        return _witness(spec, node, seen, live[0] if live else assumed)
    if live == [node.name]:
        return _primary_running(spec, node, seen)
    if live:
        return _from_source(node, seen, _join(spec, node, seen, live[0], servers[live[0]]))
    return _without_primary(spec, node, seen, run)


def missing_data(seen: Observation):
    """Return why a data directory must not be taken for a new or an empty one, or ''.

    Files below a mount point without its disk fill the disk of the system, and are hidden once the
    disk is back.
    """
    data = seen.data
    if data.unmounted:
        return (
            f"{data.unmounted} is not mounted on {seen.node}, and the data directory {data.path} is"
            " there or below it. Nothing was touched. Mount it ('systemctl start"
            f" {data.unmounted}' on {seen.node}) and run again. If nothing is to be mounted there"
            " any more, take it out of /etc/fstab, or remove its unit, and run 'systemctl"
            " daemon-reload' first"
        )
    gone = data.content in (Content.ABSENT, Content.EMPTY)
    if not gone or not seen.member or seen.cloning or data.unfinished_clone:
        return ""
    return (
        f"{seen.node} was a member, and its data directory {data.path} is {data.content.value}: its"
        " disk may not be mounted. Nothing was touched. Mount the disk and run again. If the data"
        f" of {seen.node} are lost for good, 'salt {seen.node} repmgr_node.data_lost' lets the next"
        " run build it anew"
    )


def _leave(spec, node, seen, run):
    """Stop what is the cluster's on this host; what else runs there is not ours."""
    notes = (f"{node.name} is marked 'ensure: absent'",)
    if not seen.member:
        return Plan(None, notes=notes)
    if seen.running and seen.server is None:
        return Plan(None, refusal=f"the server on this host cannot be asked: {seen.server_error}")
    refusal = leaving.own_objection(spec, node, seen, visible(seen), run.announced)
    if refusal:
        return Plan(None, refusal=refusal)
    return Plan(None, (Action(Step.LEAVE, "it was a member"),), notes=notes)


def namesakes(server: Server, node: NodeSpec):
    """Return the records of a node under other ids than pillar's."""
    return [r for r in server.nodes or () if r.node_name == node.name and r.node_id != node.id]


def renumbered_primary(server: Server, node: NodeSpec):
    """Return why the id of a primary cannot be another one now, or ''."""
    former = namesakes(server, node)
    if not former:
        return ""
    return (
        f"repmgr.nodes.{node.name}.id: {node.name} is the primary and registered with the id"
        f" {former[0].node_id}, pillar says {node.id}. A primary keeps its id. Nothing was touched."
        f" Write 'id: {former[0].node_id}', or move the primary first ('salt-run"
        " repmgr.switchover') and change the id then"
    )


def _primary_running(spec, node, seen):
    renumbered = renumbered_primary(seen.server, node)
    if renumbered:
        return Plan(None, refusal=renumbered)
    actions = registration(spec, node, seen.server, seen.server, Role.PRIMARY)
    notes = ()
    if spec.bootstrap_primary.name != node.name:
        notes = (
            f"{node.name} is the primary of the live cluster; pillar's role: primary on"
            f" {spec.bootstrap_primary.name} counted for the first build only",
        )
    return Plan(Role.PRIMARY, actions, primary=node.name, notes=notes)


def _without_primary(spec, node, seen, run):
    """No primary answers this node."""
    only = len(spec.data_nodes) == 1
    if run.primary == node.name or only:
        return _become_primary(spec, node, seen, run.new or only)
    if run.primary and run.assume:
        return _from_source(node, seen, _assume(spec, node, seen, run))
    others = ", ".join(f"{n}: {m.reach.value}" for n, m in seen.members.items())
    if seen.data.standby and not seen.running:
        start = Action(Step.START, "it is a standby and is down")
        return Plan(Role.STANDBY, (start,), notes=(f"no primary answers ({others})",))
    if seen.running and seen.server.in_recovery:
        note = f"no primary answers ({others}); 'salt-run repmgr.preflight' names the candidate"
        return Plan(Role.STANDBY, notes=(note,))
    if run.primary:
        return Plan(
            None,
            refusal=f"{node.name} was not changed: {run.primary} is to be the primary and does not"
            f" answer ({others}). Repair {run.primary} first; its own lines in this run have the"
            " reason",
        )
    holds = "no data" if seen.data.content is not Content.POSTGRES else "data"
    return Plan(
        None,
        refusal=f"no primary answers ({others}) and {node.name} holds {holds}. A single node does not"
        " start or create a primary: run 'salt-run state.orchestrate repmgr.cluster', which asks every"
        " node first",
    )


def _become_primary(spec, node, seen, new):
    """The orchestration chose this node, or there is no other."""
    register = Action(Step.REGISTER, "it is not registered as primary")
    start = Action(Step.START, "its server is down")
    data = seen.data
    if seen.running:
        if seen.server.in_recovery:
            return Plan(None, refusal=f"{node.name} is a standby and no primary answers; {PROMOTE}")
        actions = registration(spec, node, seen.server, seen.server, Role.PRIMARY)
        return Plan(Role.PRIMARY, actions or (register,), primary=node.name)
    if data.content in (Content.ABSENT, Content.EMPTY) and not data.unfinished_clone:
        if not new:
            return Plan(
                None,
                refusal=f"{data.path} on {node.name} is empty, but other nodes hold the cluster's"
                " data; nothing was changed. Find out why it is empty before you run this again",
            )
        create = Action(Step.CREATE, f"{data.path} is {data.content.value} and no cluster exists")
        return Plan(Role.PRIMARY, (create, start, register), primary=node.name)
    if data.content is Content.POSTGRES and not data.standby and not data.unfinished_clone:
        return Plan(Role.PRIMARY, (start, register), primary=node.name)
    return Plan(
        None,
        refusal=f"{node.name} cannot become the primary: {describe_data(seen)}; {PROMOTE}",
    )


PROMOTE = (
    "if this is the data to keep, promote the standby with the most WAL ('salt NODE"
    " repmgr.standby_promote'), then run the orchestration again"
)


def describe_data(seen: Observation):
    """Return in words what lies in the data directory."""
    data = seen.data
    if data.unfinished_clone and data.content not in (Content.ABSENT, Content.EMPTY):
        return f"{data.path} holds an unfinished clone"
    if data.content is not Content.POSTGRES:
        return f"{data.path} is {data.content.value}" + (
            " that PostgreSQL did not make" if data.content is Content.FILES else ""
        )
    if data.control is None:
        return f"{data.path} holds a PostgreSQL cluster that only its own version can read"
    kind = "a standby" if data.standby else "a primary"
    state = "running" if seen.running else data.control.state
    return (
        f"{data.path} holds {kind} ({state}) with system identifier"
        f" {data.control.system_identifier} on timeline {data.control.timeline}"
    )


def _join(spec, node, seen, primary, server):
    """A primary is there (``server``), or the orchestration will make one (None)."""
    data = seen.data
    if seen.running and seen.server.in_recovery and _same(seen, server):
        return _standby_running(spec, node, seen, primary, server)
    if seen.cloning:
        clone = Action(Step.CLONE, "a clone is under way; this run waits for it")
        return Plan(Role.STANDBY, (clone, _START_CLONE, _REGISTER_CLONE), primary=primary)
    if data.unfinished_clone:
        return _finish(spec, seen, primary)
    if not seen.running and data.content in (Content.ABSENT, Content.EMPTY):
        clone = Action(Step.CLONE, f"{data.path} is {data.content.value}")
        return Plan(Role.STANDBY, (clone, _START_CLONE, _REGISTER_CLONE), primary=primary)
    if data.content is Content.POSTGRES and _same(seen, server) and not seen.untouched:
        return _same_cluster(spec, node, seen, primary, server)
    if seen.untouched:
        return _replace(primary, f"{data.path} holds what initdb made and nothing else")
    return _foreign(spec, seen, primary, server)


def _from_source(node, seen, decided):
    """Say where a clone is taken from: pillar's ``upstream``, if that is a standby in service."""
    if decided.action(Step.CLONE) is None:
        return decided
    source, notes = decided.primary, decided.notes
    if node.upstream and node.upstream != decided.primary:
        member = seen.members.get(node.upstream)
        primary = seen.members.get(decided.primary)
        known = primary is not None and primary.server is not None
        if not known or upstreams.feeds(member and member.server, primary.server):
            source = node.upstream
        else:
            notes += (
                f"its upstream {node.upstream} is not a standby in service: {source} is used instead",
            )
    return dataclasses.replace(decided, source=source, notes=notes)


_REGISTER_REJOINED = Action(Step.REGISTER, "it was registered as the primary")
_START_CLONE = Action(Step.START, "it is a new clone")
_REGISTER_CLONE = Action(Step.REGISTER, "it is a new clone")


def _assume(spec, node, seen, run):
    """A dry run, and the chosen primary is down or not made yet: go by its data."""
    data = seen.data
    ours = data.control is not None and data.control.system_identifier == run.system_identifier
    if not ours or not data.standby:
        return _join(spec, node, seen, run.primary, None)
    if seen.running:
        return Plan(Role.STANDBY, primary=run.primary)
    start = Action(Step.START, "it is a standby of this cluster and is down")
    return Plan(Role.STANDBY, (start,), primary=run.primary)


def _same(seen, server):
    """Whether the local data is of the primary's cluster; unknown counts as no."""
    if server is None or seen.data.control is None:
        return False
    return seen.data.control.system_identifier == server.system_identifier


def _replace(primary, reason):
    actions = (
        Action(Step.MOVE_ASIDE, reason),
        Action(Step.CLONE, "its data directory is free now"),
        _START_CLONE,
        _REGISTER_CLONE,
    )
    return Plan(Role.STANDBY, actions, primary=primary)


def _finish(spec, seen, primary):
    """A clone of ours was cut off. Only what it left itself may be removed."""
    data = seen.data
    layout = Layout(seen.version, spec.postgres.cluster, data.path)
    mark = layout.clone_marker if data.removable else layout.former_clone_marker
    started = data.content is Content.POSTGRES and not data.backup_label
    if seen.running or started or data.standby and not data.backup_label:
        return Plan(
            None,
            refusal=f"{data.path} is marked as an unfinished clone, but PostgreSQL has run on it."
            f" Look at it, then remove the mark ({mark}) if the data is good,"
            " or move the directory away",
        )
    actions = [Action(Step.CLONE, "an earlier clone did not finish"), _START_CLONE, _REGISTER_CLONE]
    if data.content not in (Content.ABSENT, Content.EMPTY):
        # The postgres user can have made the mark of a former release: nothing is deleted for it.
        step = Step.DISCARD_PARTIAL if data.removable else Step.MOVE_ASIDE
        actions.insert(0, Action(step, f"{data.path} holds an unfinished clone"))
    return Plan(Role.STANDBY, tuple(actions), primary=primary)


def _same_cluster(spec, node, seen, primary, server):
    """Data of this very cluster, not running as its standby."""
    data = seen.data
    if seen.running:
        servers = {node.name: seen.server, primary: server}
        return Plan(None, refusal=two_primaries(servers, [node.name, primary]))
    if data.control.timeline > server.timeline:
        return Plan(
            None,
            refusal=f"{describe_data(seen)}, later than the primary {primary} on timeline"
            f" {server.timeline}: {node.name} may hold the data to keep. Nothing was changed; compare"
            f" both nodes first ('salt {node.name} repmgr_pg.control_data')",
        )
    if data.standby:
        actions = (Action(Step.START, "it is a standby of this cluster and is down"),)
        actions += registration(spec, node, None, server, Role.STANDBY)
        return Plan(Role.STANDBY, actions, primary=primary)
    return _former_primary(spec, node, seen, primary, server)


def _former_primary(spec, node, seen, primary, server):
    data = seen.data
    if spec.rejoin == "never":
        return Plan(
            None,
            refusal=f"{describe_data(seen)}: {node.name} was a primary of this cluster, and"
            f" {primary} is the primary now, on timeline {server.timeline}. It stays down, as pillar"
            f" says 'rejoin: never'. To make it a standby: 'salt {node.name} repmgr.node_rejoin"
            f" upstream={primary} force_rewind=True'",
        )
    if data.control.timeline < server.timeline:
        was = f"it was the primary on timeline {data.control.timeline} and is down"
        return Plan(Role.STANDBY, (Action(Step.REJOIN, was), _REGISTER_REJOINED), primary=primary)
    # Two histories on one timeline cannot be told apart by anything.
    return _replace(
        primary,
        f"{data.path} holds the data of a primary on timeline {data.control.timeline}, the same as"
        f" that of {primary}",
    )


def _foreign(spec, seen, primary, server):
    what = describe_data(seen)
    if server is not None:
        what += f"; the cluster's is {server.system_identifier}"
    if not spec.force:
        look = ""
        if not seen.running and seen.data.control is not None:
            look = (
                " or, if it is an unused cluster of the Debian package, start it, so that it can be"
            )
            look += " checked,"
        return Plan(
            None,
            refusal=f"refused to clone: {what}. Nothing was changed. Move that directory away,{look} or"
            " set 'force: true' in pillar: then the run moves it aside and clones in its place",
        )
    if seen.running and (seen.server.clients or seen.server.senders):
        return Plan(
            None,
            refusal=f"refused to clone even with 'force: true': {what}, and it serves"
            f" {seen.server.clients} client session(s) and {len(seen.server.senders)} standby(s)."
            " Stop it first",
        )
    return _replace(primary, f"{what}; 'force: true' lets it be moved aside")


def _standby_running(spec, node, seen, primary, server):
    notes = ()
    if seen.server.receiver != "streaming":
        notes = (
            f"{node.name} runs but does not stream (WAL receiver: {seen.server.receiver or 'none'})",
        )
    if seen.server.timeline > server.timeline:
        return Plan(
            None,
            refusal=f"{node.name} follows timeline {seen.server.timeline}, later than the primary"
            f" {primary} on {server.timeline}: two histories exist. Nothing was changed. Decide which"
            " has the data to keep; treat it as two primaries",
        )
    move = upstreams.move(spec, node, visible(seen), primary)
    upstream = upstreams.upstream_of(spec, seen.server)
    if seen.server.receiver is None and upstream is not None and upstream.name == primary:
        stuck = _stuck(seen.server, primary, server)
        if stuck is not None:
            return dataclasses.replace(stuck, notes=notes)
    notes += (move.note,) if move.note else ()
    follow = (Action(Step.FOLLOW, move.reason),) if move.reason else ()
    # What it is registered with is what it streams from, once it does.
    own = None if follow else seen.server
    actions = follow + registration(spec, node, own, server, Role.STANDBY)
    return Plan(Role.STANDBY, actions, primary=primary, notes=notes, source=move.target)


def _stuck(own, primary, server):
    """Return the plan for a standby that cannot stream again by itself, or None."""
    if own.timeline < server.timeline:
        why = (
            f"it does not stream and is on timeline {own.timeline}, {primary} on"
            f" {server.timeline}: it may have replayed WAL beyond the fork"
        )
        return Plan(Role.STANDBY, (Action(Step.REJOIN, why),), primary=primary)
    if own.has_archive or not (own.lsn and server.oldest_wal):
        return None
    if lsn.parse(own.lsn) < lsn.parse(server.oldest_wal):
        return _replace(
            primary,
            f"it fell behind: it needs WAL from {own.lsn} on, and the oldest WAL on {primary} is at"
            f" {server.oldest_wal}",
        )
    return None


def _witness(spec, node, seen, primary):
    data = seen.data
    if primary is None:
        if seen.running:
            return Plan(Role.WITNESS, notes=("no primary answers",))
        if data.content is Content.POSTGRES:
            return Plan(Role.WITNESS, (Action(Step.START, "its server is down"),))
        return Plan(
            None,
            refusal="no primary answers; run 'salt-run state.orchestrate repmgr.cluster' first",
        )
    server = seen.members[primary].server if primary in seen.members else None
    if data.content in (Content.ABSENT, Content.EMPTY):
        create = Action(Step.CREATE, f"{data.path} is {data.content.value}")
        start = Action(Step.START, "it is new")
        return Plan(
            Role.WITNESS, (create, start, Action(Step.REGISTER, "it is new")), primary=primary
        )
    if data.content is not Content.POSTGRES or data.standby or _same(seen, server):
        return Plan(
            None,
            refusal=f"{describe_data(seen)}: a witness needs a server of its own, outside the"
            " replication. Nothing was changed. Move the directory away",
        )
    actions = () if seen.running else (Action(Step.START, "its server is down"),)
    if server is not None and seen.server is not None:
        upstream = spec.nodes[primary]
        differs = _record_differs(
            spec, node, server, Role.WITNESS, upstream
        ) or _witness_copy_differs(seen.server, server, upstream)
    else:
        differs = "its registration cannot be seen yet"
    if differs:
        actions += (Action(Step.REGISTER, differs),)
    return Plan(Role.WITNESS, actions, primary=primary)


def _witness_copy_differs(own, server, primary):
    """What repmgrd goes by where it finds no primary, and a start check of another node."""
    ids = [r.node_id for r in own.nodes or ()]
    wanted = [r.node_id for r in server.nodes or ()]
    if ids != wanted:
        return f"its copy of the metadata has nodes {ids}, the primary has {wanted}"
    called = [r.node_id for r in own.nodes or () if r.type == "primary" and r.active]
    return "" if called == [primary.id] else f"its copy of the metadata calls {called} the primary"


def registration(spec, node, own, primary, role):
    """Return the registration action where the primary's metadata differ, else nothing.

    own, primary
        The :class:`~saltext_repmgr.utils.facts.Server` of the node (None: it is down) and that
        of the primary.
    """
    upstream = None
    if role is Role.STANDBY and own is not None:
        upstream = upstreams.upstream_of(spec, own)
    differs = _record_differs(spec, node, primary, role, upstream)
    return (Action(Step.REGISTER, differs),) if differs else ()


def _record_differs(spec, node, primary, role, upstream):
    """Return in words how the primary's metadata differ from pillar and reality, or ''."""
    record, former = primary.record(node.id), namesakes(primary, node)
    if former:
        ids = " and ".join(str(r.node_id) for r in former)
        return f"{node.name} is registered with the id {ids}, not {node.id}"
    if record is None:
        return f"node {node.id} is not in the metadata"
    if record.drained is not None:
        return "repmgr's history says that it is drained"
    wanted = {
        "node_name": node.name,
        "type": role.value,
        "location": node.location,
        "priority": 0 if role is Role.WITNESS else node.priority,
        "active": True,
        "conninfo": repmgr_conf.conninfo(spec, node, Layout),
    }
    if upstream is not None:
        wanted["upstream_node_id"] = upstream.id
    found = {key: getattr(record, key) for key in wanted}
    return ", ".join(
        f"{key} is {found[key]!r}, not {value!r}"
        for key, value in wanted.items()
        if found[key] != value
    )
