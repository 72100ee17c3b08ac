"""Reads what repmgr prints on stdout, 5.2 to 5.5, into :mod:`saltext_repmgr.utils.records`.

Nothing here runs anything. What is not known raises
:class:`~saltext_repmgr.utils.errors.ParseError` with the offending line. repmgr neither
quotes nor escapes what it puts into its CSV, so no CSV reader understands it.
"""

import re

from saltext_repmgr.utils.errcodes import NagiosCode
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.records import Check
from saltext_repmgr.utils.records import Event
from saltext_repmgr.utils.records import NodeCheck
from saltext_repmgr.utils.records import NodeReach
from saltext_repmgr.utils.records import NodeStatus
from saltext_repmgr.utils.records import ServiceState
from saltext_repmgr.utils.records import ShownNode
from saltext_repmgr.utils.records import Shutdown
from saltext_repmgr.utils.records import ShutdownState

NO_EVENTS = "no matching events found"
_USAGE_HINT = 'Try "repmgr'

_FLAG = {"0": False, "1": True}
_FLAG_OR_UNKNOWN = {**_FLAG, "-1": None}
_AVAILABILITY = {"0": True, "-1": False}


def cluster_show_csv(text):
    """Return ``[NodeReach]`` of ``cluster show --csv``."""
    nodes = []
    for row in _lines(text):
        with _Line(row):
            node_id, available, recovery = row.split(",")
            nodes.append(
                NodeReach(int(node_id), _AVAILABILITY[available], _FLAG_OR_UNKNOWN[recovery])
            )
    return nodes


def cluster_show(text):
    """Return ``[ShownNode]`` of ``cluster show``."""
    nodes = []
    rows = _lines(text)
    if len(rows) < 2 or rows[0].split()[:1] != ["ID"] or not rows[1].startswith("---"):
        raise ParseError(f"this is not the table of 'repmgr cluster show': {text.strip()!r}")
    for row in rows[2:]:
        with _Line(row):
            # The connection string is the last cell and may hold anything.
            cells = [cell.strip() for cell in row.split("|", 8)]
            node_id, name, role, status, upstream, location, priority, timeline, conninfo = cells
            nodes.append(
                ShownNode(
                    int(node_id),
                    name,
                    role,
                    status,
                    upstream or None,
                    location,
                    int(priority),
                    int(timeline) if timeline not in ("", "?", "n/a") else None,
                    conninfo,
                )
            )
    return nodes


def cluster_event_csv(text):
    """Return ``[Event]`` of ``cluster event --csv``, newest first."""
    events = []
    for row in _lines(text):
        # Printed to stdout, in CSV as well, where there is no event.
        if row == NO_EVENTS:
            continue
        with _Line(row):
            node_id, name, event, successful, timestamp = row.split(",")
            events.append(
                Event(int(node_id), name, event, {"t": True, "f": False}[successful], timestamp)
            )
    return events


def service_status_csv(text):
    """Return ``[ServiceState]`` of ``service status --csv``."""
    services = []
    for row in _lines(text):
        with _Line(row):
            node_id, name, kind, running, repmgrd, pid, paused, priority, seen, place = row.split(
                ","
            )
            services.append(
                ServiceState(
                    int(node_id),
                    name,
                    kind,
                    _FLAG[running],
                    _FLAG_OR_UNKNOWN[repmgrd],
                    _unless_minus_one(pid),
                    _FLAG_OR_UNKNOWN[paused],
                    int(priority),
                    _unless_minus_one(seen),
                    place,
                )
            )
    return services


_STATUS_FIELDS = {
    "Node name": "node_name",
    "Node ID": "node_id",
    "PostgreSQL version": "postgres_version",
    "Total data size": "size",
    "Conninfo": "conninfo",
    "Role": "role",
    "WAL archiving": "archiving",
    "Archive command": "archive_command",
    "WALs pending archiving": "archive_pending",
    "Upstream node": "upstream",
    "Replication lag": "replication_lag",
    "Last received LSN": "received_lsn",
    "Last replayed LSN": "replayed_lsn",
}
# Their numbers follow once more, in lines of their own.
_STATUS_SUMMARIES = ("Replication connections", "Replication slots")
_STATUS_NUMBERS = (
    "max_wal_senders",
    "occupied_wal_senders",
    "max_replication_slots",
    "active_replication_slots",
)
_STATUS_SLOTS = ("inactive_replication_slots", "missing_replication_slots")
_STATUS_INTEGERS = ("node_id", "archive_pending")


def node_status_csv(text):
    """Return the :class:`NodeStatus` of ``node status --csv``."""
    fields = {"archive_pending": None, "upstream_id": None}
    for row in _lines(text):
        with _Line(row):
            key, _, rest = row.removeprefix('"').partition('",')
            if key in _STATUS_SUMMARIES:
                continue
            if key in _STATUS_NUMBERS:
                fields[key] = int(rest)
            elif key in _STATUS_SLOTS:
                count, *names = rest.split(",")
                fields[key] = tuple(name.strip('"') for name in names)
                if len(names) != int(count):
                    raise ValueError(f"{count} announced")
            else:
                fields.update(_status_field(_STATUS_FIELDS[key], _unquoted(rest)))
    try:
        return NodeStatus(**fields)
    except TypeError as err:
        raise ParseError(f"'repmgr node status --csv' is not complete: {err}") from None


def _status_field(name, value):
    if name == "upstream" and value != "(none)":
        match = re.fullmatch(r"(.*) \(ID: (\d+)\)", value)
        return {name: match[1], "upstream_id": int(match[2])}
    if name == "replication_lag":
        return {name: None if value == "n/a" else int(value.removesuffix(" seconds"))}
    if name in _STATUS_INTEGERS:
        return {name: int(value)}
    return {name: None if value == "(none)" else value}


def node_check_csv(text):
    """Return the :class:`NodeCheck` of ``node check --csv``.

    repmgr leaves the check of the upstream out of it, yet lets it decide the exit code:
    :func:`node_check` reads the form that has it.
    """
    name = node_id = None
    checks = {}
    for row in _lines(text):
        with _Line(row):
            item, rest = re.fullmatch(r'"([^"]*)",(.*)', row).groups()
            if item == "Node name":
                name = _unquoted(rest)
            elif item == "Node ID":
                node_id = int(_unquoted(rest))
            else:
                status, _, details = _unquoted(rest).partition('","')
                checks[item] = Check(NagiosCode[status], details or None)
    return _complete(NodeCheck(name, node_id, checks), text)


def node_check(text):
    """Return the :class:`NodeCheck` of ``node check``; the text does not name the node's id."""
    name = None
    checks = {}
    for row in _lines(text):
        with _Line(row):
            if not row.startswith("\t"):
                name = re.fullmatch(r'Node "(.*)":', row)[1]
            else:
                item, _, result = row.strip().partition(": ")
                checks[item] = _check(result)
    return _complete(NodeCheck(name, None, checks), text)


def _complete(overview, text):
    if overview.node_name is None or not overview.checks:
        raise ParseError(f"'repmgr node check' is not complete: {text.strip()!r}")
    return overview


def _check(text):
    status, details = re.fullmatch(r"([A-Z]+) \((.*)\)", text).groups()
    # The lag's details end with a bracket that was never opened.
    if details.count(")") > details.count("("):
        details = details.removesuffix(")")
    return Check(NagiosCode[status], details or None)


def single_check(text):
    """Return the :class:`Check` of ``node check`` with one check, text or ``--nagios``.

    None where the check was not made. The exit code does not tell: repmgr's BAD_CONFIG
    and Nagios' WARNING are both 1.
    """
    rows = _lines(text)
    # An option this repmgr does not have makes it print where there is help.
    if not rows or rows[0].startswith(_USAGE_HINT):
        return None
    with _Line(rows[0]):
        match = re.fullmatch(r"(REPMGR[A-Z_]*) ([A-Z]+): (.*?)(?: \| .*| \| ?)?", rows[0])
        if match:
            return Check(NagiosCode[match[2]], match[3] or None)
        return _check(rows[0])


def options(text):
    """Return ``{name: value}`` of a line such as ``--state=SHUTDOWN --last-checkpoint-lsn=0/1``.

    It is what ``node check --optformat`` and some other commands print; ``{}`` where
    they have nothing to say.
    """
    found = {}
    for row in _lines(text):
        if row.startswith(_USAGE_HINT):
            continue
        with _Line(row):
            for word in row.split():
                found.update([re.fullmatch(r"--([a-z-]+)=(.*)", word).groups()])
    return found


def single_check_optformat(text):
    """Return the :class:`Check` of ``node check --optformat``, None where it was not made."""
    found = options(text)
    if not found or "error" in found:
        return None
    with _Line(text.strip()):
        # The status is the first: --status=OK --lag=0, --repmgrd=OK.
        status, *rest = found.items()
        return Check(NagiosCode[status[1]], " ".join(f"{k}={v}" for k, v in rest) or None)


def shutdown_state(text):
    """Return the :class:`Shutdown` of ``node status --is-shutdown-cleanly``."""
    found = options(text)
    with _Line(text.strip()):
        return Shutdown(ShutdownState(found["state"]), found.get("last-checkpoint-lsn"))


def service_actions(text):
    """Return ``{action: command}`` of ``node service --list-actions``."""
    actions = {}
    for row in _lines(text)[1:]:
        with _Line(row):
            action, command = re.fullmatch(r'\s*([a-z]+): "(.*)"', row).groups()
            actions[action] = command
    if not actions:
        raise ParseError(f"this is no list of service commands: {text.strip()!r}")
    return actions


def dump_config(text):
    """Return ``{name: value}`` of ``--dump-config``, all values as text.

    repmgr prints the line feeds of a value as they are.
    """
    settings = {}
    name = None
    for row in _lines(text):
        match = re.fullmatch(r"([a-z_]+)\|(.*)", row)
        if match:
            name = match[1]
            settings[name] = match[2]
        elif name:
            settings[name] += f"\n{row}"
        else:
            with _Line(row):
                raise ValueError(row)
    if not settings:
        raise ParseError("'repmgr --dump-config' printed nothing")
    return settings


def version(text):
    """Return the version in ``repmgr 5.3.3``, the output of ``--version``."""
    with _Line(text.strip()):
        return re.fullmatch(r"repmgr (\d+\.\S+)", text.strip())[1]


def version_number(text):
    """Return the output of ``--version-number`` as a number: 50303 for 5.3.3."""
    with _Line(text.strip()):
        return int(text)


def _lines(text):
    return [row for row in split_lines(text) if row.strip()]


def _unquoted(field):
    if len(field) < 2 or field[0] != '"' or field[-1] != '"':
        raise ValueError("not quoted")
    return field[1:-1]


def _unless_minus_one(number):
    return None if number == "-1" else int(number)


class _Line:
    """Context in which what goes wrong becomes a ParseError about the line."""

    def __init__(self, row):
        self.row = row

    def __enter__(self):
        return self

    def __exit__(self, kind, err, traceback):
        if isinstance(err, (ValueError, KeyError, TypeError, AttributeError)):
            raise ParseError(f"repmgr printed something unknown: {self.row!r}") from err
