"""The processes of the server on this host: freeze, thaw and kill them.

The signals come from the postgres user, whose processes they are.
"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

# DB_SHUTDOWNED of PostgreSQL's catalog/pg_control.h.
_SHUT_DOWN = 1


def _name(pid):
    """Return what a process is called; raises ``OSError`` where it is gone."""
    return Path("/proc", str(pid), "comm").read_text(encoding="ascii").strip()


def postmaster(data_directory):
    """Return the process id of the server on a data directory, or None."""
    try:
        text = Path(data_directory, "postmaster.pid").read_text(encoding="utf-8")
        pid = int(text.split("\n")[0])
        name = _name(pid)
    except (OSError, ValueError):
        return None
    return pid if name in ("postgres", "postmaster") else None


def is_standby(data_directory):
    """Whether a server would start as a standby; a promotion ends that before anything is written."""
    return any(Path(data_directory, f"{name}.signal").exists() for name in ("standby", "recovery"))


def is_shut_down(data_directory):
    """Whether a primary has written its last, in good order. It waits for standbys and its archive
    after that."""
    try:
        with open(Path(data_directory, "global", "pg_control"), "rb") as control:
            # System identifier, two versions, state: so since long before PostgreSQL 10.
            (state,) = struct.unpack_from("i", control.read(20), 16)
    except (OSError, struct.error):
        return False
    return state == _SHUT_DOWN


def _stat(pid):
    """Return ``(state, parent)`` of a process, or None where it is gone."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def ancestor(name):
    """Return the process id of the nearest ancestor of this process with a name, or None."""
    pid = os.getppid()
    while pid > 1:
        stat = _stat(pid)
        if stat is None:
            return None
        with contextlib.suppress(OSError):
            if _name(pid) == name:
                return pid
        pid = stat[1]
    return None


def _children_at_once(pid):
    """Return most children of a process in a moment, where the kernel has the list."""
    with contextlib.suppress(OSError):
        text = Path("/proc", str(pid), "task", str(pid), "children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]
    return []


def _children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(entry)
            if stat is not None and stat[1] == pid:
                found.append(int(entry))
    return found


def _send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def is_frozen(pid):
    """Whether a server's main process is stopped."""
    stat = _stat(pid)
    return stat is not None and stat[0] == "T"


def freeze(pid):
    """Stop all processes of a server in their tracks; the first one first, as it makes others."""
    _send([pid], signal.SIGSTOP)
    _send(_children_at_once(pid), signal.SIGSTOP)
    _send(_children(pid), signal.SIGSTOP)


def thaw(pid):
    """Let all processes of a server go on."""
    _send([*_children(pid), pid], signal.SIGCONT)


def kill(pid, patience=5):
    """End all processes of a server, as a loss of power does; also stopped ones."""
    _send([pid, *_children(pid)], signal.SIGKILL)
    deadline = time.monotonic() + patience
    while _stat(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)


def end(pid, name):
    """Ask a process to end, if that is still the one of this name."""
    with contextlib.suppress(OSError):
        if _name(pid) == name:
            os.kill(pid, signal.SIGTERM)


def take_over():
    """Run :mod:`.takeover`, whose words go where the guard's go, and return the process."""
    return subprocess.Popen(  # pylint: disable=consider-using-with
        [sys.executable, "-m", "repmgr_guard.takeover"], stdin=subprocess.DEVNULL
    )


def start(service):
    """Have systemd start the server, and return the process that asks for it.

    It ends when the server runs or did not start, which is not waited for. The words are those
    that the sudo rule allows.
    """
    return subprocess.Popen(  # pylint: disable=consider-using-with
        ["sudo", "-n", "/usr/bin/systemctl", "start", service],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
