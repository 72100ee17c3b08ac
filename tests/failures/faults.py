"""What can happen to a node, and what takes it back."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab import Host
from tests.lab.process import wait_until

# Whatever its version and its name: a host of these tests has one server.
_SERVER = "postgresql@*.service"


def _signal(host: Host, name: str, whom: str = "all") -> None:
    host.run(["systemctl", "kill", f"--signal={name}", f"--kill-who={whom}", _SERVER])


def _await_unit(host: Host) -> None:
    """A server that was just started answers up to two seconds before its unit knows its process."""
    starts = [
        "sh",
        "-c",
        f"systemctl show --property=ActiveState '{_SERVER}' | grep -q =activating",
    ]
    wait_until(lambda: host.run(starts, check=False).returncode != 0, 10)


def kill_postmaster(host: Host) -> None:
    """``kill -9`` of the server's first process; the others notice and end."""
    _await_unit(host)
    _signal(host, "KILL", "main")


def stop_server(host: Host) -> None:
    """Stop the server in good order."""
    _await_unit(host)
    host.run(["systemctl", "stop", _SERVER], timeout=120)


def kill_minion(host: Host) -> None:
    """``kill -9`` of the Salt minion, as often as it is started again."""
    host.run(["systemctl", "kill", "--signal=KILL", "salt-minion"])
    host.run(["systemctl", "stop", "salt-minion"], check=False)


def kill_master(host: Host) -> None:
    """``kill -9`` of the Salt master, as often as it is started again."""
    host.run(["systemctl", "kill", "--signal=KILL", "salt-master"])
    host.run(["systemctl", "stop", "salt-master"], check=False)


def _continue_server(host: Host) -> None:
    # Somebody may have killed it in the meantime, which is what fences are for.
    host.run(["systemctl", "kill", "--signal=CONT", _SERVER], check=False)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a node, by what it is called in tables and tests.

    ``undo`` takes back what no state can: the rest is the orchestration's.
    """

    name: str
    strike: Callable[[Host], object]
    undo: Callable[[Host], object] = lambda host: None


POWER_OFF = Fault("power off", Host.power_off, Host.boot)
KILL = Fault("kill -9", kill_postmaster)
CUT = Fault("network cut", Host.cut, Host.heal)
FREEZE = Fault("host frozen", Host.freeze, Host.thaw)
HANG = Fault("server frozen", lambda host: _signal(host, "STOP"), _continue_server)
STOP = Fault("server stopped", stop_server)
MINION = Fault(
    "minion killed", kill_minion, lambda host: host.run(["systemctl", "start", "salt-minion"])
)
MASTER = Fault(
    "master killed", kill_master, lambda host: host.run(["systemctl", "start", "salt-master"])
)
