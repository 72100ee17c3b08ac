"""A repmgrd of this node's server that somebody else started: by the package's init script, or by
hand."""

import os
import signal
from pathlib import Path

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed

_PATIENCE = 30
_UNIT_FILE = Path("/etc/systemd/system/repmgrd.service")
_KNOWN = "SELECT to_regprocedure('repmgr.get_repmgrd_pid()') IS NOT NULL AS yes"


def find(spec, layout):
    """Return the process id of such a daemon, or None.

    A host may have servers and daemons of other clusters: it is the one that this server knows.
    """
    candidates = list(_processes())
    if candidates and _UNIT_FILE.exists():
        own = host.units(observe.REPMGRD_UNIT)[observe.REPMGRD_UNIT].pid
        candidates = [pid for pid in candidates if pid != own]
    if not candidates or host.postmaster_pid(layout.data_directory) is None:
        return None
    try:
        with observe.local_connection(spec, layout) as connection:
            if not db.row(connection, _KNOWN)["yes"]:
                return None
            pid = db.row(connection, "SELECT repmgr.get_repmgrd_pid() AS pid")["pid"]
    except ConnectionFailed:
        # It has no metadata, or does not answer: then it knows of no daemon.
        return None
    return pid if pid in candidates else None


def _processes():
    for path in Path("/proc").glob("[0-9]*"):
        if _runs(int(path.name)):
            yield int(path.name)


def _runs(pid):
    try:
        return Path("/proc", str(pid), "comm").read_text(encoding="ascii").strip() == "repmgrd"
    except (OSError, ValueError):
        return False


def stop(pid):
    """Stop a daemon, and its init script's unit, and wait until it is gone."""
    if not _UNIT_FILE.exists():
        host.attempt(["systemctl", "stop", observe.REPMGRD_UNIT], _PATIENCE)
    for _ in act.polls(_PATIENCE):
        if not _runs(pid):
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
    raise CommandFailed(f"the repmgrd with process id {pid} does not end; stop it by hand")
