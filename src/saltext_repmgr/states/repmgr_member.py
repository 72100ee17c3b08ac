"""
States of a node that joins, moves within or leaves a repmgr cluster, and of what nodes that
left leave behind. They are part of the ``repmgr`` SLS files.
"""

import time

from saltext_repmgr.utils import leaving
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import slots
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.look import Look
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import Role

__virtualname__ = "repmgr_member"

# A standby that is about to move has its new slot for a moment before it uses it.
_SETTLE_SECONDS = 5


def __virtual__():
    return __virtualname__


def _look():
    return Look(__pillar__, __opts__, __context__)


@reported
def upstream_followed(name):
    """
    Have this running standby stream from pillar's ``upstream``, where that is in service; one
    without is moved to the primary only if what it streams from is no member in service.

    The server is not restarted, and no other member reconnects. A slot that is missing on
    the upstream is made, one that is left on the former upstream is dropped.

    name
        Anything.

    .. code-block:: yaml

        upstream of this node:
          repmgr_member.upstream_followed: []
    """
    look = _look().allowed()
    action = look.todo(Step.FOLLOW)
    if action is None:
        return result(name, "; ".join(["nothing to move", *look.plan.notes]))
    spec, node, plan = look.spec, look.node, look.plan
    changes = {"upstream": {"old": look.seen.server.upstream_host, "new": plan.source}}
    if look.test:
        return result(name, f"would follow {plan.source}: {action.reason}", changes)
    old = membership.moved_from(spec, look.seen, plan)
    slot = membership.former_slot(look.seen, spec.nodes[plan.source], upstreams.slot_of(spec, node))
    membership.follow(spec, node, look.layout, spec.nodes[plan.source])
    note = ""
    if old is not None and membership.drop_member_slot(spec, old, node.slot):
        note = f"; its slot on {old.name} is dropped"
    if slot and membership.drop_member_slot(spec, spec.nodes[plan.source], slot):
        note += f"; its former slot {slot} on {plan.source} is dropped"
    look.again()
    return result(name, f"follows {plan.source}: {action.reason}{note}", changes)


@reported
def left(name):
    """
    Have nothing of the cluster run on this node, which is marked ``ensure: absent``: its
    daemon and its server are stopped and do not start at boot. Data and configuration stay.

    Refused while the node is the primary, while a member streams from it, and where the rest
    would lose the majority that elects a primary.

    name
        Anything.

    .. code-block:: yaml

        this node leaves:
          repmgr_member.left: []
    """
    look = _look()
    if look.todo(Step.LEAVE) is None:
        return result(name, f"{look.node.name} is no member")
    service = look.layout.service
    changes = {look.node.name: {"old": "member", "new": f"{service} and repmgrd stopped"}}
    if look.test:
        return result(name, f"would stop {service} and repmgrd; the data stay", changes)
    old = upstreams.upstream_of(look.spec, look.seen.server) if look.seen.server else None
    membership.leave(look.layout, wanted.own_units())
    note = ""
    if old is not None and membership.drop_member_slot(look.spec, old, look.node.slot):
        note = f"; its slot on {old.name} is dropped"
    look.again()
    if look.seen.running:
        raise CommandFailed(f"{service} was started again; look at 'journalctl -u {service}'")
    return result(name, f"has left; its data stay in {look.layout.data_directory}{note}", changes)


@reported
def departed_forgotten(name):
    """
    Have no record of nodes marked ``ensure: absent`` in the metadata. Done on the primary,
    once such a node does not stream any more.

    name
        Anything.

    .. code-block:: yaml

        nodes that left:
          repmgr_member.departed_forgotten: []
    """
    look = _look()
    plan, server = look.plan, look.seen.server
    if plan.role is not Role.PRIMARY or server is None:
        return result(name, "the primary does this")
    # What is acted on is observed anew.
    server = (look if look.test else look.again().allowed()).seen.server
    gone = [n for n in leaving.leavers(look.spec, {look.node.name: server}) if server.record(n.id)]
    if not gone:
        return result(name, "no node that left is registered")
    streaming = {s.application_name for s in server.senders}
    waiting = [n.name for n in gone if n.name in streaming and not look.run.announced]
    changes = {
        n.name: {"old": f"registered as {server.record(n.id).type}", "new": None}
        for n in gone
        if n.name not in waiting
    }
    note = ""
    if waiting:
        note = f"; still streaming: {', '.join(waiting)} ('salt {waiting[0]} state.apply repmgr')"
    if look.test:
        return result(name, f"would forget: {', '.join(changes) or 'none'}{note}", changes)
    _forget(look, [n for n in gone if n.name in changes], list(server.nodes))
    look.again()
    return result(name, f"forgotten: {', '.join(changes) or 'none'}{note}", changes)


def _forget(look, nodes, records):
    """Delete the records of nodes, those below others first: the database insists."""
    while nodes:
        above = {r.upstream_node_id for r in records}
        node = next((n for n in nodes if n.id not in above), None)
        if node is None:
            below = next(r.node_name for r in records if r.upstream_node_id == nodes[0].id)
            raise CommandFailed(
                f"{below} is registered below {nodes[0].name}: 'salt {below} state.apply repmgr'"
                " moves it, then run this again"
            )
        record = next(r for r in records if r.node_id == node.id)
        # One of a primary is of a former one: the live one is this node.
        __salt__[f"repmgr.{record.type}_unregister"](node_id=node.id, version=look.layout.version)
        nodes.remove(node)
        records.remove(record)


@reported
def slots_tidied(name):
    """
    Have no replication slot on this node that is provably unused: made by repmgr, inactive,
    and of a node that left or that streams from another one by its slot there. Other inactive
    slots are only told.

    name
        Anything.

    .. code-block:: yaml

        slots of this node:
          repmgr_member.slots_tidied: []
    """
    look = _look()
    found = _strays(look)
    unused = [s for s in found if s.unused]
    if unused and not look.test:
        time.sleep(_SETTLE_SECONDS)
        look.again()
        still = [s.slot.slot_name for s in _strays(look) if s.unused]
        unused = [s for s in unused if s.slot.slot_name in still]
    told = "; ".join(s.line for s in found if s not in unused)
    changes = {s.slot.slot_name: {"old": f"inactive: {s.why}", "new": None} for s in unused}
    if not unused:
        return result(name, told or "no slot is left over")
    if look.test:
        return result(
            name, "; ".join(["would drop what is unused", *filter(None, [told])]), changes
        )
    with look.connection() as connection:
        for stray in unused:
            membership.drop_slot(connection, stray.slot.slot_name)
    look.again()
    return result(name, "; ".join(["dropped", *filter(None, [told])]), changes)


def _strays(look):
    servers = planning.visible(look.seen)
    found = slots.strays(look.spec, servers, look.plan.primary)
    return [s for s in found if s.holder == look.node.name]
