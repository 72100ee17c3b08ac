"""Builds command lines of repmgr and runs them with a runner that is passed in."""

import os
import shlex
from typing import NamedTuple

from saltext_repmgr.utils import messages
from saltext_repmgr.utils.errcodes import NEXT_STEP
from saltext_repmgr.utils.errcodes import SUCCESS_ONLY
from saltext_repmgr.utils.errcodes import name_of
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.scrub import scrub
from saltext_repmgr.utils.spec import Layout

PROGRAMS = "/usr/lib/postgresql"
# What Salt's cmd.run_all says of a command that it has ended.
_OVERDUE = " : Timed out after "

# Actions and their options besides --dry-run, by their long names. --verbose is none of
# them: it mixes log lines into the output.
ACTIONS = {
    "primary register": {"force"},
    "primary unregister": {"force", "node_id"},
    "standby clone": {
        "dbname",
        "fast_checkpoint",
        "force",
        "upstream_node_id",
        "verify_backup",
    },
    "standby register": {"dbname", "force", "upstream_node_id", "wait_start", "wait_sync"},
    "standby unregister": {"node_id"},
    "standby promote": {"force", "siblings_follow"},
    "standby follow": {"upstream_node_id", "wait"},
    "standby switchover": {
        "always_promote",
        "force",
        "force_rewind",
        "repmgrd_no_pause",
        "siblings_follow",
    },
    "witness register": {"dbname", "force"},
    "witness unregister": {"dbname", "force", "node_id"},
    "node status": {"csv", "is_shutdown_cleanly"},
    "node check": {
        "archive_ready",
        "csv",
        "data_directory_config",
        "db_connection",
        "downstream",
        "missing_slots",
        "nagios",
        "optformat",
        "replication_config_owner",
        "replication_lag",
        "repmgrd",
        "role",
        "slots",
        "upstream",
    },
    "node rejoin": {"config_files", "dbname", "force_rewind", "no_wait"},
    "node service": {"action", "checkpoint", "list_actions"},
    "cluster show": {"csv"},
    "cluster event": {"all", "csv", "event", "limit", "node_id"},
    "cluster cleanup": {"keep_history", "node_id"},
    "service status": {"csv"},
    "service pause": set(),
    "service unpause": set(),
}

# These take --dry-run, say that it has no effect, and do what they were to check.
DRY_RUN_EXECUTES = frozenset({"standby unregister", "cluster cleanup"})
READING = frozenset({"node status", "node check", "cluster show", "cluster event"})
READING |= {"service status"}


class Program(NamedTuple):
    """A repmgr to run, and as whom.

    binary, config
        Absolute paths of repmgr and of its configuration file.
    user
        OS user who owns the data directory; repmgr refuses to run as root.
    env
        Variables to set for it.
    """

    binary: str
    config: str
    user: str
    env: dict


class Output(NamedTuple):
    """What a command ended with and printed, without passwords."""

    code: int
    stdout: str
    stderr: str


def locate(version=None, programs=PROGRAMS):
    """Return ``(version, path)`` of the repmgr of a PostgreSQL version.

    version
        Major version of PostgreSQL; the newest one with repmgr without it.

    Raises :class:`~saltext_repmgr.utils.errors.NotInstalledError` naming the package.
    """
    if version is None:
        names = os.listdir(programs) if os.path.isdir(programs) else []
        version = max(
            (int(n) for n in names if n.isdigit() and os.path.isfile(_binary(programs, n))),
            default=None,
        )
        if version is None:
            raise NotInstalledError(
                f"repmgr is not installed (no {_binary(programs, '<version>')}): install the"
                " package postgresql-<version>-repmgr"
            )
    try:
        version = int(version)
    except (TypeError, ValueError):
        raise UsageError(
            f"version must be a major version of PostgreSQL such as 15, not {version!r}"
        ) from None
    path = _binary(programs, version)
    if not os.path.isfile(path):
        raise NotInstalledError(
            f"repmgr for PostgreSQL {version} is not installed (no {path}): install the package"
            f" postgresql-{version}-repmgr"
        )
    return version, path


def _binary(programs, version):
    return f"{programs}/{version}/bin/repmgr"


def program(binary, config=None, user=Layout.os_user, passfile=Layout.passfile):
    """Return the :class:`Program` for a repmgr and a configuration file."""
    config = config or Layout.repmgr_conf
    if not os.path.isabs(config):
        raise UsageError(f"config must be an absolute path, not {config!r}")
    env = {"HOME": os.path.expanduser(f"~{user}"), "LC_ALL": "C"}
    if os.path.isfile(passfile):
        env["PGPASSFILE"] = passfile
    return Program(binary, config, user, env)


def words(action, /, dry_run=False, **options):
    """Return the arguments of an action.

    action
        One of :data:`ACTIONS`.
    dry_run
        Add ``--dry-run``. Refused for what would be done for real all the same.
    options
        By their long names with underscores. ``None`` and ``False`` leave one out,
        ``True`` makes a flag, anything else is its value.

    Raises :class:`~saltext_repmgr.utils.errors.UsageError`.
    """
    if action not in ACTIONS:
        raise UsageError(f"repmgr has no action {action!r} that is known here")
    if dry_run and action in DRY_RUN_EXECUTES:
        raise UsageError(
            f"'repmgr {action} --dry-run' executes for real; there is no dry run of it"
        )
    if dry_run and action in READING:
        raise UsageError(f"'repmgr {action}' changes nothing; it has no dry run")
    unknown = sorted(set(options) - ACTIONS[action])
    if unknown:
        raise UsageError(f"'repmgr {action}' does not take {', '.join(unknown)}")
    arguments = action.split()
    for name, value in options.items():
        if value is None or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
            continue
        if scrub(str(value)) != str(value):
            raise UsageError(
                f"{name} holds a password, which every user of the host could read in the"
                " process list; use passfile= instead"
            )
        arguments.append(f"{option}={value}")
    return [*arguments, "--dry-run"] if dry_run else arguments


def line(prog, arguments):
    """Return the command as one would type it."""
    return scrub(shlex.join([prog.binary, "-f", prog.config, *arguments]))


def run(run_all, prog, arguments, answers=SUCCESS_ONLY, secrets=(), timeout=None):
    """Run repmgr and return its :class:`Output`.

    run_all
        Salt's ``cmd.run_all`` or a function like it.
    prog
        The :class:`Program`.
    arguments
        From :func:`words`, or a lone option such as ``--version``.
    answers
        Exit codes that are an answer, see :func:`saltext_repmgr.utils.errcodes.answers`.
    secrets
        Passwords to take out of the output wherever they appear.
    timeout
        Seconds after which the command is killed; ``None`` waits for ever.

    Raises :class:`~saltext_repmgr.utils.errors.CommandFailed` for any other code.
    """
    done = run_all(
        [prog.binary, "-f", prog.config, *arguments],
        python_shell=False,
        runas=prog.user,
        # The home of root, where a minion often is, cannot be entered by that user.
        cwd="/",
        env=prog.env,
        # An answer such as 25 must not turn the whole Salt job into a failed one.
        ignore_retcode=True,
        # What repmgr prints can hold a password and is logged before it can be scrubbed.
        output_loglevel="quiet",
        timeout=timeout,
    )
    output = Output(done["retcode"], scrub(done["stdout"], secrets), scrub(done["stderr"], secrets))
    if timeout is not None and _OVERDUE in output.stdout:
        raise CommandFailed(
            f"repmgr {_action(arguments)} was ended after {timeout} s: a server that it connects to"
            " does not answer. 'salt-run repmgr.status' shows which"
        )
    if output.code not in answers:
        raise failure(arguments, output)
    return output


def _action(arguments):
    return " ".join(word for word in arguments if not word.startswith("-")) or arguments[0]


def failure(arguments, output):
    """Return the :class:`~saltext_repmgr.utils.errors.CommandFailed` for an output."""
    name = name_of(output.code)
    lines = [f"repmgr {_action(arguments)} failed with {name} ({output.code})"]
    lines += messages.complaint(output.stderr) or split_lines(output.stderr.strip())[-3:]
    if output.code in NEXT_STEP:
        lines.append(f"Next: {NEXT_STEP[output.code]}")
    return CommandFailed("\n".join(lines), code=output.code, name=name, stderr=output.stderr)
