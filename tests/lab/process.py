"""Processes of the machine: run them with a limit, know them for sure, end them for sure."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandError
from .errors import CommandTimeout

#: What commands see instead of the environment of whoever uses the lab.
CLEAN_ENV: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


def _stat_fields(pid: int) -> list[str]:
    """Fields 3 and up of ``/proc/PID/stat``; raises ``OSError`` when there is no such process."""
    # The second field is the command in parentheses and may hold blanks and parentheses itself.
    return (
        Path(f"/proc/{pid}/stat")
        .read_text(encoding="ascii", errors="replace")
        .rpartition(")")[2]
        .split()
    )


def children(pid: int) -> list[int]:
    """The children of a process, by all of its threads; empty when it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def descendants(pid: int) -> Iterator[int]:
    """All processes below one, parents before their children."""
    for child in children(pid):
        yield child
        yield from descendants(child)


@dataclass(frozen=True)
class ProcessId:
    """One process for sure: its number together with the moment it started.

    ``started`` is in clock ticks since the machine came up, as the kernel counts. A number that
    was given to another process in the meantime is thus never taken for this one.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Identify a running process; raises ``ProcessLookupError`` when there is none."""
        try:
            return cls(pid, int(_stat_fields(pid)[19]))
        except OSError as err:
            raise ProcessLookupError(f"no process {pid}") from err

    def alive(self) -> bool:
        """Whether the process still runs; one that only waits to be reaped does not."""
        try:
            fields = _stat_fields(self.pid)
        except OSError:
            return False
        return int(fields[19]) == self.started and fields[0] not in "ZX"

    def send(self, number: int) -> bool:
        """Send a signal; ``False`` when the process is gone already."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle pins the process, so the check and the signal mean the same one.
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the end of the process, ``True`` when it ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            return bool(poller.poll(timeout * 1000)) or not self.alive()
        finally:
            os.close(handle)


def kill_tree(pid: int) -> None:
    """Kill a process that this one started, and everything below it."""
    victims = []
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            victims.append(ProcessId.of(each))
    # Leaves first: nsenter repeats the fate of its child, and must not be gone before it.
    for victim in reversed(victims):
        victim.send(signal.SIGKILL)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    input: str | None = None,  # pylint: disable=redefined-builtin
    check: bool = True,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    where: str = "",
    shown: Sequence[str] = (),
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and return what it printed, as text.

    :param input: what it reads; nothing when ``None``.
    :param check: raise :class:`CommandError` when it does not exit 0.
    :param timeout: seconds after which it is killed together with its children.
    :param env: its whole environment, instead of :data:`CLEAN_ENV`.
    :param where: said in front of the error message.
    :param shown: what errors call the command; by default what it is.
    :raises CommandError: see ``check``.
    :raises CommandTimeout: see ``timeout``.
    """
    command = [os.fspath(arg) for arg in argv]
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    with _started(command, env, stdin=stdin, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            out, err = _drain(process)
            raise CommandTimeout(shown or command, timeout, out, err, where) from None
        except BaseException:
            kill_tree(process.pid)
            raise
    if check and process.returncode:
        raise CommandError(shown or command, process.returncode, out, err, where)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _started(
    command: list[str], env: Mapping[str, str] | None, *, stdin: int, stderr: int
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=dict(CLEAN_ENV if env is None else env),
    )


def follow(
    argv: Sequence[str | os.PathLike[str]],
    tell: Callable[[str], object],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    where: str = "",
) -> None:
    """Run a command that takes minutes to its end and pass on each line as it is printed.

    Standard error is part of what it prints. The other parameters are those of :func:`run`.

    :param tell: called with each line, from another thread.
    :raises CommandError: it did not exit 0.
    :raises CommandTimeout: it ran for more than ``timeout`` seconds.
    """
    command = [os.fspath(arg) for arg in argv]
    printed: list[str] = []
    with _started(command, env, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        stdout = process.stdout
        assert stdout is not None

        def read() -> None:
            for line in stdout:
                printed.append(line)
                tell(line.rstrip("\n"))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            reader.join(5)
            raise CommandTimeout(command, timeout, "".join(printed), "", where) from None
        except BaseException:
            kill_tree(process.pid)
            raise
        # A daemon that the command left behind may hold the pipe.
        reader.join(5)
    if process.returncode:
        raise CommandError(command, process.returncode, "".join(printed), "", where)


def _drain(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a killed process had printed."""
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        # A process that left the tree still holds the pipe: what it prints is not ours to wait for.
        return "", ""


def wait_until(condition: object, timeout: float, step: float = 0.05) -> bool:
    """Call ``condition`` every ``step`` seconds until it is true, for ``timeout`` seconds at most."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step)
    return True
