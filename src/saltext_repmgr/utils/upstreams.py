"""Which node a running standby streams from, and which it should stream from. Pure."""

from dataclasses import dataclass

from saltext_repmgr.utils import drained
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.spec import Layout


@dataclass(frozen=True)
class Move:
    """What has to happen to the upstream of a running standby.

    target
        Name of the node to stream from.
    reason
        Why, in words; empty where it streams from that node already.
    note
        Something to tell a person, or an empty string.
    """

    target: str | None
    reason: str = ""
    note: str = ""


def upstream_of(spec, server):
    """Return the member that a standby streams from, or is configured to, or None where
    that is no member."""
    node = any_upstream_of(spec, server)
    return node if node in spec.data_nodes else None


def any_upstream_of(spec, server):
    """Return the same, nodes that are marked absent included."""
    for node in spec.nodes.values():
        if server.upstream_host in (node.host, node.address) and server.upstream_host:
            return node
    return None


def not_watched(spec, node, server, primary):
    """Return the name of the node whose loss repmgrd of ``node`` would not notice, as it watches
    another one; None where all is well, or nothing is known.

    server
        The :class:`~saltext_repmgr.utils.facts.Server` of the node, or None.
    primary
        Name of the primary, or None; a witness has no other upstream.
    """
    if primary in (None, node.name) or server is None or server.watched is None:
        return None
    record = server.record(node.id)
    if not node.is_witness and record is not None and record.upstream_node_id == server.watched:
        # It goes by its own copy of the records, which it may replay with a delay.
        return None
    upstream = spec.nodes.get(primary) if node.is_witness else upstream_of(spec, server)
    return upstream.name if upstream is not None and upstream.id != server.watched else None


def fed_by(spec, servers, name):
    """Return the names of the standbys that stream from a node."""
    return tuple(
        n.name
        for n in spec.data_nodes
        if n.name in servers
        and servers[n.name].in_recovery
        and (upstream_of(spec, servers[n.name]) or n).name == name != n.name
    )


def slot_of(spec, node):
    """Return the name of the slot that a standby uses on its upstream; empty where pillar wants
    none."""
    return node.slot if effective(spec.settings)["use_replication_slots"] else ""


def feeds(server, primary):
    """Whether a server can feed a standby: it streams the primary's data itself."""
    return (
        server is not None
        and server.receiver == "streaming"
        and server.system_identifier == primary.system_identifier
    )


def move(spec, node, servers, primary):
    """Return the :class:`Move` of a standby that runs.

    servers
        Node name to the server that answered, its own included.
    primary
        Name of the live primary, which is in ``servers``.

    Pillar's ``upstream`` counts where it is in service. Without one a standby is left where
    it is as long as that is a member in service: a cascade made by hand is not undone. One
    that was drained goes to the primary, which may be another one by now.
    """
    own = servers[node.name]
    current = upstream_of(spec, own)
    wanted, note = node.upstream, ""
    if wanted and not _in_service(spec, servers, wanted, primary, node.name):
        note = f"its upstream {wanted} is not a standby in service"
        wanted = None
    if wanted is None:
        stays = (
            current is not None
            and not drained.is_recorded(servers[primary], current)
            and not drained.is_recorded(servers[primary], node)
            and (
                own.receiver == "streaming"
                or _in_service(spec, servers, current.name, primary, node.name)
            )
        )
        wanted = current.name if stays else primary
        note = note and f"{note}: {wanted} is used instead"
    reasons = []
    if current is None:
        there = f"{wanted} ({spec.nodes[wanted].host})"
        reasons.append(
            f"it streams from {own.upstream_host or 'no node'} and has to stream from {there}"
        )
    elif current.name != wanted:
        reasons.append(f"it streams from {current.name} and has to stream from {wanted}")
    reasons += _strange(spec, node, own)
    if reasons:
        return Move(wanted, ", ".join(reasons), note)
    missing = _missing_slot(spec, node, own, servers.get(wanted))
    return Move(wanted, missing and f"{missing} on {wanted}", note)


def _strange(spec, node, own):
    """Return what a standby that was set up by other hands has to change.

    Everybody knows it by its name and its slot: repmgr, ``synchronous_standby_names``, and whoever
    asks how far it is. And with another password file it could not come back.
    """
    if own.sends_as is None:
        return []
    wrong = []
    if own.sends_as != node.name:
        wrong.append(f"it streams as application_name {own.sends_as!r}, not as {node.name}")
    if own.passfile != Layout.passfile:
        wrong.append(f"its primary_conninfo does not name {Layout.passfile}")
    slot = slot_of(spec, node)
    if own.slot_used is not None and own.slot_used != slot:
        wanted = f"not {slot}" if slot else "and pillar wants none"
        wrong.append(f"it uses {own.slot_used or 'no slot'}, {wanted}")
    return wrong


def _in_service(spec, servers, name, primary, without):
    """Whether a node gets the primary's data, and not by way of ``without``."""
    passed = {without}
    while name != primary:
        server = servers.get(name)
        if name in passed or not feeds(server, servers[primary]):
            return False
        if drained.is_recorded(servers[primary], spec.nodes[name]):
            return False
        passed.add(name)
        upstream = upstream_of(spec, server)
        if upstream is None:
            return False
        name = upstream.name
    return True


def _missing_slot(spec, node, own, upstream):
    if own.receiver == "streaming" or upstream is None:
        return ""
    slot = slot_of(spec, node)
    return "" if not slot or upstream.slot(slot) else f"its slot {slot} is missing"
