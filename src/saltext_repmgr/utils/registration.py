"""Write down in repmgr's metadata what a node is; by repmgr's own commands, where it has one."""

import contextlib
import dataclasses

from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.spec import Role

_RECORD_SECONDS = 20
# repmgr's commands ask its records who the primary is.
_RECORDED = """
SELECT coalesce(bool_or(active AND type = 'primary'), false) AS yes
  FROM repmgr.nodes WHERE node_id = %(id)s
"""
# The guard of a primary goes by who is recorded below it: never by a part of those that are to follow.
_RENUMBER = """
UPDATE repmgr.nodes
   SET node_id = CASE WHEN node_id = %(old)s THEN %(new)s ELSE node_id END,
       upstream_node_id = CASE WHEN upstream_node_id = %(old)s THEN %(new)s ELSE upstream_node_id END
 WHERE (node_id = %(old)s OR upstream_node_id = %(old)s)
   AND NOT EXISTS (SELECT FROM repmgr.nodes WHERE node_id = %(new)s)
"""
_REPLACE = """
UPDATE repmgr.nodes SET upstream_node_id = %(new)s WHERE upstream_node_id = %(old)s;
DELETE FROM repmgr.nodes WHERE node_id = %(old)s
"""
_LEAD = """
UPDATE repmgr.nodes SET active = false WHERE node_id = %(lost)s;
UPDATE repmgr.nodes
   SET type = CASE WHEN node_id = %(id)s THEN 'primary'
                   WHEN type = 'primary' THEN 'standby' ELSE type END,
       upstream_node_id = nullif(%(id)s, node_id)
 WHERE active
   AND (node_id = %(id)s OR type = 'primary'
        OR upstream_node_id IN (SELECT node_id FROM repmgr.nodes WHERE type = 'primary'))
"""


def lead(connection, node, lost=None):
    """Record this new primary, and all that streamed from the former one below it, at once.

    connection
        A superuser's to its server.
    node
        The :class:`~saltext_repmgr.utils.spec.NodeSpec` that it is.
    lost
        The node that was the primary in between, and is gone; or None.
    """
    db.run(connection, _LEAD, {"id": node.id, "lost": lost and lost.id})


def renumber(connection, old, new):
    """Give a record another id, and the records below it the new upstream. Where the new id has a
    record of its own, the old record is deleted.

    connection
        To the primary, as repmgr's role.
    """
    ids = {"old": old, "new": new}
    db.run(connection, _RENUMBER, ids)
    db.run(connection, _REPLACE, ids)


def register(look, salt):
    """Register this node as what its plan says it is.

    look
        A :class:`~saltext_repmgr.utils.look.Look`.
    salt
        Salt's ``__salt__``.
    """
    try:
        if look.plan.role is not Role.PRIMARY:
            take_id(look)
        _REGISTER[look.plan.role](look, salt)
    except CommandExecutionError as err:
        # The functions of the loader speak Salt's language.
        raise CommandFailed(str(err)) from err


def take_id(look):
    """Give this node's record the id that pillar has, where it is another one.

    repmgr refuses to register a name twice, and a node that is not registered to unregister
    another. The slot by which the node streamed under its old id is nobody's afterwards.
    """
    spec, node = look.spec, look.node
    servers = planning.visible(look.seen)
    primary = spec.nodes[look.plan.primary]
    for record in planning.namesakes(servers[primary.name], node):
        with observe.member_connection(spec, primary) as connection:
            renumber(connection, record.node_id, node.id)
        if any(n.id == record.node_id for n in spec.nodes.values()):
            continue
        slot = dataclasses.replace(node, id=record.node_id).slot
        for member in spec.data_nodes:
            if member.name in servers and servers[member.name].slot(slot):
                membership.drop_member_slot(spec, member, slot, timeout=0)


def _primary(look, salt):
    salt["repmgr.primary_register"](force=True, version=look.layout.version)


def _standby(look, salt):
    # What it is registered with is what it streams from, so it must stream first.
    upstream = upstreams.upstream_of(look.spec, act.wait_streaming(look.spec, look.layout))
    if upstream is None:
        raise CommandFailed(
            f"{look.node.name} streams from a server that is no node of the pillar; compare"
            f" primary_conninfo ('salt {look.node.name} repmgr_pg.settings primary_conninfo') with"
            " the hosts in repmgr:nodes"
        )
    salt["repmgr.standby_register"](
        force=True, upstream_node_id=upstream.id, version=look.layout.version
    )


def is_recorded(spec, primary):
    """Whether a node is recorded as the primary on its own server; None: it does not answer."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, primary) as connection:
            return db.row(connection, _RECORDED, {"id": primary.id})["yes"]
    return None


def _witness(look, salt):
    primary = look.spec.nodes[look.plan.primary]
    for _ in act.polls(_RECORD_SECONDS):
        # A witness copies the records; those of a moment ago name the former primary.
        if is_recorded(look.spec, primary):
            break
    salt["repmgr.witness_register"](
        conninfo=repmgr_conf.conninfo(look.spec, primary, look.layout),
        force=True,
        version=look.layout.version,
    )


_REGISTER = {Role.PRIMARY: _primary, Role.STANDBY: _standby, Role.WITNESS: _witness}
