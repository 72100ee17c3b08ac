"""Commands and files on a host."""

import contextlib
import subprocess
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from .errors import CommandError
from .process import CLEAN_ENV
from .process import ProcessId
from .process import children
from .process import run


class HostProcess(subprocess.Popen):  # type: ignore[type-arg]
    """A command running on a host; signals go to the command and not to what got it there."""

    def send_signal(self, sig: int) -> None:  # pylint: disable=arguments-renamed
        """Send a signal to the command; nothing happens when it has ended."""
        if self.poll() is not None:
            return
        for child in children(self.pid) or [self.pid]:
            with contextlib.suppress(ProcessLookupError):
                ProcessId.of(child).send(sig)


class Commands:
    """What can be done on a host that is up. :class:`~tests.lab.host.Host` knows where it is."""

    @property
    def name(self) -> str:
        """Its host name."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The number this machine knows the host's first process by.

        :raises HostDown: there is none.
        """
        raise NotImplementedError

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
        """Run a shell script (``sh -e``) on the host and return its output; see :meth:`run`."""
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
                raise FileNotFoundError(f"{self.name}:{path}") from None
            raise
