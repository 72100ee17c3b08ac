"""repmgr.conf and the password file beside it."""

from saltext_repmgr.utils import quoting
from saltext_repmgr.utils import spool
from saltext_repmgr.utils.repmgr_parameters import DEFAULTS
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME

HEADER = "# Managed by Salt (saltext-repmgr); change the pillar 'repmgr' instead.\n"
CONNECT_TIMEOUT = 2
# Milliseconds. A host that is gone then costs the one second after which a first packet would
# be repeated, and not the two that are libpq's least.
TCP_USER_TIMEOUT = 1000


def conninfo(spec, node, layout, **overrides):
    """The libpq connection string by which every member reaches a node.

    layout
        A :class:`~saltext_repmgr.utils.spec.Layout`, or the class: what is used of it is
        the same on every host, as it must be.
    overrides
        Further libpq keywords, or other values for the usual ones; ``None`` leaves a
        keyword out.

    It never holds the password, which libpq reads from the password file.
    """
    values = {
        "host": node.host,
        "port": spec.postgres.port,
        "user": ROLE_NAME,
        "dbname": DATABASE_NAME,
        "connect_timeout": CONNECT_TIMEOUT,
        "tcp_user_timeout": TCP_USER_TIMEOUT,
        "passfile": layout.passfile,
        **overrides,
    }
    return connection_string(values)


def connection_string(values):
    """Return a libpq connection string of ``{keyword: value}``; None leaves a keyword out."""
    return " ".join(
        f"{name}={quoting.conninfo_value(str(value))}"
        for name, value in values.items()
        if value is not None
    )


def node_settings(spec, node, layout):
    """Every parameter for repmgr.conf on a node; those of the pillar come last and win.

    Returns a mapping of parameter to bool, int, str or a tuple of str (repeated lines).
    """
    repmgr = f"{layout.bindir}/repmgr -f {layout.repmgr_conf}"
    # -n: a missing sudo rule shall be an error, not a question nobody sees.
    systemctl = "sudo -n /usr/bin/systemctl"
    own = {
        "node_id": node.id,
        "node_name": node.name,
        "conninfo": conninfo(spec, node, layout),
        "data_directory": layout.data_directory,
        "pg_bindir": layout.bindir,
        "passfile": layout.passfile,
        "location": node.location,
        "priority": 0 if node.is_witness else node.priority,
        "promote_command": f"{repmgr} standby promote",
        "reconnect_attempts": _attempts(spec),
        "follow_command": f"{repmgr} standby follow --upstream-node-id=%n",
        "service_start_command": f"{systemctl} start {layout.service}",
        "service_stop_command": f"{systemctl} stop {layout.service}",
        "service_restart_command": f"{systemctl} restart {layout.service}",
        "service_reload_command": (
            f"/usr/bin/pg_ctlcluster {layout.version} {layout.cluster} reload"
        ),
        "event_notification_command": spool.COMMAND,
    }
    if spec.fence:
        own["failover_validation_command"] = f"{layout.guard_directory}/vote"
    return {**DEFAULTS, **own, **spec.settings}


def _attempts(spec):
    """How often repmgrd asks again before it begins an election."""
    if spec.settings.get("primary_visibility_consensus"):
        # The others have to miss the primary by then; pillar's check knows the formula.
        return 4
    # The vote asks again itself, and better.
    return 1 if spec.fence else 3


def render(settings):
    """The text of repmgr.conf with these settings, in the order of repmgr's own dump.

    Raises :class:`~saltext_repmgr.utils.errors.UsageError` for a value on several lines.
    """
    order = {name: index for index, name in enumerate(PARAMETERS)}
    lines = [HEADER]
    for name in sorted(settings, key=lambda n: (order.get(n, len(order)), n)):
        value = settings[name]
        for item in value if isinstance(value, (list, tuple)) else [value]:
            lines.append(f"{name}={_format(item)}\n")
    return "".join(lines)


def _format(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return quoting.config_string(str(value))


def pgpass(spec, passwords):
    """The libpq password file for all members, for repmgr's database and for replication.

    passwords
        ``{node name: password}``.

    It holds the password: write it with mode 0600 and never show a difference of it.
    """
    lines = []
    for node in spec.members:
        for database in (DATABASE_NAME, "replication"):
            fields = (node.host, str(spec.postgres.port), database, ROLE_NAME)
            fields += (passwords[node.name],)
            lines.append(":".join(map(quoting.pgpass_field, fields)) + "\n")
    return "".join(lines)
