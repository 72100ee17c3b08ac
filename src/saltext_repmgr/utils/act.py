"""The few things that change a host's PostgreSQL: each does one step and looks at the result.

Whether a step may be taken is decided in :mod:`saltext_repmgr.utils.plan`, never here.
"""

import contextlib
import datetime
import json
import os
import signal
import tempfile
import time
from pathlib import Path

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import existing
from saltext_repmgr.utils import host
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import server
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.plan import visible
from saltext_repmgr.utils.scrub import scrub
from saltext_repmgr.utils.spec import ROLE_NAME

# A new server is ready in well under a second; a restarted one may have hours of WAL to
# read again. What is not ready by then is reported, and goes on by itself.
READY_TIMEOUT = 300
# It writes out what is in its memory, and waits for its standbys and its archive.
STOP_TIMEOUT = 600
_POLL = 0.05
_POLL_MAX = 1.0
_TAIL_BYTES = 65536


def polls(timeout):
    """Yield in growing steps, at least once, until ``timeout`` seconds are over."""
    deadline, pause = time.monotonic() + timeout, _POLL
    while True:
        yield
        if time.monotonic() >= deadline:
            return
        time.sleep(pause)
        pause = min(pause * 1.2, _POLL_MAX)


# What pg_createcluster writes for a new cluster; ours come in a block before it.
_DEBIAN_HBA = """\
local   all             postgres                                peer
local   all             all                                     peer
host    all             all             127.0.0.1/32            scram-sha-256
host    all             all             ::1/128                 scram-sha-256
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"""


# Read before the file that pillar's settings are in.
_CLONED = "80-cloned.conf"
_CLONE_HEADER = "# As on the server this one was cloned from, at that time. Yours to change.\n"


def create_cluster(spec, layout, settings=None):
    """Make Debian's configuration directory of the cluster.

    Without a data directory, a new one is made by initdb. One that is there, a clone, is
    taken as it is.

    settings
        What ``postgresql.conf`` of a clone begins with, ``{name: value}``.
    """
    argv = ["pg_createcluster", "--port", str(spec.postgres.port)]
    argv += ["--datadir", layout.data_directory, "--start-conf", "auto"]
    # Salt's environment has no locale of its own: without these, initdb would take the C
    # locale and SQL_ASCII, in which nobody wants to keep text.
    argv += ["--locale", "C.UTF-8", "--encoding", "UTF8", str(layout.version), layout.cluster]
    if confined.exists(f"{layout.data_directory}/PG_VERSION"):
        lay_out_configuration(layout, settings or {})
    else:
        argv += ["--", "--data-checksums"]
    host.change(argv)


def lay_out_configuration(layout, settings):
    """Put the three files into the data directory that pg_createcluster moves from there."""
    contents = {
        "postgresql.conf": pg_settings.render(settings, header=_CLONE_HEADER),
        "pg_hba.conf": _DEBIAN_HBA,
        "pg_ident.conf": "",
    }
    for name, text in contents.items():
        confined.create(f"{layout.data_directory}/{name}", text, 0o640, layout.os_user)


def portable_settings(spec, layout, source):
    """Return ``(settings, notes)``, what a clone needs of the source's configuration; see
    :func:`saltext_repmgr.utils.existing.portable`."""
    with observe.member_connection(spec, source) as connection:
        rows = db.rows(
            connection,
            "SELECT name, current_setting(name) AS value, sourcefile FROM pg_settings"
            " WHERE source = 'configuration file'",
        )
    return existing.portable(
        [(row["name"], row["value"], row["sourcefile"] or "") for row in rows],
        Path(layout.settings_file).name,
        spec.postgres.settings,
        lambda path: not host.attempt(["test", "-r", path], user=layout.os_user).returncode,
    )


def take_over_settings(spec, layout, source):
    """Give a clone the settings of its source beside a configuration that is there already, and
    return what is to be said of them."""
    settings, notes = portable_settings(spec, layout, source)
    text = pg_settings.render(settings, header=_CLONE_HEADER)
    path = f"{layout.config_directory}/conf.d/{_CLONED}"
    if confined.exists(path) and not host.holds(path, text):
        # Of an earlier clone, and changed since: its name says that it may be.
        kept = _kept_name(_CLONED)
        confined.rename(path, kept)
        notes = [*notes, f"the former {_CLONED} was kept as {kept}"]
    confined.write(path, text, 0o644)
    return notes


def _kept_name(name):
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{name}.kept-{stamp}"


def left_of_recovery(spec, layout):
    """Return ``{name: value}`` of what a clone that was not started yet has of a recovery of its
    source.

    A copy has the source's ``postgresql.auto.conf``. With a recovery target in it the standby would
    stop there, or promote itself.
    """
    asked = {*spec.postgres.settings, *spec.settings}
    automatic = _automatic(layout)
    found = {}
    for name in existing.CLONE:
        if name in asked or name == "promote_trigger_file" and layout.version >= 16:
            continue
        # Nothing but that file.
        argv = [f"{layout.bindir}/postgres", "-D", layout.data_directory, "-C", name]
        argv += ["-c", f"config_file={automatic}"]
        found[name] = host.ask(argv, user=layout.os_user).strip()
    return existing.left_over(found, existing.CLONE)


def _automatic(layout):
    return f"{layout.data_directory}/postgresql.auto.conf"


def forget_recovery(spec, layout):
    """Have a clone know nothing of :func:`left_of_recovery`, and return that."""
    found = left_of_recovery(spec, layout)
    lines = "".join(f"{name} = '{existing.CLONE[name]}'\n" for name in found)
    if found:
        append = ["sh", "-c", 'printf "%s" "$2" >> "$1"', "sh", _automatic(layout), f"\n{lines}"]
        host.change(append, user=layout.os_user)
    return found


def check_next_start(layout, server_, settings=()):
    """Refuse to stop a server that would not start again with its slots.

    server_
        The :class:`~saltext_repmgr.utils.facts.Server` that runs.
    settings
        What the settings file is about to hold, ``{name: value}``; by default what it holds counts.
    """
    values = {}
    for name in ("wal_level", "max_replication_slots"):
        due = {name: pg_settings.plain_value(settings[name])} if name in settings else {}
        values[name] = host.setting(layout, name, due)
    objection = existing.start_objection(values, server_.slots)
    if objection:
        raise Refused(
            f"{layout.service} is not restarted, as it would not start again: {objection}. Correct"
            " that ('salt NODE repmgr_pg.settings' shows the file each value comes from), or drop"
            " the slots"
        )


def configured_data_directory(layout):
    """Return the data directory that Debian's configuration of the cluster names, as the server's
    own program reads it."""
    return os.path.normpath(host.setting(layout, "data_directory"))


def move_aside(layout):
    """Rename the data directory to a name that is free and return that name.

    A clone takes its place. The marker says so from now on, or a run that was cut off here would
    look like a disk that is not mounted.
    """
    path = Path(layout.data_directory)
    host.require_no_link(path)
    if host.postmaster_pid(path) is not None:
        raise Refused(f"PostgreSQL runs on {path}; the directory was not moved. Run this again")
    if confined.is_mount(path):
        raise Refused(
            f"{path} is a mount point and cannot be renamed; nothing was changed. Move its contents"
            " away yourself, or set 'postgres: data_directory' to a directory below it"
        )
    kept = path.with_name(_kept_name(path.name))
    try:
        confined.rename(path, kept.name)
    except FileExistsError as err:
        raise Refused(f"{kept} exists already; run again in a second") from err
    mark_clone(layout, {})
    return str(kept)


def mark_clone(layout, told):
    """Note, in a directory of root's, that a clone is about to fill the data directory.

    told
        What is known about it (dict), as JSON can hold it.
    """
    confined.have_directory(layout.clone_state, 0o700)
    confined.write(layout.clone_marker, json.dumps(told) + "\n", 0o600)


def restart(spec, layout):
    """Stop the server in good order and :func:`start` it."""
    if _unit_is_down(layout):
        stop(layout)
    # In one, so that it is up again whatever becomes of who asks for it.
    start(spec, layout, verb="restart")


def start(spec, layout, verb="start"):
    """Start (or ``restart``) the server through its unit and wait until it answers.

    The unit's own command sleeps in half seconds until it is content. The server is ready
    earlier, so the job is only queued and the server itself is asked.
    """
    before = host.postmaster_pid(layout.data_directory)
    host.change(["systemctl", verb, "--no-block", layout.service])
    error = "it did not start"
    for _ in polls(READY_TIMEOUT):
        pid = host.postmaster_pid(layout.data_directory)
        if pid is not None and pid != before:
            try:
                with observe.local_connection(spec, layout, dbname="postgres"):
                    return
            except ConnectionFailed as err:
                error = str(err)
        elif pid is None and _gave_up(layout):
            break
    raise CommandFailed(
        f"{layout.service} is not ready: {error}; its log ends with:"
        f" {tail(server_log(layout))}. See also 'journalctl -u {layout.service}'"
    )


def _gave_up(layout):
    text = host.ask(["systemctl", "show", "--property=ActiveState,Job", layout.service])
    fields = dict(line.partition("=")[::2] for line in split_lines(text))
    return fields.get("Job", "0") in ("", "0") and fields.get("ActiveState") != "activating"


def stop(layout):
    """Stop the server in good order and wait until it is gone."""
    host.ask(["systemctl", "stop", layout.service], STOP_TIMEOUT)
    if runs(layout):
        # That knows nothing of a server that was started without it.
        host.change(["pg_ctlcluster", str(layout.version), layout.cluster, "stop", "-m", "fast"])
    if runs(layout):
        raise CommandFailed(f"the server on {layout.data_directory} does not stop")


def begin_stop(layout):
    """Have the server stop in good order, and do not wait for that."""
    host.ask(["systemctl", "stop", "--no-block", layout.service])
    pid = host.postmaster_pid(layout.data_directory)
    if pid is not None and _unit_is_down(layout):
        # What pg_ctl does for "fast".
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def _unit_is_down(layout):
    """Whether a server that runs was not started through its unit."""
    return host.units(layout.service)[layout.service].state in ("inactive", "failed")


def is_being_started(layout):
    """Return whether the server's unit has not seen it start yet.

    Stopped now, it would have its processes ended one by one, and those that serve standbys
    before the last record is sent.
    """
    return host.units(layout.service)[layout.service].state == "activating"


def stop_at_once(layout):
    """End the server as a crash would, which loses nothing that was committed."""
    argv = ["pg_ctlcluster", str(layout.version), layout.cluster, "stop", "-m", "immediate"]
    if runs(layout):
        # It may go at this moment.
        host.attempt(argv)
    if runs(layout):
        raise CommandFailed(f"the server on {layout.data_directory} does not stop")


def runs(layout):
    """Return whether there is a server on the data directory."""
    return host.postmaster_pid(layout.data_directory) is not None


def end_processes(pids):
    """Ask processes to end; those that are gone are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def install(directory, user, files):
    """Write files of root's, ``{path: (text, mode)}``, each at once, and make a directory of a user."""
    confined.have_directory(directory, 0o755, user)
    for name, (text, mode) in files.items():
        confined.write(name, text, int(mode, 8), make_parents=True)


def match_limits(layout, seen, primary):
    """Have a server that is down start with no less than the primary runs with, or it would not
    start as its standby.

    seen
        This node's :class:`~saltext_repmgr.utils.facts.Observation`.
    primary
        Name of the primary.
    """
    path, server_ = layout.settings_file, visible(seen).get(primary)
    if server_ is None or not confined.exists(path):
        return
    ran_with = seen.data.control.limits if seen.data.control is not None else {}
    write_settings(layout, limits.raised(confined.read(path), ran_with, server_.limits))


def write_settings(layout, text):
    """Write the settings file of the server, once the server itself has read it, and return
    whether it had to be."""
    if host.holds(layout.settings_file, text, "0644"):
        return False
    try_settings(layout, text)
    confined.write(layout.settings_file, text, 0o644)
    return True


def try_settings(layout, text):
    """Have the server's own program read settings; raises
    :class:`~saltext_repmgr.utils.errors.CommandFailed` with what it said where it refuses them.

    It runs as the postgres user, since it reads what that user has in the data directory.
    """
    with tempfile.TemporaryDirectory(prefix="repmgr-settings-") as directory:
        os.chmod(directory, 0o755)
        trial = f"{directory}/postgresql.conf"
        confined.write(trial, text, 0o644)
        argv = [f"{layout.bindir}/postgres", "-C", "port", "-D", layout.data_directory]
        host.ask([*argv, "-c", f"config_file={trial}"], user=layout.os_user)


def restart_daemon(unit, verb="restart"):
    """Have systemd read its units again, and ``restart`` or ``reload`` one."""
    host.change(["systemctl", "daemon-reload"])
    host.change(["systemctl", verb, unit])


def wait_streaming(spec, layout, timeout=60, check=None):
    """Wait until the local standby streams, and return its server facts.

    check
        Function that raises where that is in vain.
    """
    found = None
    for _ in polls(timeout):
        try:
            with observe.local_connection(spec, layout, dbname="postgres") as connection:
                found = server.describe(connection, ROLE_NAME)
        except RepmgrError:
            continue
        if found.receiver == "streaming":
            return found
        if check is not None:
            check()
    raise CommandFailed(
        f"this standby does not stream after {timeout} s (WAL receiver:"
        f" {found.receiver if found else 'PostgreSQL does not answer'}); its log ends with:"
        f" {tail(server_log(layout))}"
    )


def server_log(layout):
    """Return the path of the server's log as pg_createcluster sets it up."""
    return f"/var/log/postgresql/postgresql-{layout.version}-{layout.cluster}.log"


def tail(path, lines=5, limit=1500):
    """Return the last lines of a text file in one line, without passwords."""
    try:
        text = confined.read_end(path, _TAIL_BYTES)
    except OSError:
        return f"(no {path})"
    except Refused as err:
        # It stands in another error's words.
        return f"({err})"
    return scrub(" / ".join(split_lines(text.strip())[-lines:]))[-limit:].rstrip(".")
