"""The parameters of repmgr.conf, as of repmgr 5.2 to 5.5."""

from dataclasses import dataclass

MAX_INT = 2**31 - 1
# repmgr keeps every string in a buffer of 1024 bytes. It takes 1024 of them too, and then
# reads on into the next parameter.
MAX_BYTES = 1023


@dataclass(frozen=True)
class Parameter:
    """Type and limits of one parameter.

    kind
        ``bool``, ``int``, ``str``, ``path``, ``enum``, ``delay`` (whole number with an
        optional ms, s, min, h or d), ``events`` or ``mapping`` (``OLD=NEW`` directories).
    minimum
        Lower limit of an ``int``; the upper one is :data:`MAX_INT`.
    """

    kind: str
    default: object = ""
    minimum: int = 0
    choices: tuple[str, ...] = ()


def _bool():
    return Parameter("bool", False)


def _int(default, minimum):
    return Parameter("int", default, minimum)


def _enum(default, *choices):
    return Parameter("enum", default, choices=choices)


_STR = Parameter("str")
_PATH = Parameter("path")

# The order of `repmgr --dump-config`.
PARAMETERS = {
    "node_id": _int(None, 1),
    "node_name": _STR,
    "conninfo": _STR,
    "replication_user": _STR,
    "data_directory": _PATH,
    "config_directory": _PATH,
    "pg_bindir": _PATH,
    "repmgr_bindir": _PATH,
    "replication_type": _enum("physical", "physical"),
    "log_level": _enum(
        "INFO", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "ALERT", "CRIT", "EMERG"
    ),
    "log_facility": _enum("STDERR", "STDERR", "USER", *(f"LOCAL{n}" for n in range(8))),
    "log_file": _PATH,
    "log_status_interval": _int(300, 0),
    "use_replication_slots": _bool(),
    "pg_basebackup_options": _STR,
    "restore_command": _STR,
    "tablespace_mapping": Parameter("mapping"),
    "recovery_min_apply_delay": Parameter("delay"),
    "archive_cleanup_command": _STR,
    "use_primary_conninfo_password": _bool(),
    "passfile": _PATH,
    "pg_backupapi_backup_id": _STR,
    "pg_backupapi_host": _STR,
    "pg_backupapi_node_name": _STR,
    "pg_backupapi_remote_ssh_command": _STR,
    "promote_check_timeout": _int(60, 1),
    "promote_check_interval": _int(1, 1),
    "primary_follow_timeout": _int(60, 1),
    "standby_follow_timeout": _int(30, 1),
    "standby_follow_restart": _bool(),
    "shutdown_check_timeout": _int(60, 1),
    "standby_reconnect_timeout": _int(60, 1),
    "wal_receive_check_timeout": _int(30, 1),
    "node_rejoin_timeout": _int(60, 1),
    "archive_ready_warning": _int(16, 1),
    "archive_ready_critical": _int(128, 1),
    "replication_lag_warning": _int(300, 1),
    "replication_lag_critical": _int(600, 1),
    "witness_sync_interval": _int(15, 1),
    "failover": _enum("manual", "manual", "automatic"),
    "location": Parameter("str", "default"),
    "priority": _int(100, 0),
    "promote_command": _STR,
    "follow_command": _STR,
    "monitor_interval_secs": _int(2, 1),
    "reconnect_attempts": _int(6, 0),
    "reconnect_interval": _int(10, 0),
    "monitoring_history": _bool(),
    "degraded_monitoring_timeout": _int(-1, -1),
    "async_query_timeout": _int(60, 0),
    "primary_notification_timeout": _int(60, 0),
    "repmgrd_standby_startup_timeout": _int(60, 0),
    "repmgrd_pid_file": _PATH,
    "repmgrd_exit_on_inactive_node": _bool(),
    "standby_disconnect_on_failover": _bool(),
    "sibling_nodes_disconnect_timeout": _int(30, 0),
    "connection_check_type": _enum("ping", "ping", "connection", "query"),
    "primary_visibility_consensus": _bool(),
    "always_promote": _bool(),
    "failover_validation_command": _STR,
    "election_rerun_interval": _int(15, 1),
    # The manual allows 0 here, the program does not.
    "child_nodes_check_interval": _int(5, 1),
    "child_nodes_disconnect_min_count": _int(-1, -1),
    "child_nodes_connected_min_count": _int(-1, -1),
    "child_nodes_connected_include_witness": _bool(),
    "child_nodes_disconnect_timeout": _int(30, 0),
    "child_nodes_disconnect_command": _STR,
    "pg_ctl_options": _STR,
    "service_start_command": _STR,
    "service_stop_command": _STR,
    "service_restart_command": _STR,
    "service_reload_command": _STR,
    "service_promote_command": _STR,
    "repmgrd_service_start_command": _STR,
    "repmgrd_service_stop_command": _STR,
    "event_notification_command": _STR,
    "event_notifications": Parameter("events"),
    "barman_host": _STR,
    "barman_server": _STR,
    "barman_config": _PATH,
    "rsync_options": _STR,
    "ssh_options": Parameter("str", "-q -o ConnectTimeout=10"),
    "reconnect_loop_sync": _bool(),
    "promote_delay": _int(0, 1),
    "failover_delay": _int(0, 1),
    "connection_check_query": Parameter("str", "SELECT 1"),
}

EVENTS = (
    "cluster_created",
    "primary_register",
    "primary_unregister",
    "standby_clone",
    "standby_register",
    "standby_register_sync",
    "standby_unregister",
    "standby_promote",
    "standby_follow",
    "standby_switchover",
    "witness_register",
    "witness_unregister",
    "node_rejoin",
    "cluster_cleanup",
    "repmgrd_start",
    "repmgrd_shutdown",
    "repmgrd_reload",
    "repmgrd_config_reload",
    "repmgrd_failover_promote",
    "repmgrd_failover_follow",
    "repmgrd_failover_abort",
    "repmgrd_failover_aborted",
    "repmgrd_promote_error",
    "repmgrd_standby_reconnect",
    "repmgrd_local_disconnect",
    "repmgrd_local_reconnect",
    "repmgrd_upstream_disconnect",
    "repmgrd_upstream_reconnect",
    "standby_disconnect_manual",
    "standby_failure",
    "standby_recovery",
    "child_node_disconnect",
    "child_node_reconnect",
    "child_node_new_connect",
    "child_nodes_disconnect_command",
)

# Parameters that follow from other pillar keys, and what to do instead of setting them.
OWNED = {
    "node_id": "use repmgr.nodes.<minion id>.id",
    "node_name": "it is the minion id in repmgr.nodes",
    "conninfo": "use repmgr.nodes.<minion id>.host and repmgr.postgres.port",
    "replication_user": "it is always repmgr, remove it",
    "data_directory": "use repmgr.postgres.data_directory",
    "config_directory": "it follows from repmgr.postgres.version and repmgr.postgres.cluster",
    "pg_bindir": "it follows from repmgr.postgres.version",
    "replication_type": "repmgr knows physical only, remove it",
    "use_primary_conninfo_password": "repmgr.password is kept in a password file, remove it",
    "passfile": "repmgr.password is kept in a password file, remove it",
    "location": "use repmgr.nodes.<minion id>.location",
    "priority": "use repmgr.nodes.<minion id>.priority",
    "repmgrd_pid_file": "systemd runs repmgrd without one, remove it",
    "standby_disconnect_on_failover": (
        "it needs a superuser, which the role repmgr is not: repmgrd could not stop the WAL"
        " receivers and would wait for that before each failover, remove it"
    ),
    "sibling_nodes_disconnect_timeout": (
        "it belongs to standby_disconnect_on_failover, which needs a superuser, remove it"
    ),
    "pg_ctl_options": "the server is started through its unit and not by pg_ctl, remove it",
}

# Parameters that would take away what the fence (``repmgr.fence``) promises, each with the reason.
_UNIT = "a server that is started past its unit is started past the start check"
FENCED = {
    "failover_validation_command": "it would take the place of the vote, without which a standby"
    " is promoted beside a living primary",
    "service_start_command": _UNIT,
    "service_restart_command": _UNIT,
    "always_promote": "the vote goes by the node's own metadata, which this promotes without",
    "promote_delay": "a promotion that waits goes by a vote that is out of date",
}

# What this extension writes unless the pillar says otherwise: a fail-over within seconds.
DEFAULTS = {
    "log_level": "INFO",
    "use_replication_slots": True,
    "failover": "automatic",
    "monitor_interval_secs": 1,
    "reconnect_interval": 1,
    "election_rerun_interval": 1,
    "primary_notification_timeout": 15,
}


def effective(settings):
    """Every parameter with the value it has in the end, in the order of the table."""
    known = {name: parameter.default for name, parameter in PARAMETERS.items()}
    return {**known, **DEFAULTS, **settings}
