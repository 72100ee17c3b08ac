"""The errors of this extension.

Modules, states and runners translate them once, at their boundary, into Salt's
``CommandExecutionError`` (the environment is at fault) or ``SaltInvocationError``
(the caller is).
"""


class RepmgrError(Exception):
    """Base of all errors raised below the loader modules."""


class UsageError(RepmgrError):
    """An argument the caller passed cannot be right."""


class PillarError(UsageError):
    """The pillar is wrong; carries every mistake, not just the first.

    problems
        ``(key, message)`` pairs; ``key`` is the dotted path below the pillar's root,
        for example ``repmgr.nodes.node2.id``.
    """

    def __init__(self, problems):
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{key}: {message}" for key, message in self.problems))


class NotInstalledError(RepmgrError):
    """A program this host needs is not there."""


class ConnectionFailed(RepmgrError):
    """A PostgreSQL server could not be asked.

    ``kind`` says how far the attempt got, see
    :class:`saltext_repmgr.utils.db.Reach`.
    """

    def __init__(self, message, kind=None):
        super().__init__(message)
        self.kind = kind


class QueryFailed(RepmgrError):
    """The server was reached and refused the statement."""


class CommandFailed(RepmgrError):
    """A program ended with a code that means failure."""

    def __init__(self, message, code=None, name=None, stderr=""):
        super().__init__(message)
        self.code = code
        self.name = name
        self.stderr = stderr


class ParseError(RepmgrError):
    """A program printed something this extension does not know."""


class Refused(RepmgrError):
    """Going on could destroy data or make a second primary."""
