"""repmgr as functions: arguments in, plain data out. The runner is passed in."""

from saltext_repmgr.utils import command
from saltext_repmgr.utils import errcodes
from saltext_repmgr.utils import messages
from saltext_repmgr.utils import parse
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.plain import plain

CHECKS = (
    "archive_ready",
    "data_directory_config",
    "db_connection",
    "downstream",
    "missing_slots",
    "replication_config_owner",
    "replication_lag",
    "repmgrd",
    "role",
    "slots",
    "upstream",
)
# It takes a second, and would wait for a server that hangs for ever.
_REGISTER_SECONDS = 30
# repmgr has no text for this one.
_OPTFORMAT_ONLY = frozenset({"replication_config_owner"})


class Client:
    """One repmgr with its configuration file.

    run_all
        Salt's ``cmd.run_all`` or a function like it.
    prog
        A :class:`~saltext_repmgr.utils.command.Program`.
    """

    def __init__(self, run_all, prog):
        self._run_all = run_all
        self._prog = prog

    def _run(self, arguments, answers=errcodes.SUCCESS_ONLY, timeout=None):
        return command.run(self._run_all, self._prog, arguments, answers, timeout=timeout)

    def _read(self, action, /, **options):
        return self._run(command.words(action, **options), errcodes.answers(action))

    def change(self, action, /, dry_run=False, **options):
        """Run an action that changes something.

        Returns ``changed``, the ``command`` and what repmgr had to say about it.
        """
        arguments = command.words(action, dry_run=dry_run, **options)
        waits = options.get("wait_sync") or options.get("wait_start")
        limited = action.endswith(" register") and not waits
        output = self._run(arguments, timeout=_REGISTER_SECONDS if limited else None)
        levels = ("NOTICE", "WARNING", "INFO", "DETAIL") if dry_run else ("NOTICE", "WARNING")
        return {
            "changed": not dry_run,
            "command": command.line(self._prog, arguments),
            "messages": messages.told(output.stderr, levels),
        }

    def version(self):
        """Return the version as text and as a number."""
        return {
            "version": parse.version(self._run(["--version"]).stdout),
            "number": parse.version_number(self._run(["--version-number"]).stdout),
            "binary": self._prog.binary,
        }

    def dump_config(self):
        """Return the settings repmgr reads from its configuration file."""
        return parse.dump_config(self._run(["--dump-config"]).stdout)

    def cluster_show(self, detail=False):
        """Return the nodes and what is wrong with them."""
        output = self._read("cluster show", csv=not detail)
        nodes = (parse.cluster_show if detail else parse.cluster_show_csv)(output.stdout)
        return {
            "healthy": output.code == errcodes.ExitCode.SUCCESS,
            "nodes": plain(nodes),
            "issues": messages.issues(output.stderr),
        }

    def cluster_event(self, **options):
        """Return events, newest first."""
        return plain(parse.cluster_event_csv(self._read("cluster event", csv=True, **options)[1]))

    def service_status(self):
        """Return the state of repmgrd on each node."""
        return plain(parse.service_status_csv(self._read("service status", csv=True).stdout))

    def node_status(self):
        """Return the state of this node."""
        output = self._read("node status", csv=True)
        healthy = output.code == errcodes.ExitCode.SUCCESS
        return {"healthy": healthy, **plain(parse.node_status_csv(output.stdout))}

    def node_check(self, check=None):
        """Return the result of one check or of all."""
        if check is None:
            # Not --csv: it leaves the upstream out and the details of lag and archiving.
            overview = parse.node_check(self._read("node check").stdout)
            return {**_result(overview.status), "checks": plain(overview.checks)}
        name = str(check).replace("-", "_")
        if name not in CHECKS:
            raise UsageError(f"there is no check {check!r}; there are: {', '.join(CHECKS)}")
        optformat = name in _OPTFORMAT_ONLY
        arguments = command.words("node check", **{name: True}, optformat=optformat)
        output = self._run(arguments, errcodes.answers("node check", single_check=True))
        read = parse.single_check_optformat if optformat else parse.single_check
        result = read(output.stdout)
        if result is None:
            raise command.failure(arguments, output)
        return {**_result(result.status), "details": result.details}

    def shutdown_state(self):
        """Return how this node was stopped."""
        output = self._read("node status", is_shutdown_cleanly=True)
        return plain(parse.shutdown_state(output.stdout))

    def service_actions(self):
        """Return the service commands repmgr would run, by their actions."""
        return parse.service_actions(
            self._run(command.words("node service", list_actions=True)).stdout
        )


def _result(status):
    return {"status": status.name, "code": int(status)}
