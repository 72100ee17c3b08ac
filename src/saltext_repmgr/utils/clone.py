"""A clone: ``repmgr standby clone`` in a unit of its own, its marker, and what it left when cut off.

Marker and log are in a directory of root's. What is there says what may be deleted, and nobody but
root can have written it.
"""

import re
import shlex
import time

from saltext_repmgr.utils import act
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused

_TABLESPACES = """
SELECT pg_tablespace_location(oid) AS location FROM pg_tablespace
 WHERE pg_tablespace_location(oid) LIKE '/%%'
 ORDER BY 1
"""
# What pg_basebackup makes in a tablespace, and in a directory of WAL.
_TABLESPACE = r"PG_{version}_[0-9]+"
_WAL = r"[0-9A-F]{24}([.]partial)?|[0-9A-F]{8}[.]history|archive_status|summaries"


# -- directories elsewhere: pure ----------------------------------------------------------------


def wal_directory(options):
    """Return the directory that ``pg_basebackup_options`` name for WAL, or None."""
    words = shlex.split(options or "")
    for number, word in enumerate(words):
        if word.startswith("--waldir="):
            return word.partition("=")[2]
        if word == "--waldir" and number + 1 < len(words):
            return words[number + 1]
    return None


def elsewhere(settings, locations):
    """Return ``{directory: kind of its content}`` of what a clone fills beside the data directory.

    settings
        Those of pillar for ``repmgr.conf``.
    locations
        Of the tablespaces on the server that is cloned.
    """
    mapping = dict(_mapping(settings.get("tablespace_mapping")))
    found = {mapping.get(where, where): "tablespace" for where in locations}
    where = wal_directory(settings.get("pg_basebackup_options"))
    return {**found, **({where: "wal"} if where else {})}


def _mapping(value):
    pairs = [value] if isinstance(value, str) else value or ()
    return [tuple(pair.partition("=")[::2]) for pair in pairs]


def _is_of_clone(name, kind, version):
    pattern = _WAL if kind == "wal" else _TABLESPACE.format(version=version)
    return re.fullmatch(pattern, name) is not None


# -- directories elsewhere: acts ----------------------------------------------------------------


def locations(spec, source):
    """Return where the tablespaces of a member are."""
    with observe.member_connection(spec, source) as connection:
        return [row["location"] for row in db.rows(connection, _TABLESPACES)]


def require_room(layout, found):
    """Refuse a clone that would stop at a directory that is not empty, before anything is touched.

    found
        As :func:`elsewhere` returns it. What an earlier clone of ours left there is no hindrance.
    """
    ours = set(_recorded(layout))
    for path, kind in found.items():
        names = _names(layout, path)
        if path in ours:
            names = [n for n in names if not _is_of_clone(n, kind, layout.version)]
        if names:
            what = "WAL" if kind == "wal" else "a tablespace"
            raise Refused(
                f"the clone would put {what} into {path}, which is not empty ({', '.join(names[:3])}"
                f"{', …' if len(names) > 3 else ''}); nothing was touched. Move what is in it away if"
                " nothing on this host needs it, and run again"
            )


def _names(layout, path):
    """Return what is in a directory that the source or pillar names; [] where there is none.

    As the postgres user: that one may see what is there, and nothing else.
    """
    argv = ["find", f"{path}/", "-mindepth", "1", "-maxdepth", "1", "-printf", r"%f\0"]
    done = host.attempt(argv, user=layout.os_user)
    if done.returncode and "No such file" not in done.stderr:
        raise CommandFailed(
            f"{path} cannot be looked into by {layout.os_user}: {done.stderr.strip()}; a clone needs"
            " an empty directory there, of that user"
        )
    return [name for name in done.stdout.split("\0") if name]


def _recorded(layout):
    """Return ``{directory: kind}`` as the last clone was about to fill them."""
    return (host.read_json(layout.clone_marker) or {}).get("elsewhere", {})


# -- the clone ----------------------------------------------------------------------------------


def discard(layout):
    """Remove what an unfinished clone of ours left: in the data directory, and in the directories
    elsewhere that were free when it began.

    The directories themselves stay, as they may be mount points.
    """
    path = layout.data_directory
    host.require_no_link(path)
    if not confined.exists(layout.clone_marker) or host.postmaster_pid(path) is not None:
        raise Refused(f"{path} is not an unfinished clone; nothing was removed")
    for other, kind in _recorded(layout).items():
        names = [n for n in _names(layout, other) if _is_of_clone(n, kind, layout.version)]
        for name in names:
            # As the postgres user, whose clone it was: nothing else can go.
            argv = ["rm", "-rf", "--one-file-system", "--", f"{other}/{name}"]
            host.change(argv, user=layout.os_user)
    if confined.is_directory(path):
        confined.empty(path)


def prepare(layout, conninfo, found):
    """Have a data directory and the marker of a clone that is about to begin.

    found
        The directories elsewhere that it fills, which are free; see :func:`elsewhere`.
    """
    confined.have_directory(layout.data_directory, 0o700, layout.os_user)
    told = {"source": conninfo, "started": time.time(), "elsewhere": found}
    act.mark_clone(layout, told)
    confined.unlink(layout.former_clone_marker)
    confined.unlink(layout.clone_log)


def start(layout, conninfo, upstream_id):
    """Start ``repmgr standby clone``, once :func:`prepare` was called, as a transient unit.

    As a unit of its own it goes on when the minion is restarted or killed, and a second
    run finds it by its name instead of starting another. The unit itself removes the marker, and
    only after the clone succeeded.
    """
    marker, log = layout.clone_marker, layout.clone_log
    host.change(
        ["systemd-run", "--quiet", "--no-block", f"--unit={layout.clone_unit}"]
        + ["--property=Type=oneshot", f"--property=User={layout.os_user}"]
        + [f"--property=ExecStartPost=+/bin/rm -f {marker}"]
        + [f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}"]
        + [f"{layout.bindir}/repmgr", "-f", layout.repmgr_conf, "standby", "clone"]
        # Without it the copy waits for the primary's next checkpoint, minutes by default.
        + ["--fast-checkpoint", "-d", conninfo, f"--upstream-node-id={upstream_id}"]
    )


def runs(layout):
    """Return whether a clone is under way on this host."""
    return host.units(layout.clone_unit)[layout.clone_unit].state in ("active", "activating")


def finish(layout):
    """Look at a clone that is no longer running; raise where it did not succeed."""
    state = host.units(layout.clone_unit)[layout.clone_unit].state
    if state == "failed":
        host.change(["systemctl", "reset-failed", layout.clone_unit])
    data = host.data_directory(layout)
    if data.unfinished_clone or not data.standby or data.control is None:
        said = act.tail(layout.clone_log)
        raise CommandFailed(f"the clone into {layout.data_directory} failed: {said}")
    return data


def progress(spec, source):
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
