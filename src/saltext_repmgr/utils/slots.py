"""Replication slots that nobody streams from: whose they are, and whether they may go. Pure.

A slot that stays behind keeps WAL until the disk is full; one that is dropped too early
costs its standby a new clone. So what is not proven is only told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.spec import ClusterSpec

_OURS = re.compile(r"repmgr_slot_(\d+)")


@dataclass(frozen=True)
class Stray:
    """An inactive slot that does not belong where it is.

    holder
        Name of the node whose server has it.
    why
        What is known of its owner, in words.
    unused
        Whether it is proven that nobody will come back for it.
    """

    holder: str
    slot: Slot
    why: str
    unused: bool = False

    @property
    def line(self):
        """One line for people, with the next step."""
        kept = (
            f" and keeps {self.slot.retained_bytes} bytes of WAL"
            if self.slot.retained_bytes
            else ""
        )
        ending = f"'salt {self.holder} repmgr_pg.slot_drop {self.slot.slot_name}'"
        ending = (
            f"the next run drops it, or drop it now: {ending}"
            if self.unused
            else f"if it is not needed: {ending}"
        )
        return f"{self.holder}: slot {self.slot.slot_name} is inactive{kept}: {self.why}; {ending}"


def strays(spec: ClusterSpec, servers: Mapping[str, Server], primary):
    """Return a :class:`Stray` for each inactive physical slot that is out of place.

    servers
        Node name to the server that answered.
    primary
        Name of the live primary; without one nothing can be told of any slot.
    """
    if primary not in servers:
        return []
    found = []
    for node in spec.data_nodes:
        for slot in servers[node.name].slots if node.name in servers else ():
            placed = slot.active or slot.slot_type != "physical"
            why = None if placed else _judge(spec, servers, primary, node, slot)
            if why:
                found.append(Stray(node.name, slot, *why))
    return found


def owner_of(spec: ClusterSpec, slot: Slot):
    """Return the member that a slot is meant for by its name, or None."""
    ours = _OURS.fullmatch(slot.slot_name)
    return next((n for n in spec.members if ours and n.id == int(ours[1])), None)


def _judge(spec, servers, primary, holder, slot):
    """Return ``(why, unused)``, or None for a slot that is in its place."""
    ours = _OURS.fullmatch(slot.slot_name)
    if ours is None:
        return "it does not belong to this cluster", False
    node_id = int(ours[1])
    owner = owner_of(spec, slot)
    if owner is None:
        gone = next((n for n in spec.absent_nodes if n.id == node_id), None)
        if servers[primary].record(node_id) is None:
            if gone is not None:
                return f"{gone.name} has left", True
            # The name proves nothing: somebody may use the slot now and then.
            return f"pillar has no node with the id {node_id}", False
        if gone is not None:
            # It is about to leave; its slot goes when its record is gone.
            return None
        return (
            f"node {node_id} is registered, but not in pillar: add it to pillar; with 'ensure: absent'"
            " it leaves the cluster",
            False,
        )
    if owner.is_witness or owner.name == holder.name:
        return f"{owner.name} does not stream from this node", True
    if owner.name == primary:
        return f"{owner.name} is the primary", True
    return _elsewhere(spec, servers, holder, owner, slot)


def _elsewhere(spec, servers, holder, owner, slot):
    """Whether the owner streams from another node, by its slot there."""
    server = servers.get(owner.name)
    upstream = upstreams.upstream_of(spec, server) if server is not None else None
    if upstream is None or upstream.name == holder.name or server.receiver != "streaming":
        return None
    there = servers.get(upstream.name)
    used = there.slot(slot.slot_name) if there is not None else None
    return f"{owner.name} streams from {upstream.name}", used is not None and used.active
