"""The anchor of a lab: one process that holds its namespaces, and with it everything in them.

A lab lives in a network, a mount and a process namespace of its own. The anchor is the first
process of that process namespace, so the kernel kills all hosts when it ends, and then their
mounts and interfaces vanish with their namespaces. The anchor of a lab that must not outlive its
owner ends when a pipe from the owner closes, however the owner came to its end.

Its parent's parent, the janitor, waits for that outside of the namespaces and clears the files
away. All the while it holds the lock on the lab's name.
"""

import os
import select
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .cgroup import lab_cgroups
from .errors import LabError
from .errors import LabRunning
from .process import CLEAN_ENV
from .process import ProcessId
from .process import children

#: The bridge in the lab's network namespace that all its hosts are plugged into.
BRIDGE = "lab0"

_LOCK_SECONDS = 30
_LOCKED = 75

# The lock is not for the lab's processes (9>&-): it has to go when the janitor goes.
_JANITOR = """
run=$1; shift
trap '' HUP INT TERM
for try in 1 2 3 4 5 6 7 8 9; do
  exec 9>>"$run.lock"
  flock --wait "$LOCK_SECONDS" 9 || exit "$LOCKED"
  # Whoever held it may have removed it in the meantime.
  [ ! "$run.lock" -ef /proc/self/fd/9 ] || break
done
mkdir "$run" || exit 1
unshare --net --mount --pid --fork --kill-child --propagation private sh -ec "$INIT" 9>&-
exec >/dev/null 2>&1
for group; do
  [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} ';'
done
rm -rf -- "$run"
rm -f -- "$run.lock"
"""

# Processes that lost their parent come to the first one. It has to ignore their ends explicitly,
# or they would stay as zombies; a signal set to be ignored stays so across exec.
_INIT = """
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
ip link add "$BRIDGE" type bridge
ip link set "$BRIDGE" up
echo ready
exec >/dev/null 2>&1
trap '' CHLD
exec $HOLD
"""


@dataclass(frozen=True)
class Anchor:
    """The two processes that stand for a lab, as any process of the machine may know them."""

    janitor: ProcessId
    init: ProcessId

    def alive(self) -> bool:
        """Whether the lab's namespaces are there."""
        return self.init.alive()

    def enter(self, *namespaces: str) -> list[str]:
        """The words in front of a command that is to run in these namespaces of the lab."""
        return ["nsenter", f"--target={self.init.pid}", *(f"--{name}" for name in namespaces), "--"]

    def end(self, timeout: float = 90) -> None:
        """Kill everything in the lab and wait until the janitor has cleared up.

        :raises LabError: still there after ``timeout`` seconds.
        """
        self.init.send(signal.SIGKILL)
        if not (self.init.wait_gone(timeout) and self.janitor.wait_gone(timeout)):
            raise LabError(f"processes of the lab are still there after {timeout:g} s: {self}")


@dataclass(frozen=True)
class OwnedAnchor:
    """The anchor as its creator has it.

    ``leash`` is the pipe whose closing ends the lab, ``None`` for a lab that outlives its owner.
    """

    anchor: Anchor
    process: "subprocess.Popen[bytes]"
    leash: int | None

    def end(self) -> None:
        """See :meth:`Anchor.end`."""
        try:
            self.anchor.end()
            self.process.wait(timeout=90)
        finally:
            if self.leash is not None:
                os.close(self.leash)


def start_anchor(run_dir: Path, *, persistent: bool) -> OwnedAnchor:
    """Start the janitor and the anchor of a lab and make its run directory.

    :param persistent: the lab outlives this process.
    :raises LabRunning: there is a lab of this name.
    :raises LabError: the namespaces could not be made.
    """
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    leash_end, leash = (None, None) if persistent else os.pipe()
    env = dict(
        CLEAN_ENV,
        INIT=_INIT,
        HOLD="sleep infinity" if persistent else "cat",
        BRIDGE=BRIDGE,
        LOCK_SECONDS=str(_LOCK_SECONDS),
        LOCKED=str(_LOCKED),
    )
    process = subprocess.Popen(  # pylint: disable=consider-using-with
        ["sh", "-c", _JANITOR, "sh", str(run_dir), *map(str, lab_cgroups(run_dir))],
        stdin=subprocess.DEVNULL if leash_end is None else leash_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd="/",
        start_new_session=True,
    )
    if leash_end is not None:
        os.close(leash_end)
    try:
        assert process.stdout is not None
        with process.stdout as stdout:
            said = _first_line(stdout)
        if said != b"ready\n":
            if process.wait(timeout=20) == _LOCKED:
                raise LabRunning(f"there is a lab {run_dir.name!r} already")
            raise LabError(f"no namespaces for the lab {run_dir.name!r}: {said.decode()}")
        (unshare,) = children(process.pid)
        (init,) = children(unshare)
        anchor = Anchor(ProcessId.of(process.pid), ProcessId.of(init))
    except BaseException:
        if leash is not None:
            os.close(leash)
        raise
    return OwnedAnchor(anchor, process, leash)


def _first_line(stdout: IO[bytes]) -> bytes:
    poller = select.poll()
    poller.register(stdout, select.POLLIN)
    return stdout.readline() if poller.poll((_LOCK_SECONDS + 20) * 1000) else b"no answer"
