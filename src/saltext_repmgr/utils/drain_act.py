"""What a node does when it goes out of service, and when it comes back."""

import time

from saltext_repmgr.guard.rules import FRESH_SECONDS
from saltext_repmgr.utils import act
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import drain
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import host
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError

_RECORD = """
INSERT INTO repmgr.events (node_id, event, successful, details)
VALUES (%(id)s, %(event)s, true, %(details)s)
"""
_INACTIVE = "UPDATE repmgr.nodes SET active = false WHERE node_id = %(id)s AND active"
_IN_RECOVERY = "SELECT pg_is_in_recovery() AS it"


def take_out(look, by, reason="", keep_slot=None):
    """Take this node out of service, and keep it there.

    look
        A :class:`~saltext_repmgr.utils.look.Look` at this node.
    by, reason
        Who wants it, and why (str).
    keep_slot
        See :func:`saltext_repmgr.utils.drain.examine`.

    Returns ``(what became of it, names of the standbys that have to move first)``; where there are
    some, the server goes on, and the next call stops it.
    """
    spec, node = look.spec, look.node
    seen = look.again().seen
    primary = _primary(spec, seen)
    if primary == node.name:
        # It may have been promoted with the mark of an earlier call, and would not start at boot.
        bring_back(look)
        raise Refused(
            f"{node.name} is the primary; run 'salt-run repmgr.drain {node.name}', which moves the"
            " primary to another node first"
        )
    fact = _mark(look, by, reason)
    servers = planning.visible(seen)
    _record(spec, node, spec.nodes[primary], servers[primary], fact)
    fed = upstreams.fed_by(spec, servers, node.name)
    if fed:
        return f"not drained yet: {', '.join(fed)} must stream from another node first", fed
    _stop(look)
    dropped, left = _drop_slots(spec, node, servers, keep_slot)
    _set_inactive(spec, node, spec.nodes[primary])
    look.again()
    told = f"{node.name} {drained.words(fact)}"
    if left:
        raise CommandFailed(
            f"{told}; its slot on {', '.join(left)} could not be dropped and keeps WAL: run"
            f" 'salt-run repmgr.drain {node.name}' again to drop it"
        )
    return "; ".join([told, *(f"its slot on {name} is dropped" for name in dropped)]), ()


def _primary(spec, seen):
    live = planning.primaries(spec, planning.visible(seen))
    if len(live) != 1:
        raise Refused(
            f"{len(live)} primaries answer {seen.node}, exactly one is needed; nothing was changed."
            " See 'salt-run repmgr.status'"
        )
    return live[0]


def _mark(look, by, reason):
    """Keep the server from starting. First of all: what is cut off after it is taken up again."""
    if look.seen.drained is not None:
        return look.seen.drained
    if not confined.is_directory(look.layout.config_directory):
        raise CommandFailed(f"{look.node.name} has no server yet: there is nothing to drain")
    fact = drained.note(by, reason, int(time.time()))
    text = drained.start_file(look.node.name, fact)
    membership.write_start_file(look.layout, text)
    return fact


def _record(spec, node, primary, server, fact):
    """Tell the others: those that stream from here may move now."""
    if drained.is_recorded(server, node) is not None:
        return
    values = {"id": node.id, "event": drained.EVENT, "details": drained.to_json(fact)}
    with observe.member_connection(spec, primary) as connection:
        db.run(connection, _RECORD, values)


def _stop(look):
    """repmgrd first, so that nobody is promoted here from now on."""
    daemon = f"{observe.REPMGRD_UNIT}.service"
    host.change(["systemctl", "stop", daemon])
    try:
        _require_standby(look)
    except RepmgrError:
        membership.come_back(look.layout)
        host.change(["systemctl", "start", daemon])
        raise
    membership.disable(wanted.own_units())
    if host.postmaster_pid(look.layout.data_directory) is not None:
        act.stop(look.layout)
    # The mark counts from now on.
    host.change(["systemctl", "daemon-reload"])


def _require_standby(look):
    if look.node.is_witness or host.postmaster_pid(look.layout.data_directory) is None:
        return
    with observe.local_connection(look.spec, look.layout) as connection:
        if not db.row(connection, _IN_RECOVERY)["it"]:
            raise Refused(
                f"{look.node.name} was promoted meanwhile: it is in service and not drained. Run"
                f" 'salt-run repmgr.drain {look.node.name}' again"
            )


def _drop_slots(spec, node, servers, keep_slot):
    """Return the names of the nodes on which its slot is gone, and on which it could not be
    dropped."""
    dropped, left = [], []
    for name in drain.holders(servers, node.name, node.slot):
        if not drain.slot_stays(servers[name], keep_slot):
            gone = membership.drop_member_slot(spec, spec.nodes[name], node.slot)
            (dropped if gone else left).append(name)
    return dropped, left


def _set_inactive(spec, node, primary):
    """No elector any more: the primary's guard would do that half a minute later.

    Until then an answer from before the stop would have it set it active again.
    """
    time.sleep(FRESH_SECONDS)
    with observe.member_connection(spec, primary) as connection:
        db.run(connection, _INACTIVE, {"id": node.id})


def bring_back(look):
    """Let the server of this node start again; return whether it was kept from that."""
    if look.seen.drained is None:
        return False
    membership.come_back(look.layout)
    look.again()
    return True
