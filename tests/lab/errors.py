"""What can go wrong in the lab. Everything raised on purpose is a :class:`LabError`."""

import shlex
from collections.abc import Sequence


class LabError(Exception):
    """Base of all errors of the lab; the message says what was being done and what was found."""


class CommandError(LabError):
    """A command ended with a return code that was not expected.

    ``argv``, ``returncode`` (negative: killed by that signal), ``stdout`` and ``stderr`` hold all
    there is to know; the message holds the command and the tail of what it printed.
    """

    #: How much of the output goes into the message, in characters.
    TAIL = 2000

    def __init__(
        self, argv: Sequence[str], returncode: int, stdout: str, stderr: str, where: str = ""
    ) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.where = where
        super().__init__(self._message())

    def _outcome(self) -> str:
        return f"exited {self.returncode}"

    def _message(self) -> str:
        place = f"{self.where}: " if self.where else ""
        output = (self.stderr.strip() or self.stdout.strip())[-self.TAIL :]
        return f"{place}`{shlex.join(self.argv)}` {self._outcome()}" + (
            f":\n{output}" if output else " and printed nothing"
        )


class CommandTimeout(CommandError):
    """A command did not end in time; it and all its children were killed."""

    def __init__(
        self, argv: Sequence[str], seconds: float, stdout: str, stderr: str, where: str = ""
    ) -> None:
        self.seconds = seconds
        super().__init__(argv, -9, stdout, stderr, where)

    def _outcome(self) -> str:
        return f"was killed after {self.seconds:g} s"


class HostDown(LabError):
    """The host is powered off, so nothing can be run on it."""


class BootError(LabError):
    """A host did not come up; the message ends with the tail of its console."""


class SaltNotAnswering(LabError):
    """The Salt master or one of the minions did not answer in time."""


class LabRunning(LabError):
    """A lab of that name is up already, owned by another process."""


class NoSuchLab(LabError):
    """There is no lab of that name."""
