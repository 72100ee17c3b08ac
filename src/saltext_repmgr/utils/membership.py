"""What changes when members come, move and go: one step each, as in :mod:`saltext_repmgr.utils.act`."""

import os
import shutil
from pathlib import Path

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError

_DROP = (
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    " WHERE slot_name = %(name)s AND NOT active"
)
_MAKE = (
    "SELECT pg_create_physical_replication_slot(%(name)s, true)"
    " WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = %(name)s)"
)
_UNITS = Path("/etc/systemd/system")
_LEFT = "# Written by Salt (saltext-repmgr): this node has left its cluster.\nmanual\n"


def follow(spec, node, layout, target, check=None):
    """Let the running standby stream from ``target`` and wait until it does.

    Only the WAL receiver is started anew, not the server. ``repmgr standby follow`` is not
    used: it needs a record, fails where the standby streams from that server already under
    another name, and succeeds without a stream.

    check
        As for :func:`~saltext_repmgr.utils.act.wait_streaming`.
    """
    with observe.local_connection(spec, layout, dbname="postgres") as connection:
        aim(spec, node, layout, connection, target)
        db.run(connection, "SELECT pg_reload_conf()")
    for _ in act.polls(60):
        found = act.wait_streaming(spec, layout, check=check)
        # The former stream ends a moment later.
        if (found.upstream_host, found.sends_as) == (target.host, node.name):
            return
    raise CommandFailed(
        f"{node.name} still streams from {found.upstream_host} as {found.sends_as}, not from"
        f" {target.host}; look at"
        f" {act.server_log(layout)}"
    )


def aim(spec, node, layout, connection, target):
    """Have a slot on ``target`` and write down that this server streams from there.

    It does so when it is reloaded, and a primary when it becomes a standby.
    """
    slot = upstreams.slot_of(spec, node)
    if slot:
        with observe.member_connection(spec, target) as upstream:
            db.rows(upstream, _MAKE, {"name": slot})
    own = {"application_name": node.name, "dbname": None}
    conninfo = repmgr_conf.conninfo(spec, target, layout, **own)
    db.run(connection, "ALTER SYSTEM SET primary_conninfo = %(to)s", {"to": conninfo})
    if slot:
        db.run(connection, "ALTER SYSTEM SET primary_slot_name = %(to)s", {"to": slot})
    else:
        # There may have been slots once, and one that is not there would keep it from streaming.
        db.run(connection, "ALTER SYSTEM RESET primary_slot_name")


def start_as_standby(spec, layout):
    """Start a stopped server as the standby that :func:`aim` made it; it lacks nothing."""
    signal = Path(layout.data_directory, "standby.signal")
    signal.touch(mode=0o600)
    shutil.chown(signal, layout.os_user, layout.os_user)
    act.start(spec, layout)


def start_as_primary(spec, layout):
    """Start a stopped standby as the primary it was, on the same timeline; its start check decides
    whether it may."""
    Path(layout.data_directory, "standby.signal").unlink(missing_ok=True)
    act.start(spec, layout)


def drop_slot(connection, name):
    """Drop a slot nobody streams from at this moment; return whether there was one."""
    return bool(db.rows(connection, _DROP, {"name": name}))


def drop_member_slot(spec, member, name, timeout=5):
    """Drop a slot on another member, giving its sender ``timeout`` seconds to end.

    Returns whether it was dropped. What stays is told, and tidied, by a later run.
    """
    for _ in act.polls(timeout):
        try:
            with observe.member_connection(spec, member) as connection:
                if drop_slot(connection, name):
                    return True
        except RepmgrError:
            return False
    return False


def moved_from(spec, seen, plan):
    """Return the node whose slot a standby needs no more once it streams from elsewhere."""
    old = upstreams.any_upstream_of(spec, seen.server)
    return old if old is not None and old.name != plan.source else None


def former_slot(seen, target, slot):
    """Return the slot that a standby gives up on ``target``, which it goes on to stream from, or
    None. It alone used that slot.

    slot
        Name of the slot that it uses from then on, or an empty string.
    """
    stays = seen.server.upstream_host in (target.host, target.address)
    used = seen.server.slot_used
    return used if stays and used and used != slot else None


def leave(layout, units):
    """Stop what makes this host a member, for good; its data and its configuration stay.

    units
        Our own units, beside the server's.
    """
    disable(units)
    if host.postmaster_pid(layout.data_directory) is not None:
        act.stop(layout)
    if Path(layout.config_directory).is_dir():
        Path(layout.start_file).write_text(_LEFT, encoding="utf-8")
    # Last, as it is what tells a member: a run that was cut off is taken up again.
    os.replace(layout.settings_file, f"{layout.settings_file}.left")
    host.change(["systemctl", "daemon-reload"])


def disable(units):
    """Stop units of ours, and keep them from starting at boot."""
    for unit in units:
        for link in _UNITS.glob(f"*.wants/{unit}"):
            link.unlink()
    known = [unit for unit in units if (_UNITS / unit).exists()]
    if known:
        host.change(["systemctl", "stop", *known])


def has_left(layout):
    """Return whether the server is kept from starting because this node left once."""
    return host.holds(layout.start_file, _LEFT)


def come_back(layout):
    """Let the server start at boot again."""
    Path(layout.start_file).write_text("auto\n", encoding="utf-8")
    host.change(["systemctl", "daemon-reload"])
