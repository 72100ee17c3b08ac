"""The host: its files, processes, units and programs."""

import contextlib
import json
import os
import pwd
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import controldata
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import DataDirectory
from saltext_repmgr.utils.lines import split_lines

_TIMEOUT = 20
# Stopping a server waits for its last checkpoint; initdb and systemctl are quick.
_CHANGE_TIMEOUT = 3600
# A clock that is kept right is set back by less.
_CLOCK_SECONDS = 1


def change(argv, user=None):
    """Run a program that changes the host; see :func:`ask`."""
    return ask(argv, timeout=_CHANGE_TIMEOUT, user=user)


def ask(argv, timeout=_TIMEOUT, user=None):
    """Run a program in the C locale and return its standard output.

    timeout
        Seconds after which it is ended.
    user
        Name of the user that it runs as, if not the one of this process.

    Raises :class:`~saltext_repmgr.utils.errors.CommandFailed` or
    :class:`~saltext_repmgr.utils.errors.NotInstalledError`. The arguments appear in the
    error, so none may be secret.
    """
    done = attempt(argv, timeout, user)
    if done.returncode:
        raise CommandFailed(
            f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}",
            code=done.returncode,
            stderr=done.stderr,
        )
    return done.stdout


def attempt(argv, timeout=_TIMEOUT, user=None, text=""):
    """Run a program as :func:`ask` does, but return how it ended, whatever that is.

    text
        What it reads; bytes in any encoding are kept by ``surrogateescape``.
    """
    try:
        return subprocess.run(
            argv,
            check=False,
            capture_output=True,
            timeout=timeout,
            input=text,
            encoding="utf-8",
            errors="surrogateescape" if text else "replace",
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            **(as_user(user) if user else {}),
        )
    except FileNotFoundError as err:
        raise NotInstalledError(f"{argv[0]} is not installed on this host") from err
    except subprocess.TimeoutExpired as err:
        raise CommandFailed(f"{argv[0]} did not answer within {timeout} s") from err


def as_user(name):
    """Return the arguments of :class:`subprocess.Popen` that run a program as a user.

    Not through a program that changes the user: where somebody has to be ended, that one would
    be, and the other one go on.
    """
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise NotInstalledError(f"this host has no user {name}: install postgresql") from None
    groups = os.getgrouplist(name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def setting(layout, name, settings=()):
    """Return a setting as the server of a cluster would have it after its next start: the server's
    own program reads its files, in the unit that it counts in.

    settings
        ``{name: value}`` of what would be in its files besides, and outrank all else.

    Raises :class:`~saltext_repmgr.utils.errors.CommandFailed` where it cannot read them.
    """
    # The program would follow a link of the postgres user's, and wait for a pipe.
    confined.status(f"{layout.config_directory}/postgresql.conf")
    argv = [f"{layout.bindir}/postgres", "-D", layout.config_directory, "-C", name]
    for key, value in dict(settings).items():
        argv += ["-c", f"{key}={value}"]
    return ask(argv, user=layout.os_user).rstrip("\n")


def next_start(layout, names):
    """Return ``{name: value}`` of settings as a server would have them after its next start; empty
    where its program cannot read its files."""
    try:
        return {name: setting(layout, name) for name in names}
    except CommandFailed:
        return {}


def control_file(layout, path=None):
    """Return the control file of a data directory, running server or not."""
    path = path or layout.data_directory
    # pg_controldata would wait for a pipe.
    confined.status(os.path.join(path, "global", "pg_control"))
    argv = [f"{layout.bindir}/pg_controldata", path]
    return controldata.parse(ask(argv, user=layout.os_user if os.geteuid() == 0 else None))


def data_directory(layout, installed=True):
    """Return what lies in the data directory as
    :class:`~saltext_repmgr.utils.facts.DataDirectory`."""
    path = layout.data_directory
    require_no_link(path)
    marker = confined.exists(layout.clone_marker)
    former = confined.exists(layout.former_clone_marker)
    marks = {"unfinished_clone": marker or former, "removable": marker or not former}
    if not confined.is_directory(path):
        return DataDirectory(path, Content.ABSENT, **marks)
    entries = set(confined.names(path)) - {"lost+found"}
    common = {"mount_point": confined.is_mount(path), **marks}
    if not entries:
        return DataDirectory(path, Content.EMPTY, **common)
    if "PG_VERSION" not in entries or not confined.exists(f"{path}/global/pg_control"):
        return DataDirectory(path, Content.FILES, **common)
    slots, spaces = f"{path}/pg_replslot", f"{path}/pg_tblspc"
    return DataDirectory(
        path,
        Content.POSTGRES,
        control=control_file(layout) if installed else None,
        standby="standby.signal" in entries,
        backup_label="backup_label" in entries,
        slots=tuple(confined.names(slots)) if confined.is_directory(slots) else (),
        tablespaces=len(confined.names(spaces)) if confined.is_directory(spaces) else 0,
        **common,
    )


def unmounted(path):
    """Return the mount point at a path or above it that systemd knows, from ``/etc/fstab`` or a
    unit, and at which nothing is mounted; '' where there is none."""
    real = Path(os.path.realpath(path))
    places = [str(place) for place in (real, *real.parents) if place != place.parent]
    # For systemctl the path of a mount point is the name of its unit.
    text = ask(["systemctl", "show", "--property=LoadState,ActiveState", *places])
    states = map(_properties, text.strip().split("\n\n"))
    for place, state in zip(places, states):
        if state["LoadState"] == "loaded" and state["ActiveState"] != "active":
            return place
    return ""


def require_no_link(path):
    """Raise :class:`~saltext_repmgr.utils.errors.Refused` where a data directory is a link.

    A link can be exchanged while root works behind it, and what renames or empties a data directory
    would do that to the link.
    """
    path = os.path.normpath(path)
    if os.path.islink(path):
        raise Refused(
            f"the data directory {path} is a symbolic link to {os.readlink(path)}; nothing was"
            " changed. Set 'repmgr: postgres: data_directory' in pillar to the real path, here"
            f" {os.path.realpath(path)}, and run again"
        )


def postmaster_pid(path):
    """Return the process id of the server that runs on a data directory, or None.

    The lock file outlives a crash, so the process it names must be alive and be a
    PostgreSQL server.
    """
    try:
        pid = int(_lock_file(path)[0])
        name = Path("/proc", str(pid), "comm").read_text(encoding="ascii").strip()
    except (OSError, ValueError, IndexError):
        return None
    return pid if name in ("postgres", "postmaster") else None


def postmaster_socket(path):
    """Return ``(directory, port)`` of the socket of the server that runs on a data
    directory, or None where there is none: they may differ from what is configured."""
    try:
        lines = _lock_file(path)
        # Lines 4 and 5, see "postmaster.pid" in PostgreSQL's miscadmin.h.
        return lines[4], int(lines[3])
    except (OSError, ValueError, IndexError):
        return None


def replaced(pids):
    """Return which of ``{name: process id or None}`` run a program that was replaced on disk."""
    return tuple(name for name, pid in pids.items() if pid and _replaced(pid))


def _replaced(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def _lock_file(path):
    return confined.read(os.path.join(path, "postmaster.pid")).split("\n")


@dataclass(frozen=True)
class Unit:
    """A systemd unit: ``state`` is its ActiveState, ``started`` is when its main process
    began and ``loaded`` when it was last started or reloaded, in seconds since the epoch,
    or 0."""

    state: str = "unknown"
    pid: int | None = None
    started: float = 0
    loaded: float = 0


def units(*names):
    """Return ``{name: Unit}`` of systemd services."""
    properties = "Id,ActiveState,MainPID,ExecMainStartTimestampMonotonic"
    # A reload changes the state, too: to "reloading" and back.
    properties += ",StateChangeTimestampMonotonic"
    text = ask(["systemctl", "show", f"--property={properties}", *names])
    # The kernel gives the moment of a process's start in full seconds only; systemd has
    # it in microseconds of the monotonic clock.
    offset = time.time() - time.monotonic()
    found = {}
    for block in text.strip().split("\n\n"):
        fields = _properties(block)
        began = int(fields.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
        changed = int(fields.get("StateChangeTimestampMonotonic") or 0) / 1e6
        found[fields["Id"].removesuffix(".service")] = Unit(
            state=fields["ActiveState"],
            pid=int(fields.get("MainPID") or 0) or None,
            started=began + offset if began else 0,
            loaded=changed + offset if changed else 0,
        )
    return {name: found.get(name, Unit()) for name in names}


def _properties(block):
    return dict(line.partition("=")[::2] for line in split_lines(block))


def release():
    """Return this host's ``ID`` and ``VERSION_ID``, for example ``("debian", "12")``."""
    fields = {}
    for line in split_lines(Path("/etc/os-release").read_text(encoding="utf-8")):
        key, _, value = line.partition("=")
        fields[key] = value.strip('"')
    return fields.get("ID", ""), fields.get("VERSION_ID", "")


def read_json(path):
    """Return what a JSON file holds, or None where there is none that can be read."""
    try:
        return json.loads(confined.read(path))
    except (OSError, ValueError):
        return None


def holds(path, text, mode=None):
    """Return whether a file has exactly this text, and this mode (octal digits, str)."""
    try:
        same = confined.read(path, errors="surrogateescape").rstrip() == text.rstrip()
        return same and (mode is None or confined.status(path).st_mode & 0o7777 == int(mode, 8))
    except OSError:
        return False


def changed_since(path, moment):
    """Return whether a file was written after a moment, in seconds since the epoch.

    A moment that is still to come is of a clock that was set back since: nothing is known then,
    and the answer is yes.
    """
    found = confined.status(path)
    if found is None:
        return False
    return found.st_mtime > moment or moment > time.time() + _CLOCK_SECONDS


def settle_times(paths, moment):
    """Give files from the future a time before they were read, once they have been.

    They come from another host, or the clock was set back: they would count as unread for as long
    as the clock needs.

    moment
        Before the program that reads them was told to, in seconds since the epoch.
    """
    for path in paths:
        with contextlib.suppress(OSError, Refused):
            with confined.opened(path) as stream:
                if os.fstat(stream.fileno()).st_mtime > time.time():
                    os.utime(stream.fileno(), (moment, moment))
