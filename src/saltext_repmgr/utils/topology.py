"""The cluster as a tree of nodes, put together from what all of them said. Pure."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import Enum

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import rotation
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import survey
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import NodeRecord
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Passwords
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Router
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.spec import ClusterSpec


class State(str, Enum):
    """What a node's PostgreSQL does, as far as anybody could say."""

    RUNNING = "running"
    STUCK = "stuck"  # it runs, and its own minion gets no answer from it
    DOWN = "down"
    REJECTING = "rejecting"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"  # nobody could look


_STATES = {
    Reach.ANSWERED: State.RUNNING,
    Reach.REJECTED: State.REJECTING,
    Reach.REFUSED: State.DOWN,
    Reach.UNREACHABLE: State.UNREACHABLE,
}


@dataclass(frozen=True)
class NodeStatus:
    """A node; what nobody knows is None.

    id, registered, active, registered_upstream
        As the metadata have it; ``registered`` is the type there.
    depth
        In the tree: 0 for a primary, and for what hangs below nobody.
    role
        What it is in the live cluster: ``primary``, ``standby`` or ``witness``.
    upstream
        Name of the node it streams from.
    minion
        Whether its minion answered. Without, the rest is what other members see.
    lag_bytes, lag_seconds
        What the primary has written and this standby has not replayed.
    repmgrd
        ``running``, ``paused`` or ``down``, as its server says.
    sender
        Its row on its upstream.
    drained
        Since when, by whom and why it is out of service on purpose.
    """

    name: str
    id: int | None
    depth: int
    in_pillar: bool
    registered: str | None
    active: bool | None
    registered_upstream: str | None
    minion: bool
    state: State
    role: str | None = None
    upstream: str | None = None
    timeline: int | None = None
    lsn: str | None = None
    started: str | None = None
    clients: int | None = None
    system_identifier: str | None = None
    receiver: str | None = None
    replay_lsn: str | None = None
    replay_paused: bool | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    sync_state: str | None = None
    repmgrd: str | None = None
    sender: Sender | None = None
    slots: tuple[Slot, ...] = ()
    drained: Drained | None = None


@dataclass(frozen=True)
class View:
    """What was said, and what follows from it for all of the cluster.

    said
        Observations by node; ``missing`` has the other nodes and why.
    mistakes
        What minions say is wrong with their pillar, and what contradicts what in it.
    servers
        All servers that answered somebody, by node.
    live
        Names of the nodes that act as primary.
    records
        The metadata that count, by node name: those of the primary, or of the server on the
        latest timeline.
    routers
        The PgBouncers by host; ``lost`` has hosts of their own that said nothing, and why.
    drained
        The nodes that are out of service on purpose.
    passwords
        How far pillar's are in force, by host.
    """

    spec: ClusterSpec
    said: Mapping[str, Observation]
    missing: Mapping[str, str]
    mistakes: tuple[str, ...]
    servers: Mapping[str, Server]
    live: tuple[str, ...]
    records: Mapping[str, NodeRecord] = field(default_factory=dict)
    routers: Mapping[str, Router] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    drained: Mapping[str, Drained] = field(default_factory=dict)
    passwords: Mapping[str, Passwords] = field(default_factory=dict)

    @property
    def primary(self):
        """Name of the one primary, or None."""
        return self.live[0] if len(self.live) == 1 else None

    def named(self, node_id):
        """Return the name under which an id is registered, or None."""
        return next((r.node_name for r in self.records.values() if r.node_id == node_id), None)

    def upstream(self, name):
        """Return the name of the node that a standby streams from, or None."""
        server = self.servers.get(name)
        node = upstreams.upstream_of(self.spec, server) if server and server.in_recovery else None
        return node.name if node else None

    def belongs_below(self, name):
        """Return the name of the node that one streams from, or else is registered below."""
        if name in self.live:
            return None
        record = self.records.get(name)
        return self.upstream(name) or (self.named(record.upstream_node_id) if record else None)

    def seen_from(self, name):
        """Return ``{observer: Member}``: how the other members reach a node."""
        return {o: s.members[name] for o, s in self.said.items() if name in s.members}

    def state(self, name):
        """Return the :class:`State` of a node's PostgreSQL."""
        if name in self.servers:
            return State.RUNNING
        if name in self.said:
            return State.STUCK if self.said[name].running else State.DOWN
        states = [_STATES[m.reach] for m in self.seen_from(name).values()]
        # Who got the furthest knows most.
        return next((s for s in State if s in states), State.UNKNOWN)


def view(spec: ClusterSpec, replies: Mapping[str, object]) -> View:
    """Return the :class:`View` of what the minions returned for ``repmgr_node.report``."""
    said, reports, mistakes, missing = survey.read_reports(spec, replies)
    servers = plan.reached(said)
    live = plan.primaries(spec, servers)
    routers, lost = routing.read(spec, replies)
    return View(
        spec=spec,
        said=said,
        missing=missing,
        mistakes=(*mistakes, *survey.disagreements(spec, reports)),
        servers=servers,
        live=tuple(live),
        records={r.node_name: r for r in _metadata(servers, live)},
        routers=routers,
        passwords=rotation.read(replies),
        lost=lost,
        drained=drained.away(spec, said, servers),
    )


def _metadata(servers, live):
    holders = [s for n, s in servers.items() if s.nodes is not None and (n in live or not live)]
    # A witness has a copy, and a timeline of its own that says nothing.
    replicas = [s for s in holders if s.in_recovery] if not live else holders
    newest = max(replicas or holders, key=lambda s: s.timeline, default=None)
    return newest.nodes if newest else ()


def tree(seen: View):
    """Return a :class:`NodeStatus` for each node of the pillar and of the metadata, upstreams
    before what streams from them."""
    ids = {r.node_name: r.node_id for r in seen.records.values()}
    ids |= {n.name: n.id for n in seen.spec.members}
    parents = {name: _parent(seen, name) for name in ids}
    order = sorted(ids, key=lambda n: (n not in seen.live, ids[n]))
    found = {}

    def hang(name, depth):
        if name in found:
            return
        found[name] = _node(seen, name, ids[name], depth)
        for child in order:
            if parents[child] == name:
                hang(child, depth + 1)

    for name in order:
        if parents[name] not in ids:
            hang(name, 0)
    # Whoever streams in a circle is in none of the trees.
    for name in order:
        hang(name, 0)
    return tuple(found.values())


def _parent(seen, name):
    return None if name in seen.live else seen.belongs_below(name) or seen.primary


def _node(seen, name, node_id, depth):
    record, server = seen.records.get(name), seen.servers.get(name)
    known = NodeStatus(
        name=name,
        id=node_id,
        depth=depth,
        in_pillar=name in {n.name for n in seen.spec.members},
        registered=record.type if record else None,
        active=record.active if record else None,
        registered_upstream=seen.named(record.upstream_node_id) if record else None,
        minion=name in seen.said,
        state=seen.state(name),
        repmgrd=_repmgrd(seen, name),
        drained=seen.drained.get(name),
    )
    if server is None:
        return known
    sender = _sender(seen, name)
    lag_bytes, lag_seconds = _lag(seen, server, sender)
    return dataclasses.replace(
        known,
        role=_role(seen, name, server),
        upstream=seen.upstream(name),
        lag_bytes=lag_bytes,
        lag_seconds=lag_seconds,
        sync_state=sender.sync_state if sender else None,
        sender=sender,
        **{key: getattr(server, key) for key in _OF_SERVER},
    )


_OF_SERVER = (
    *("timeline", "lsn", "started", "clients", "system_identifier", "receiver"),
    *("replay_lsn", "replay_paused", "slots"),
)


def _role(seen, name, server):
    if name in seen.spec.nodes and seen.spec.nodes[name].is_witness:
        return "witness"
    if server.in_recovery:
        return "standby"
    return "primary" if name in seen.live else None


def _repmgrd(seen, name):
    if name in seen.said:
        daemon = seen.said[name].repmgrd
        running, paused = daemon.attached, daemon.paused
    elif name in seen.servers:
        server = seen.servers[name]
        running, paused = server.repmgrd_pid is not None, server.repmgrd_paused
    else:
        return None
    if running is None:
        return None
    return "down" if not running else "paused" if paused else "running"


def _sender(seen, name):
    upstream = seen.servers.get(seen.upstream(name))
    rows = upstream.senders if upstream else ()
    return next((s for s in rows if s.application_name == name), None)


def _lag(seen, server, sender):
    """Bytes and seconds between what the primary wrote and what a standby replayed."""
    primary = seen.servers.get(seen.primary)
    if not server.in_recovery or primary is None:
        return None, None
    direct = sender in primary.senders
    replayed = sender.replay_lsn if direct else server.replay_lsn
    if replayed is None or server.system_identifier != primary.system_identifier:
        return None, None
    # The two were not asked in the same moment.
    behind = max(0, lsn.diff(primary.lsn, replayed))
    if not behind:
        return 0, 0.0
    measured = sender.replay_lag if direct else None
    return behind, server.replay_age if measured is None else measured
