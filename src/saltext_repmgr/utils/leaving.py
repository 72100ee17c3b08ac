"""Nodes that leave the cluster (``ensure: absent``): who still does, and whether they may. Pure."""

from collections.abc import Mapping

from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import NodeSpec


def primaries(spec: ClusterSpec, servers: Mapping[str, Server]):
    """Return the names of all nodes, absent ones included, that act as a primary."""
    return [
        name
        for name, server in servers.items()
        if not spec.nodes[name].is_witness
        and not server.in_recovery
        and any(r.type == "primary" for r in server.nodes or ())
    ]


def leavers(spec: ClusterSpec, servers: Mapping[str, Server]):
    """Return the nodes marked absent that the cluster still knows: they have a record in some
    member's metadata, or a slot on it."""
    return tuple(
        node
        for node in spec.absent_nodes
        if any(s.record(node.id) or s.slot(node.slot) for s in servers.values())
    )


def electors(nodes):
    """Return the records of those who elect a primary: itself, and the active nodes below it.

    nodes
        Rows of the primary's ``repmgr.nodes``.
    """
    top = next((r for r in nodes if r.type == "primary" and r.active), None)
    if top is None:
        return ()
    return (top, *(r for r in nodes if r.active and r.upstream_node_id == top.node_id))


def objection(spec: ClusterSpec, servers: Mapping[str, Server], leaving, up):
    """Return why nodes must not leave now, with the command that makes it possible, or ''.

    servers
        Node name to the server that answered, those of the leaving nodes included.
    leaving
        Names of the nodes that would leave.
    up
        Names of the nodes that are in service.
    """
    live = primaries(spec, servers)
    if len(live) > 1 and set(live) & set(leaving):
        return (
            f"{' and '.join(live)} act as primary at the same time: nothing was changed. Decide which"
            " node has the data to keep, and stop PostgreSQL on the other by hand ('systemctl stop"
            " postgresql@...' on it)"
        )
    if live:
        if live[0] in leaving:
            return _primary_leaves(spec, live[0], servers[live[0]], servers)
        return _majority(spec, servers[live[0]], leaving, up)
    for name in leaving:
        # Its own server cannot be asked from here, but a member streams from it.
        fed = _fed_by(spec, spec.nodes[name], servers)
        record = fed.record(spec.nodes[name].id) if fed else None
        if record is not None and record.type == "primary" and record.active:
            return _primary_leaves(spec, name, fed, servers)
    return ""


def _fed_by(spec, node, servers):
    """Return the server of a member that streams from a node, or None."""
    for member in spec.data_nodes:
        server = servers.get(member.name)
        if server is not None and server.receiver == "streaming":
            if server.upstream_host in (node.host, node.address):
                return server
    return None


def _primary_leaves(spec, name, known, servers):
    """The refusal for a primary; ``known`` is a server that has the metadata."""
    standbys = [n.name for n in spec.data_nodes if n.name in servers and known.record(n.id)]
    if not standbys:
        return (
            f"{name} is marked 'ensure: absent' and is the primary, and no standby could take over."
            " Add a standby first"
        )
    return (
        f"{name} is marked 'ensure: absent' and is the primary. Remove the mark, run 'salt-run"
        f" repmgr.switchover {standbys[0]}' to make a standby the primary, then mark {name} again"
    )


def _majority(spec, primary, leaving, up):
    gone = {spec.nodes[name].id for name in leaving}
    rest = [r for r in electors(primary.nodes or ()) if r.node_id not in gone]
    here = [r for r in rest if r.node_name in up]
    if len(here) >= len(rest) // 2 + 1 or not set(leaving) & set(up):
        return ""
    down = [r.node_name for r in rest if r not in here]
    return (
        f"without {' and '.join(leaving)}, {len(here)} of {len(rest)} electors would be up, which is"
        f" no majority. Bring back {' or '.join(down)} first ('salt {down[0]} state.apply repmgr'), or"
        " mark each node that is gone for good 'ensure: absent' as well"
    )


def own_objection(spec: ClusterSpec, node: NodeSpec, seen: Observation, servers, moved=False):
    """Return why this node, marked absent, must not be stopped now, or ''.

    moved
        Whether the members that stream from it would have been moved by now.

    Alone it cannot ask a witness; the metadata's word for it is taken.
    """
    witnesses = [n.name for n in spec.members if n.is_witness]
    refusal = objection(spec, servers, [node.name], [*servers, *witnesses])
    members = {n.name for n in spec.data_nodes}
    senders = seen.server.senders if seen.server is not None else ()
    below = [s.application_name for s in senders if s.application_name in members]
    if refusal:
        return refusal
    if below and not moved:
        return (
            f"{' and '.join(below)} would lose the upstream {node.name}. Move each of these standbys"
            f" to another upstream first: 'salt {below[0]} state.apply repmgr'"
        )
    if seen.server is not None and not seen.server.in_recovery and not node.is_witness:
        return (
            f"PostgreSQL on {node.name} accepts writes and has no repmgr metadata: it may be in use."
            f" If it may be stopped, run 'salt {node.name} service.stop"
            f" postgresql@{seen.version}-{spec.postgres.cluster}' first"
        )
    return ""
