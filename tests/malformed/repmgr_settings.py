"""Mistakes in settings of repmgr."""

from tests.malformed.base import many
from tests.malformed.base import one

REPMGR = [
    one("settings a string", "settings", "log_level=INFO", "is a string; write a mapping"),
    one(
        "unknown parameter, similar",
        "settings:monitor_interval_sec",
        2,
        "did you mean 'monitor_interval_secs'?",
    ),
    one("unknown parameter, old name", "settings:loglevel", "INFO", "did you mean 'log_level'?"),
    one("unknown parameter, unlike any", "settings:zzz", 2, "repmgr.conf.sample"),
    one("own parameter node_id", "settings:node_id", 1, "use repmgr.nodes.<minion id>.id"),
    one("own parameter node_name", "settings:node_name", "x", "minion id"),
    one(
        "own parameter conninfo", "settings:conninfo", "host=x", "use repmgr.nodes.<minion id>.host"
    ),
    one(
        "own parameter data_directory",
        "settings:data_directory",
        "/x",
        "use repmgr.postgres.data_directory",
    ),
    one(
        "own parameter location", "settings:location", "x", "use repmgr.nodes.<minion id>.location"
    ),
    one("own parameter priority", "settings:priority", 1, "use repmgr.nodes.<minion id>.priority"),
    one("own parameter pg_bindir", "settings:pg_bindir", "/x", "repmgr.postgres.version"),
    one("own parameter passfile", "settings:passfile", "/x", "repmgr.password"),
    one("own parameter replication_type", "settings:replication_type", "physical", "remove it"),
    one("integer a string", "settings:reconnect_attempts", "6", "without quotes"),
    one("integer with a unit", "settings:reconnect_interval", "10s", "write a whole number"),
    one("integer a boolean", "settings:reconnect_attempts", True, "(a boolean)"),
    one("integer below its minimum", "settings:monitor_interval_secs", 0, "from 1"),
    one("integer above 32 bits", "settings:node_rejoin_timeout", 2**31, "to 2147483647"),
    one("child_nodes_check_interval 0", "settings:child_nodes_check_interval", 0, "from 1"),
    one("degraded_monitoring_timeout -2", "settings:degraded_monitoring_timeout", -2, "from -1"),
    one("boolean a letter", "settings:monitoring_history", "t", "write true or false"),
    one("boolean a number", "settings:monitoring_history", 2, "write true or false"),
    one("failover misspelt", "settings:failover", "automtic", "did you mean 'automatic'?"),
    one("failover a boolean", "settings:failover", False, "write one of manual, automatic"),
    one("log_level unknown", "settings:log_level", "VERBOSE", "write one of DEBUG"),
    one("log_facility unknown", "settings:log_facility", "LOCAL8", "did you mean 'LOCAL"),
    one(
        "connection_check_type unknown",
        "settings:connection_check_type",
        "pong",
        "did you mean 'ping'?",
    ),
    one("string a boolean", "settings:restore_command", True, "is a boolean; write a string"),
    one("string a list", "settings:restore_command", ["cp"], "is a list; write a string"),
    one("string with a line break", "settings:promote_command", "a\nb", "on one line"),
    one("string too long", "settings:promote_command", "x" * 1024, "1023 at most"),
    one("promote_command empty", "settings:promote_command", "", "repmgrd does not start"),
    one(
        "details in a shell",
        "settings:event_notification_command",
        '/bin/note %n %e "%d"',
        "contains '%d'",
    ),
    one(
        "name of a node in a shell",
        "settings:event_notification_command",
        "/bin/note '%a'",
        "read that text from repmgr.events or repmgr.nodes",
    ),
    one("conninfo in a shell", "settings:event_notification_command", "/bin/n %c", "'%c'"),
    one("path relative", "settings:log_file", "repmgr.log", "write an absolute path"),
    one("delay without number", "settings:recovery_min_apply_delay", "1.5h", "for example '5min'"),
    one(
        "event unknown",
        "settings:event_notifications",
        "standby_promoted",
        "did you mean 'standby_promote'?",
    ),
    one("events a mapping", "settings:event_notifications", {"a": 1}, "write a list of strings"),
    one("tablespace_mapping wrong", "settings:tablespace_mapping", "/old", "write that"),
    one(
        "archive_ready_critical too small",
        "settings:archive_ready_critical",
        16,
        "greater than archive_ready_warning, which is 16",
    ),
    one(
        "replication_lag_warning too big",
        "settings:replication_lag_warning",
        600,
        "greater than replication_lag_warning, which is 600",
        "repmgr.settings.replication_lag_critical",
    ),
    one(
        "node_rejoin_timeout too big",
        "settings:node_rejoin_timeout",
        61,
        "at least node_rejoin_timeout, which is 61",
        "repmgr.settings.standby_reconnect_timeout",
    ),
    many(
        "consensus never reached",
        {"settings:primary_visibility_consensus": True, "settings:reconnect_attempts": 3},
        "repmgr.settings.primary_visibility_consensus",
        "no fail-over happens",
    ),
    one("barman_host alone", "settings:barman_host", "backup", "write both"),
]
