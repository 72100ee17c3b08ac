"""Pauses of repmgrd on this host that end by themselves: the guard sees to that."""

import contextlib
import time
from pathlib import Path

from saltext_repmgr.guard import config
from saltext_repmgr.guard import lease
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import UsageError

_LONGEST_MINUTES = 24 * 60
# Others are at it for as long as it takes to tell a server that may be busy.
_TURN_SECONDS = 15


def begin(spec, layout, minutes, lasting=True):
    """Pause repmgrd on this node; return when the pause ends, in seconds since the epoch.

    lasting
        It outlasts a boot of this host; else it is of something that is at work, and does not.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise UsageError(f"minutes is {minutes!r}; give a number, for example minutes=15")
    if not 0 < minutes <= _LONGEST_MINUTES:
        raise UsageError(f"minutes is {minutes}; give more than 0 and at most {_LONGEST_MINUTES}")
    unit = host.units(guard_files.UNIT)[guard_files.UNIT].state
    if unit != "active" or not confined.is_directory(layout.guard_state):
        raise CommandFailed(
            f"not paused: the guard on this node, which ends a pause, does not run (unit: {unit}); run"
            " 'state.apply repmgr' first"
        )
    with _alone(layout):
        until = time.time() + 60 * minutes
        # First, so that no pause is ever without an end.
        if lasting:
            confined.unlink(_boot(layout))
        else:
            confined.write(_boot(layout), confined.read(config.BOOT_ID), 0o644)
        confined.write(_lease(layout), f"{int(until)}\n", 0o644)
        _set(spec, layout, True)
    return until


def end(spec, layout):
    """Let repmgrd on this node fail over again."""
    with _alone(layout):
        if confined.exists(_lease(layout)):
            # A server that cannot be told now is told by the guard as soon as it can.
            confined.write(_lease(layout), f"{int(time.time())}\n", 0o644)
        _set(spec, layout, False)
        confined.unlink(_lease(layout))
        confined.unlink(_boot(layout))


@contextlib.contextmanager
def _alone(layout):
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lease.held(_TURN_SECONDS, layout.guard_state))
        except TimeoutError as err:
            raise CommandFailed(f"{err}; try again") from err
        except OSError as err:
            raise Refused(
                f"{layout.guard_state}/pause.lock cannot be locked ({err.strerror}); nothing was"
                f" changed. See what it is ('ls -ld {layout.guard_state}/pause.lock'), remove it and"
                " run again"
            ) from err
        yield


def _lease(layout):
    return Path(layout.guard_state, Path(config.PAUSED_UNTIL).name)


def _boot(layout):
    return Path(layout.guard_state, Path(config.PAUSED_IN).name)


def _set(spec, layout, paused):
    with observe.local_connection(spec, layout) as connection:
        db.rows(connection, "SELECT repmgr.repmgrd_pause(%(paused)s)", {"paused": paused})
