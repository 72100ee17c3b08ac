"""A host of a lab, as a test or a demonstration handles it."""

import contextlib
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Protocol

from . import cgroup
from . import container
from .anchor import Anchor
from .container import Machine
from .errors import BootError
from .errors import CommandError
from .errors import CommandTimeout
from .errors import HostDown
from .errors import LabError
from .process import CLEAN_ENV
from .process import ProcessId
from .process import children
from .process import run

_SIGRTMIN = int(signal.SIGRTMIN)
#: What systemd takes for "power off, in good order", as process 1.
_SIGNAL_POWER_OFF = _SIGRTMIN + 4


class HostProcess(subprocess.Popen):  # type: ignore[type-arg]
    """A command running on a host; signals go to the command and not to what got it there."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""
        if self.poll() is not None:
            return
        for child in children(self.pid) or [self.pid]:
            with contextlib.suppress(ProcessLookupError):
                ProcessId.of(child).send(sig)


class Provisioner(Protocol):
    """Makes a disk that of a certain host. ``upper`` is what is going to be on top of the image."""

    def fill(self, upper: Path) -> None:
        """Write its name, its address and its Salt onto an empty disk."""

    def salvage(self, upper: Path) -> None:
        """Take from a disk, before it is emptied, what :meth:`fill` is going to put back."""


class Host:
    """One host. It may be up or down; its disk stays until :meth:`reset`."""

    def __init__(
        self, machine: Machine, address: str, anchor: Anchor, provisioner: Provisioner
    ) -> None:
        self.machine = machine
        self.address = address
        self._anchor = anchor
        self._provisioner = provisioner
        self._process: subprocess.Popen[bytes] | None = None
        self._init: ProcessId | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address} {'up' if self.up else 'down'}>"

    @property
    def name(self) -> str:
        """Its host name and its minion id."""
        return self.machine.name

    # -- power ------------------------------------------------------------------------------

    @property
    def _starter_file(self) -> Path:
        return self.machine.directory / "starter"

    def _starter(self) -> ProcessId | None:
        """What booted the host; another process of this machine may have done it."""
        try:
            pid, started = map(int, self._starter_file.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return None
        starter = ProcessId(pid, started)
        return starter if starter.alive() else None

    def _find_init(self) -> ProcessId | None:
        known = self._init
        if known is not None and known.alive():
            return known
        starter = self._starter()
        self._init = container.find_init(starter) if starter else None
        return self._init

    @property
    def up(self) -> bool:
        """Whether the host has power: it may still be booting."""
        return self._find_init() is not None

    @property
    def pid(self) -> int:
        """The number this machine knows the host's first process by.

        :raises HostDown: there is none.
        """
        init = self._find_init()
        if init is None:
            raise HostDown(f"{self.name} is powered off: boot() it first")
        return init.pid

    def power_on(self) -> bool:
        """Switch the host on and return at once; ``False`` when it was on already."""
        with self._lock:
            if self._starter() is not None:
                return False
            if not self.machine.upper.is_dir():
                self.machine.upper.mkdir(parents=True)
                self._provisioner.fill(self.machine.upper)
            self._process = container.start(self.machine, self._anchor)
            starter = ProcessId.of(self._process.pid)
            self._starter_file.write_text(f"{starter.pid} {starter.started}\n", encoding="ascii")
            return True

    def wait_booted(self, timeout: float = 60) -> str:
        """Wait until systemd has started everything and return its verdict.

        :returns: ``running``, or ``degraded`` when units failed (see :meth:`failed_units`).
        :raises BootError: that did not happen within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self._starter() is None:
                raise BootError(f"{self.name} went down while booting:\n{self._console_tail()}")
            init = self._find_init()
            if init and Path(f"/proc/{init.pid}/root/run/systemd/private").exists():
                # It says something else, and at once, while a host that reboots goes down.
                verdict = ["systemctl", "is-system-running", "--wait"]
                with contextlib.suppress(CommandTimeout, HostDown):
                    state = self.run(verdict, check=False, timeout=left).stdout.strip()
                    if state in ("running", "degraded"):
                        return state
            time.sleep(0.05)
        raise BootError(f"{self.name} is not up after {timeout:g} s:\n{self._console_tail()}")

    def boot(self, timeout: float = 60) -> str:
        """:meth:`power_on` and :meth:`wait_booted`, also of a host that is just going down."""
        if not self.power_on():
            with contextlib.suppress(BootError):
                return self.wait_booted(timeout)
            self.power_on()
        return self.wait_booted(timeout)

    def power_off(self, timeout: float = 10) -> None:
        """Pull the plug: no process of the host gets to do anything. The disk stays as it is.

        :raises LabError: something of it is still there after ``timeout`` seconds.
        """
        with self._lock:
            init = self._find_init()
            if init is not None:
                init.send(signal.SIGKILL)
                # What keeps watch over the host has to notice its end.
                self.thaw()
            self._wait_off(timeout)

    def shutdown(self, timeout: float = 60) -> None:
        """Shut the host down in good order and wait for that, ``timeout`` seconds at most."""
        with self._lock:
            init = self._find_init()
            if init is not None:
                init.send(_SIGNAL_POWER_OFF)
            self._wait_off(timeout)

    def _wait_off(self, timeout: float) -> None:
        starter = self._starter()
        if starter is not None and not starter.wait_gone(timeout):
            raise LabError(f"{self.name} is still there after {timeout:g} s")
        if self._process is not None:
            self._process.wait(timeout=5)
            self._process = None
        self._starter_file.unlink(missing_ok=True)
        self._init = None

    def reset(self, boot: bool = True) -> None:
        """Make the host bare again: power off, empty its disk, and boot it unless told not to."""
        self.power_off()
        self.erase()
        if boot:
            self.boot()

    def erase(self) -> None:
        """Empty the disk of a host that is off. The next boot starts from the image."""
        if self.machine.upper.is_dir():
            self._provisioner.salvage(self.machine.upper)
        for directory in (self.machine.upper, self.machine.work):
            if directory.exists():
                shutil.rmtree(directory)

    def _console_tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.machine.console.read_text(encoding="utf-8", errors="replace")[-3000:]
        return "(no console)"

    # -- network ----------------------------------------------------------------------------

    def _link(self, state: str) -> None:
        run([*self._anchor.enter("net"), "ip", "link", "set", self.machine.link, state])

    def cut(self) -> None:
        """Pull the network cable. The host notices no more than its silence."""
        self._link("down")

    def heal(self) -> None:
        """Plug the network cable in again."""
        self._link("up")

    # -- time -------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop all of the host in its tracks, as a hypervisor in trouble does."""
        cgroup.freeze(self.machine.run_dir, self.name, True)

    def thaw(self) -> None:
        """Let a frozen host go on where it was."""
        cgroup.freeze(self.machine.run_dir, self.name, False)

    # -- commands ---------------------------------------------------------------------------

    def prefix(self, user: str = "root") -> list[str]:
        """The words in front of a command of this machine that make it one of the host.

        :raises HostDown: see :attr:`pid`.
        """
        enter = ["nsenter", f"--target={self.pid}", "--all", "--"]
        return enter if user == "root" else [*enter, "runuser", "-u", user, "--"]

    def run(
        self,
        argv: Sequence[str],
        user: str = "root",
        input: str | None = None,  # pylint: disable=redefined-builtin
        check: bool = True,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on the host to its end; its output is text.

        :param input: what it reads.
        :param check: raise :class:`CommandError` unless it exits 0.
        :param timeout: seconds after which it is killed.
        :param env: variables on top of a clean environment; none come from this machine.
        :raises HostDown: the host is off.
        :raises CommandError: see ``check``.
        :raises CommandTimeout: see ``timeout``.
        """
        return run(
            [*self.prefix(user), *argv],
            input=input,
            check=check,
            timeout=timeout,
            env=self._environment(user, env),
            where=self.name if user == "root" else f"{self.name} ({user})",
            shown=argv,
        )

    def sh(self, script: str, user: str = "root", **kwargs: Any) -> str:
        """Run a shell script (``sh -e``) on the host and return what it printed; see :meth:`run`."""
        return self.run(["sh", "-ec", script], user, **kwargs).stdout

    def popen(
        self,
        argv: Sequence[str],
        user: str = "root",
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> HostProcess:
        """Start a command on the host; ``kwargs`` go to :class:`subprocess.Popen`.

        :raises HostDown: the host is off.
        """
        return HostProcess([*self.prefix(user), *argv], env=self._environment(user, env), **kwargs)

    @staticmethod
    def _environment(user: str, env: Mapping[str, str] | None) -> dict[str, str]:
        home = "/root" if user == "root" else "/"
        return {**CLEAN_ENV, "HOME": home, "USER": user, "LOGNAME": user, **(env or {})}

    def failed_units(self) -> list[str]:
        """Names of the units that systemd gave up on."""
        listing = self.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
        return [line.split()[0] for line in listing.stdout.splitlines() if line.strip()]

    # -- files ------------------------------------------------------------------------------

    def write(self, path: str, text: str, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file on the host, with its parent directories.

        :raises HostDown: the host is off.
        """
        user, _, group = owner.partition(":")
        ownership = ["-m", f"{mode:o}", "-o", user, "-g", group or user]
        self.run(["install", "-D", *ownership, "/dev/stdin", path], input=text)

    def read(self, path: str) -> str:
        """The text of a file on the host.

        :raises FileNotFoundError: there is none.
        :raises HostDown: the host is off.
        """
        try:
            return self.run(["cat", path]).stdout
        except CommandError as err:
            if "No such file" in err.stderr:
                raise FileNotFoundError(f"{self.name}:{shlex.quote(path)}") from None
            raise
