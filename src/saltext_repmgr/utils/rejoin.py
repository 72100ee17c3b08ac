"""A former primary, stopped: see what it holds alone, and keep that before it is rewound."""

import datetime
import time

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import divergence
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils.divergence import Divergence
from saltext_repmgr.utils.errors import CommandFailed

# It reads WAL from the end back to the last common checkpoint.
_PATIENCE = 600
# checkpoint_timeout is 300 by default.
_CHECKPOINT_PATIENCE = 330

_TIMELINES = """
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int AS written,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS recorded,
       coalesce((SELECT pg_has_role(oid, 'usage') FROM pg_roles WHERE rolname = 'pg_checkpoint'),
                false) AS may_checkpoint
"""


def recover(layout):
    """Finish a crashed server's recovery without letting anybody in.

    pg_rewind wants a server that was shut down in good order, and starting it would make a
    second primary. Single-user mode never listens.
    """
    if host.control_file(layout).clean:
        return
    argv = [f"{layout.bindir}/postgres", "--single", "-D", layout.data_directory]
    argv += ["-c", f"config_file={layout.config_directory}/postgresql.conf", "template1"]
    host.change(argv, user=layout.os_user)


def await_checkpoint(spec, primary):
    """Wait until the primary's control file knows its timeline.

    A primary promoted a moment ago writes its new timeline there with its next checkpoint.
    Until then pg_rewind before PostgreSQL 16 takes both servers to be on the same timeline.
    """
    deadline = time.monotonic() + _CHECKPOINT_PATIENCE
    while True:
        with observe.member_connection(spec, primary) as connection:
            found = db.row(connection, _TIMELINES)
            if found["written"] == found["recorded"]:
                return
            if found["may_checkpoint"]:
                db.run(connection, "SET statement_timeout = 0")
                db.run(connection, "CHECKPOINT", patient=True)
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"{primary.name} has not finished a checkpoint {_CHECKPOINT_PATIENCE} s after its"
                " promotion; run 'CHECKPOINT' there as postgres, then run this again"
            )
        time.sleep(0.5)


def examine(spec, layout, primary):
    """Return the :class:`~saltext_repmgr.utils.divergence.Divergence` from a primary.

    primary
        The node that is the primary (:class:`~saltext_repmgr.utils.spec.NodeSpec`).
    """
    argv = [f"{layout.bindir}/pg_rewind", "--dry-run", "--target-pgdata", layout.data_directory]
    argv += ["--source-server", repmgr_conf.conninfo(spec, primary, layout)]
    # What it finds out stands in what it prints, whether or not it then goes on.
    done = host.attempt(argv, _PATIENCE, user=layout.os_user)
    said = done.stdout + done.stderr
    control = host.control_file(layout)
    found = divergence.fork(said)
    if found is None:
        raise CommandFailed(
            f"pg_rewind cannot compare this node with {primary.name}: {said.strip()}"
        )
    location, needed = found
    if not needed:
        return Divergence(None, control.checkpoint, control.timeline)
    argv = [f"{layout.bindir}/pg_waldump", "-p", f"{layout.data_directory}/pg_wal"]
    argv += ["-t", str(control.timeline), "-s", location, "-e", control.checkpoint]
    argv += ["-r", "Transaction"]
    dump = host.attempt(argv, _PATIENCE, user=layout.os_user).stdout
    return Divergence(location, control.checkpoint, control.timeline, divergence.commits(dump))


def keep(layout, found):
    """Copy the WAL that nobody else has to a directory beside the data, and return its path."""
    source = _wal_directory(layout)
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    target = f"{layout.data_directory}.diverged-{stamp}"
    confined.have_directory(target, 0o700)
    size = host.control_file(layout).segment_size
    names = confined.names(source)
    for name in divergence.segments(names, found.timeline, found.fork, found.end, size):
        confined.copy(f"{source}/{name}", f"{target}/{name}")
    return target


def has_history(layout, timeline):
    """Return whether the data directory has the history of a timeline."""
    return confined.exists(f"{_wal_directory(layout)}/{timeline:08X}.history")


def _wal_directory(layout):
    """Return where the WAL is; PostgreSQL itself has it elsewhere by a link."""
    path = f"{layout.data_directory}/pg_wal"
    where = host.ask(["readlink", "-f", path], user=layout.os_user).rstrip("\n")
    return where or path
