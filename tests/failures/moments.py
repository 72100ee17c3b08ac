"""Moments of a switchover, seen by a host that has no part in it."""

import contextlib
import enum
import subprocess

from saltext_repmgr.guard import locks
from tests.lab import Host
from tests.lab import LabError

_LOCK = (
    "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory'"
    f" AND classid = {locks.CLASS} AND objid = {{lock}}"
)
_STREAMS = "SELECT count(*) >= {number} FROM pg_stat_replication WHERE state = 'streaming'"
_STEP_SECONDS = 0.02


class Moment(enum.Enum):
    """What is looked for on which node: ``old`` is the primary that goes, ``heir`` the next one."""

    BEGUN = ("old", _LOCK.format(lock=locks.BEGUN))
    READY = ("old", _LOCK.format(lock=locks.READY))
    PLANNED = ("old", _LOCK.format(lock=locks.PLANNED))
    # The server ends all sessions, and so this one.
    STOPPING = ("old", "SELECT false")
    PROMOTED = ("heir", "SELECT NOT pg_is_in_recovery()")
    # One standby is ahead of the old primary, then two; repmgrd of nobody or of some watches the heir.
    FOLLOWED = ("heir", _STREAMS.format(number=1))
    JOINED = ("heir", _STREAMS.format(number=2))


class Watcher:
    """Looks for a moment all the time.

    :param host: where it looks from, a member.
    :param old: address of the primary.
    :param heir: address of the node that shall be it.
    :raises LabError: it sees nothing at all.
    """

    def __init__(self, host: Host, moment: Moment, old: str, heir: str) -> None:
        whose, query = moment.value
        address = {"old": old, "heir": heir}[whose]
        where = f"host={address} user=repmgr dbname=repmgr passfile=/etc/repmgr/pgpass"
        self._moment, self._given_up = moment, False
        self._process = host.popen(
            ["psql", "-XAtq", where],
            user="postgres",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{query} \\watch {_STEP_SECONDS}\n")
        self._process.stdin.flush()
        if self._line() != "f":
            self.stop()
            raise LabError(f"{moment.name} on {address}: nothing to see, or it is over")

    def _line(self) -> str:
        """The next word of it; empty at its end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() in ("t", "f"):
                return line.strip()
        return ""

    def wait(self) -> bool:
        """Return when it is there: true; or false when the session has ended without."""
        # What is in the host goes on saying no.
        while not self._given_up and (line := self._line()):
            if line == "t":
                return True
        return self._moment is Moment.STOPPING and not self._given_up

    def give_up(self) -> None:
        """Have whoever waits know that it will not come any more."""
        self._given_up = True
        self._process.kill()

    def stop(self) -> None:
        """Look no more."""
        # What is in the host outlives the kill, until it has nobody to write to.
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
