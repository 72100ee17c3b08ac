"""The few things that change a host's PostgreSQL: each does one step and looks at the result.

Whether a step may be taken is decided in :mod:`saltext_repmgr.utils.plan`, never here.
"""

import contextlib
import datetime
import json
import os
import pwd
import shutil
import signal
import time
from pathlib import Path

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
    if Path(layout.data_directory, "PG_VERSION").exists():
        _lay_out_configuration(layout, settings or {})
    else:
        argv += ["--", "--data-checksums"]
    host.change(argv)


def _lay_out_configuration(layout, settings):
    """Put the three files into the data directory that pg_createcluster moves from there."""
    contents = {
        "postgresql.conf": pg_settings.render(settings, header=_CLONE_HEADER),
        "pg_hba.conf": _DEBIAN_HBA,
        "pg_ident.conf": "",
    }
    account = pwd.getpwnam(layout.os_user)
    for name, text in contents.items():
        path = Path(layout.data_directory, name)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            os.chown(path, account.pw_uid, account.pw_gid)
            os.chmod(path, 0o640)


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
    write(f"{layout.config_directory}/conf.d/{_CLONED}", text, "0644")
    return notes


def forget_recovery(spec, layout):
    """Have a clone that was not started yet know nothing of a recovery of its source, and return
    ``{name: value}`` of what is left behind.

    A copy has the source's ``postgresql.auto.conf``. With a recovery target in it the standby would
    stop there, or promote itself.
    """
    asked = {*spec.postgres.settings, *spec.settings}
    automatic = f"{layout.data_directory}/postgresql.auto.conf"
    found = {}
    for name in existing.CLONE:
        if name in asked or name == "promote_trigger_file" and layout.version >= 16:
            continue
        # Nothing but that file.
        argv = [f"{layout.bindir}/postgres", "-D", layout.data_directory, "-C", name]
        argv += ["-c", f"config_file={automatic}"]
        found[name] = host.ask(argv, user=layout.os_user).strip()
    found = existing.left_over(found, existing.CLONE)
    lines = "".join(f"{name} = '{existing.CLONE[name]}'\n" for name in found)
    if found:
        append = ["sh", "-c", 'printf "%s" "$2" >> "$1"', "sh", automatic, f"\n{lines}"]
        host.change(append, user=layout.os_user)
    return found


def check_next_start(layout, server_):
    """Refuse to stop a server that would not start again with its slots.

    server_
        The :class:`~saltext_repmgr.utils.facts.Server` that runs.
    """
    values = {name: host.setting(layout, name) for name in ("wal_level", "max_replication_slots")}
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
    """Rename the data directory to a name that is free and return that name."""
    path = Path(layout.data_directory)
    if host.postmaster_pid(path) is not None:
        raise Refused(f"a server runs on {path}; it is not moved")
    if path.is_mount():
        raise Refused(
            f"{path} is a mount point and cannot be renamed. Move its contents away yourself, or"
            " set 'postgres: data_directory' to a directory below it"
        )
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    kept = path.with_name(f"{path.name}.kept-{stamp}")
    if kept.exists():
        raise Refused(f"{kept} exists already; run again in a second")
    path.rename(kept)
    return str(kept)


def discard_partial(layout):
    """Remove what an unfinished clone of ours left in the data directory.

    The directory itself stays, as it may be a mount point.
    """
    path = Path(layout.data_directory)
    if not Path(layout.clone_marker).exists() or host.postmaster_pid(path) is not None:
        raise Refused(f"{path} is not an unfinished clone; nothing is removed")
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _own_directory(path, user):
    if not path.is_dir():
        path.mkdir(parents=True)
    account = pwd.getpwnam(user)
    os.chown(path, account.pw_uid, account.pw_gid)
    os.chmod(path, 0o700)


def start_clone(layout, conninfo, upstream_id):
    """Start ``repmgr standby clone`` as a transient unit.

    As a unit of its own it goes on when the minion is restarted or killed, and a second
    run finds it by its name instead of starting another. The marker beside the data
    directory is removed by the unit itself, and only after the clone succeeded.
    """
    marker, log = Path(layout.clone_marker), Path(clone_log(layout))
    _own_directory(Path(layout.data_directory), layout.os_user)
    with open(marker, "w", encoding="utf-8") as handle:
        json.dump({"source": conninfo, "started": time.time()}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    log.unlink(missing_ok=True)
    host.change(
        ["systemd-run", "--quiet", "--no-block", f"--unit={layout.clone_unit}"]
        + ["--property=Type=oneshot", f"--property=User={layout.os_user}"]
        + [f"--property=ExecStartPost=+/bin/rm -f {marker}"]
        + [f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}"]
        + [f"{layout.bindir}/repmgr", "-f", layout.repmgr_conf, "standby", "clone"]
        # Without it the copy waits for the primary's next checkpoint, minutes by default.
        + ["--fast-checkpoint", "-d", conninfo, f"--upstream-node-id={upstream_id}"]
    )


def clone_log(layout):
    """Return the path of the file that holds what the last clone said."""
    return f"/var/log/postgresql/{layout.clone_unit}.log"


def clone_runs(layout):
    """Return whether a clone is under way on this host."""
    return host.units(layout.clone_unit)[layout.clone_unit].state in ("active", "activating")


def finish_clone(layout):
    """Look at a clone that is no longer running; raise where it did not succeed."""
    state = host.units(layout.clone_unit)[layout.clone_unit].state
    if state == "failed":
        host.change(["systemctl", "reset-failed", layout.clone_unit])
    data = host.data_directory(layout)
    if Path(layout.clone_marker).exists() or not data.standby or data.control is None:
        raise CommandFailed(
            f"the clone into {layout.data_directory} failed: {tail(clone_log(layout))}"
        )
    return data


def clone_progress(spec, source):
    """Return ``(phase, bytes done, bytes of total)`` of this host's base backup, or None.

    It comes from the source's own pg_stat_progress_basebackup; several standbys may clone
    at once, so ours is told by the address we come from.
    """
    with observe.member_connection(spec, source) as connection:
        found = db.rows(
            connection,
            "SELECT p.phase, p.backup_streamed AS done, p.backup_total AS total"
            " FROM pg_stat_progress_basebackup p JOIN pg_stat_activity a USING (pid)"
            " WHERE a.client_addr = inet_client_addr()",
        )
    return (found[0]["phase"], found[0]["done"], found[0]["total"]) if found else None


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
    fields = dict(line.partition("=")[::2] for line in text.splitlines())
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
    """Write files, ``{path: (text, mode)}``, each at once, and make a directory of a user."""
    state = Path(directory)
    state.mkdir(exist_ok=True)
    account = pwd.getpwnam(user)
    os.chown(state, account.pw_uid, account.pw_gid)
    for name, (text, mode) in files.items():
        write(name, text, mode)


def write(name, text, mode):
    """Write a file, so that nobody ever reads half of it."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(int(mode, 8))
    new.replace(path)


def replace_as_owner(name, content, user):
    """Replace a file at once, as the user whose directory it is in; its mode stays.

    content
        Bytes. They reach nobody's argument list.
    """
    script = 'umask 077; cat > "$1.new" && chmod --reference="$1" "$1.new" && mv "$1.new" "$1"'
    text = content.decode("utf-8", "surrogateescape")
    done = host.attempt(["sh", "-c", script, "sh", str(name)], user=user, text=text)
    if done.returncode:
        raise CommandFailed(f"{name} could not be written as {user}: {done.stderr.strip()}")


def match_limits(layout, seen, primary):
    """Have a server that is down start with no less than the primary runs with, or it would not
    start as its standby.

    seen
        This node's :class:`~saltext_repmgr.utils.facts.Observation`.
    primary
        Name of the primary.
    """
    path, server_ = Path(layout.settings_file), visible(seen).get(primary)
    if server_ is None or not path.exists():
        return
    ran_with = seen.data.control.limits if seen.data.control is not None else {}
    write_settings(
        layout, limits.raised(path.read_text(encoding="utf-8"), ran_with, server_.limits)
    )


def write_settings(layout, text):
    """Write the settings file of the server, once the server itself has read it, and return
    whether it had to be."""
    if host.holds(layout.settings_file, text, "0644"):
        return False
    # Beside it, but by a name that the server's own configuration does not include.
    trial = f"{layout.settings_file}.trial"
    write(trial, text, "0644")
    try:
        argv = [f"{layout.bindir}/postgres", "-C", "port", "-D", layout.data_directory]
        host.ask([*argv, "-c", f"config_file={trial}"])
    finally:
        Path(trial).unlink()
    write(layout.settings_file, text, "0644")
    return True


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
        f"the standby does not stream after {timeout} s (WAL receiver:"
        f" {found.receiver if found else 'server does not answer'}); its log ends with:"
        f" {tail(server_log(layout))}"
    )


def server_log(layout):
    """Return the path of the server's log as pg_createcluster sets it up."""
    return f"/var/log/postgresql/postgresql-{layout.version}-{layout.cluster}.log"


def tail(path, lines=5, limit=1500):
    """Return the last lines of a text file in one line, without passwords."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"(no {path})"
    return scrub(" / ".join(text.strip().splitlines()[-lines:]))[-limit:].rstrip(".")
