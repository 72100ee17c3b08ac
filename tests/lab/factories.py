"""The commands of pytest-salt-factories, run on the hosts of a lab.

Only this file needs that package. Its daemons are of no use here: Salt's daemons are systemd
units of the hosts and have to survive a reboot, so all there is to do is to have its commands
enter the host first. That goes into the words in front of the arguments, the one place where
pytest-salt-factories lets a script have some of its own.
"""

from collections.abc import Sequence
from typing import Any

import attr
from pytestshellutils.exceptions import FactoryTimeout
from saltfactories.bases import SaltCli
from saltfactories.cli.call import SaltCall
from saltfactories.cli.cp import SaltCp
from saltfactories.cli.key import SaltKey
from saltfactories.cli.run import SaltRun
from saltfactories.cli.salt import Salt

from .errors import CommandTimeout
from .host import Host
from .process import CLEAN_ENV


class _OnHost:
    """Mixed in before a class of pytest-salt-factories; ``script_name`` is a command of the host."""

    __slots__ = ()

    host: Host
    script_name: str

    def get_script_path(self) -> str:
        """What starts on this machine. The host may have been booted since the last time."""
        return self.host.prefix()[0]

    def get_base_script_args(self) -> list[str]:
        """What leads from there to the command on the host."""
        return [*self.host.prefix()[1:], self.script_name]


# pylint: disable=too-many-ancestors


@attr.s(kw_only=True, slots=True)
class HostSalt(_OnHost, Salt):
    """``salt`` on a host, the master."""

    host = attr.ib(repr=False)


@attr.s(kw_only=True, slots=True)
class HostSaltRun(_OnHost, SaltRun):
    """``salt-run`` on a host, the master."""

    host = attr.ib(repr=False)


@attr.s(kw_only=True, slots=True)
class HostSaltKey(_OnHost, SaltKey):
    """``salt-key`` on a host, the master."""

    host = attr.ib(repr=False)


@attr.s(kw_only=True, slots=True)
class HostSaltCp(_OnHost, SaltCp):
    """``salt-cp`` on a host, the master. It copies files of that host."""

    host = attr.ib(repr=False)


@attr.s(kw_only=True, slots=True)
class HostSaltCall(_OnHost, SaltCall):
    """``salt-call`` on a host."""

    host = attr.ib(repr=False)


@attr.s(kw_only=True, slots=True)
class _Plain(_OnHost, SaltCli):
    """Any of the commands, with the arguments it is given and no others.

    The classes above hand their own time limit on to Salt, which then waits as long for a dead
    minion. Nobody's ``salt-run`` does that, so what :class:`~tests.lab.lab.Lab` runs must not.
    """

    host = attr.ib(repr=False)
    _only = attr.ib(repr=False, default=None)

    def get_minion_tgt(self, minion_tgt: str | None = None) -> None:
        """Targets are among the arguments."""

    def process_output(self, stdout: str, stderr: str, cmdline: Any = None) -> Any:
        """Reduce the answers to the one that is wanted."""
        self._minion_tgt = self._only
        return super().process_output(stdout, stderr, cmdline=cmdline)


_CLASSES = {
    "salt": HostSalt,
    "salt-run": HostSaltRun,
    "salt-key": HostSaltKey,
    "salt-cp": HostSaltCp,
    "salt-call": HostSaltCall,
}


def _common(host: Host, command: str) -> dict[str, Any]:
    role = "minion" if command == "salt-call" else "master"
    return {
        "host": host,
        "script_name": command,
        "config": {"conf_file": f"/etc/salt/{role}", "id": host.name},
        "environ": dict(CLEAN_ENV),
        "cwd": "/",
    }


def cli(host: Host, command: str, timeout: float = 120) -> SaltCli:
    """One of Salt's commands on a host, as a fixture of pytest-salt-factories has it.

    :param command: ``salt``, ``salt-run``, ``salt-key``, ``salt-cp`` or ``salt-call``.
    :param timeout: seconds a command may take, unless its ``run()`` is told otherwise.
    """
    return _CLASSES[command](timeout=timeout, **_common(host, command))


def run(
    host: Host, command: str, words: Sequence[str], only: str | None, timeout: float
) -> tuple[int, str, str, Any]:
    """Run one of Salt's commands: return code, stdout, stderr and the data in stdout.

    :param only: reduce the data to the answer of this minion.
    :param timeout: seconds after which the command is killed.
    :raises CommandTimeout: that happened.
    """
    script = _Plain(only=only, **_common(host, command))
    try:
        result = script.run(*words, _timeout=timeout)
    except FactoryTimeout as err:
        partial = err.process_result
        out, err_out = (partial.stdout, partial.stderr) if partial else ("", "")
        raise CommandTimeout([command, *words], timeout, out, err_out, host.name) from None
    return result.returncode, result.stdout, result.stderr, result.data
