"""A host of a lab, as a test or a demonstration handles it."""

import contextlib
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Protocol

from . import cgroup
from . import container
from .anchor import Anchor
from .commands import Commands
from .container import Machine
from .errors import BootError
from .errors import CommandTimeout
from .errors import HostDown
from .errors import LabError
from .process import ProcessId
from .process import run

# What systemd, as process 1, takes for "power off, in good order".
_SIGNAL_POWER_OFF = int(signal.SIGRTMIN) + 4
_VERDICT_SECONDS = 3
_NOBODYS_MAC = "02:00:00:00:00:00"


class Provisioner(Protocol):
    """Makes a disk that of a certain host. ``upper`` is what is going to be on top of the image."""

    def fill(self, upper: Path) -> None:
        """Write its name, its address and its Salt onto an empty disk."""

    def salvage(self, upper: Path) -> None:
        """Take from a disk, before it is emptied, what :meth:`fill` is going to put back."""


class Host(Commands):
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

    def wait_booted(self, timeout: float = 120) -> str:
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
                # It says something else, and at once, while a host that reboots goes down. And it
                # may miss the end of a boot that it was started in the first moments of.
                verdict = ["systemctl", "is-system-running", "--wait"]
                with contextlib.suppress(CommandTimeout, HostDown):
                    patience = min(left, _VERDICT_SECONDS)
                    state = self.run(verdict, check=False, timeout=patience).stdout.strip()
                    if state in ("running", "degraded"):
                        return state
            time.sleep(0.05)
        raise BootError(f"{self.name} is not up after {timeout:g} s:\n{self._console_tail()}")

    def boot(self, timeout: float = 120) -> str:
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
        self.forget()
        self._starter_file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Let go of what is left of the processes of a host that is off."""
        self._init = None
        if self._process is not None:
            self._process.wait(timeout=5)
            self._process = None

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

    def cut(self, *peers: "Host") -> None:
        """Pull the network cable; a boot plugs it in again.

        The host notices no more than the silence.

        :param peers: lose only what goes to and comes from these.
        :raises HostDown: the host, or one of the peers, is off.
        """
        if not peers:
            self._set_link("down")
        for one, other in self._pairs(peers):
            # Frames to a card that nobody has vanish without an error, as they do behind a switch.
            lost = ["lladdr", _NOBODYS_MAC, "dev", "host0", "nud", "permanent"]
            one.run(["ip", "neighbour", "replace", other.address, *lost])

    def heal(self, *peers: "Host") -> None:
        """Undo :meth:`cut`, with the same ``peers``."""
        if not peers:
            self._set_link("up")
        for one, other in self._pairs(peers):
            one.run(["ip", "neighbour", "del", other.address, "dev", "host0"])

    def _pairs(self, peers: "tuple[Host, ...]") -> "list[tuple[Host, Host]]":
        return [pair for peer in peers for pair in ((self, peer), (peer, self))]

    def _set_link(self, state: str) -> None:
        if not self.up:
            raise HostDown(f"{self.name} is powered off: boot() it first")
        run([*self._anchor.enter("net"), "ip", "link", "set", self.machine.link, state])

    # -- time -------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop all of the host in its tracks, as a hypervisor in trouble does."""
        cgroup.freeze(self.machine.run_dir, self.name, True)

    def thaw(self) -> None:
        """Let a frozen host go on where it was."""
        cgroup.freeze(self.machine.run_dir, self.name, False)
