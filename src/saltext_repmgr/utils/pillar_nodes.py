"""Read ``repmgr:nodes``: each node by itself, then the nodes together."""

import ipaddress
import re
from collections.abc import Mapping

from saltext_repmgr.utils import checks
from saltext_repmgr.utils.checks import MISSING
from saltext_repmgr.utils.spec import NodeSpec
from saltext_repmgr.utils.spec import Role

KEYS = ("id", "host", "address", "role", "priority", "location", "upstream", "ensure")
_SYNONYMS = {
    "node_id": "id",
    "ip": "host",
    "hostname": "host",
    "fqdn": "host",
    "name": "host",
    "type": "role",
    "state": "ensure",
    "follow": "upstream",
    "zone": "location",
    "datacenter": "location",
    "weight": "priority",
}
_ROLES = tuple(role.value for role in Role)
ROLE_SYNONYMS = {
    "master": "primary",
    "leader": "primary",
    "slave": "standby",
    "replica": "standby",
    "secondary": "standby",
    "follower": "standby",
    "arbiter": "witness",
}
_ENSURE_SYNONYMS = {"removed": "absent", "gone": "absent", "installed": "present"}
# repmgr keeps node_id in a signed 32 bit integer and node_name in 63 bytes.
MAX_ID = 2**31 - 1
MAX_NAME = 63
MAX_PRIORITY = 100000
_LOCATION = re.compile(r"[A-Za-z0-9_.:/-]{1,63}")


def read(problems, key, value, subnets, manage_hosts):
    """The nodes by minion id in the pillar's order.

    subnets
        The networks that may connect, to notice a node outside of them.
    manage_hosts
        Whether every host name needs an address beside it.

    An attribute with a mistake is ``None`` in the result.
    """
    if value is MISSING or value is None or value in ({}, [], ""):
        problems.add(key, "is missing; write a mapping of minion id to node, see pillar.example")
        return {}
    if not isinstance(value, Mapping):
        problems.add(
            key,
            f"is {checks.kind(value)}; write a mapping of minion id to node,"
            " for example 'node1: {id: 1, role: primary}'",
        )
        return {}
    nodes = {}
    for name, entry in value.items():
        node = _node(problems, f"{key}.{name}", name, entry, manage_hosts)
        if node is not None:
            nodes[name] = node
    _unique(problems, key, nodes, "id", lambda n: n.id)
    _unique(problems, key, nodes, "host", lambda n: n.host and n.host.lower())
    _unique(problems, key, nodes, "address", lambda n: n.address)
    _inside(problems, key, nodes, subnets)
    _upstreams(problems, key, nodes, value)
    _roles(problems, key, nodes, complete=len(nodes) == len(value))
    return nodes


def _node(problems, key, name, entry, manage_hosts):
    usable_name = _minion_id(problems, key, name)
    if not isinstance(entry, Mapping):
        problems.add(key, f"is {checks.kind(entry)}; write a mapping, for example '{{id: 1}}'")
        return None
    if not isinstance(name, str):
        return None
    checks.unknown_keys(problems, key, entry, KEYS, _SYNONYMS)
    role = checks.choice(
        problems, f"{key}.role", entry.get("role", "standby"), _ROLES, ROLE_SYNONYMS
    )
    ensure = checks.choice(
        problems,
        f"{key}.ensure",
        entry.get("ensure", "present"),
        ("present", "absent"),
        _ENSURE_SYNONYMS,
    )
    role = Role(role) if role else None
    absent = ensure == "absent"
    host, address = _where(problems, key, name, entry, usable_name)
    if manage_hosts and not absent and host and address is None and "address" not in entry:
        if checks.ip_address(host) is None:
            problems.add(
                f"{key}.address",
                f"is missing; manage_hosts needs the IP address of host {host!r}",
            )
    return NodeSpec(
        name=name,
        id=_id(problems, f"{key}.id", entry.get("id", MISSING)),
        host=host,
        role=role,
        priority=_priority(problems, f"{key}.priority", entry.get("priority", MISSING), role),
        location=_location(problems, f"{key}.location", entry.get("location", "default")),
        upstream=entry.get("upstream"),
        address=address,
        absent=absent,
    )


def _minion_id(problems, key, name):
    """Whether the minion id can be repmgr's node_name as it is."""
    if checks.name(problems, key, name, "a minion id that repmgr takes as node name") is None:
        return False
    if len(name) > MAX_NAME:
        problems.add(
            key,
            f"the minion id has {len(name)} characters; repmgr takes {MAX_NAME} at most,"
            " give the minion a shorter id",
        )
        return False
    return True


def _id(problems, key, value):
    if value is MISSING:
        problems.add(key, "is missing; write a whole number that no other node has")
        return None
    return checks.integer(problems, key, value, 1, MAX_ID)


def _where(problems, key, name, entry, usable_name):
    host = address = None
    if "host" in entry:
        host = checks.host(problems, f"{key}.host", entry["host"])
    elif usable_name:
        host = checks.host(problems, f"{key}.host", name)
    if "address" in entry:
        address = checks.peer_address(problems, f"{key}.address", entry["address"])
    if host and address and checks.ip_address(host) and host != address:
        problems.add(
            f"{key}.address", f"is {address} but host is {host}; remove address or correct one"
        )
    return host, address


def _priority(problems, key, value, role):
    if role is Role.WITNESS:
        if value is not MISSING and (value != 0 or not checks.is_int(value)):
            problems.add(
                key, f"is {checks.show(value)}; a witness is never promoted, remove priority"
            )
        return 0
    if value is MISSING:
        return 100
    return checks.integer(problems, key, value, 0, MAX_PRIORITY)


def _location(problems, key, value):
    return checks.name(
        problems,
        key,
        value,
        "a location",
        _LOCATION,
        "at most 63 letters, digits, '_', '.', ':', '/' and '-'",
    )


def _unique(problems, key, nodes, attribute, value_of):
    owners = {}
    for node in nodes.values():
        value = value_of(node)
        if value is None:
            continue
        if value in owners:
            problems.add(
                f"{key}.{node.name}.{attribute}",
                f"is {value}, which is also the {attribute} of {owners[value]};"
                f" {owners[value]} and {node.name} each need their own",
            )
        else:
            owners[value] = node.name


def _inside(problems, key, nodes, subnets):
    for node in nodes.values():
        attribute = "address" if node.address else "host"
        found = checks.ip_address(getattr(node, attribute) or "")
        if found is None or node.absent or not subnets:
            continue
        if not any(found in network for network in subnets):
            single = ipaddress.ip_network(found)
            problems.add(
                f"{key}.{node.name}.{attribute}",
                f"{found} is in none of the networks in repmgr.subnet"
                f" ({', '.join(map(str, subnets))}), so the others would refuse it;"
                f" correct it or add {single} to repmgr.subnet",
            )


def synchronous(problems, key, value, nodes):
    """How many standbys, or which of them, confirm a commit: a number or a tuple of names."""
    data = [n.name for n in nodes.values() if not n.absent and n.role is not Role.WITNESS]
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return checks.integer(problems, key, value, 0, max(len(data) - 1, 0)) or 0
    for name in value:
        if name not in data:
            meant = checks.likely(name, data)
            hint = f"did you mean {meant!r}?" if meant else f"write one of {', '.join(data)}"
            problems.add(
                key, f"{checks.show(name)} is no node of repmgr.nodes that carries data; {hint}"
            )
    return tuple(value)


def _upstreams(problems, key, nodes, entries):
    chained = {}
    for node in nodes.values():
        if node.upstream is None:
            continue
        mistake = _upstream_mistake(node, nodes, entries)
        if mistake:
            problems.add(f"{key}.{node.name}.upstream", mistake)
        else:
            chained[node.name] = node.upstream
    reported = set()
    for start in chained:
        path = [start]
        while path[-1] in chained and chained[path[-1]] not in path:
            path.append(chained[path[-1]])
        if path[-1] in chained and chained[path[-1]] == start and start not in reported:
            reported.update(path)
            problems.add(
                f"{key}.{start}.upstream",
                f"makes a circle: {' -> '.join([*path, start])}; remove upstream from one of them",
            )


def _upstream_mistake(node, nodes, entries):
    if node.role in (Role.PRIMARY, Role.WITNESS):
        return f"is given for a {node.role.value}; only a standby has one, remove it"
    if not isinstance(node.upstream, str) or node.upstream not in entries:
        meant = checks.likely(node.upstream, [n for n in entries if n != node.name])
        hint = f"did you mean {meant!r}?" if meant else "write a minion id from repmgr.nodes"
        return f"is {checks.show(node.upstream)}, which is not in repmgr.nodes; {hint}"
    if node.upstream == node.name:
        return "is the node itself; write another node or remove it"
    target = nodes.get(node.upstream)
    if target is None:
        return None
    if target.is_witness:
        return f"is {target.name}, a witness, which has no data to replicate; write a standby"
    if target.absent and not node.absent:
        return f"is {target.name}, which has ensure: absent; write a node that stays"
    return None


def _roles(problems, key, nodes, complete):
    """Check the roles together; what is missing only where every entry could be read."""
    present = [n for n in nodes.values() if not n.absent]
    complete = complete and all(n.role for n in nodes.values())
    for role in (Role.PRIMARY, Role.WITNESS):
        first, *more = [n for n in present if n.role is role] or [None]
        for node in more:
            problems.add(
                f"{key}.{node.name}.role",
                f"is {role.value}, as is that of {first.name}; a cluster has one {role.value},"
                + (" make it a standby" if role is Role.PRIMARY else " remove one of them"),
            )
        if first or role is Role.WITNESS or not complete:
            continue
        _no_primary(problems, key, nodes, present)


def _no_primary(problems, key, nodes, present):
    if not present:
        problems.add(key, "all have ensure: absent; a cluster needs at least its primary")
        return
    candidates = ", ".join(n.name for n in present if not n.is_witness) or "a further node"
    why = "which counts for the first run only"
    for node in nodes.values():
        if node.role is Role.PRIMARY:
            problems.add(
                f"{key}.{node.name}.ensure",
                f"is absent on the only node with role: primary; give that role, {why}, to one"
                f" of: {candidates}",
            )
            return
    problems.add(key, f"no node has role: primary; give it, {why}, to one of: {candidates}")
