"""Mistakes in settings of PostgreSQL."""

from tests.malformed.base import many
from tests.malformed.base import one

SETTINGS = [
    one(
        "postgres settings a list",
        "postgres:settings",
        ["work_mem=1MB"],
        "is a list; write a mapping",
    ),
    one("setting with a capital", "postgres:settings:Work_Mem", "1MB", "write 'work_mem'"),
    one("setting with a dash", "postgres:settings:work-mem", "1MB", "write 'work_mem'"),
    one("setting nested", "postgres:settings:work_mem", {"value": 1}, "is a mapping"),
    one("setting null", "postgres:settings:work_mem", None, "is empty"),
    one(
        "setting with a line break",
        "postgres:settings:archive_command",
        "a\nb",
        "write a plain value",
    ),
    one("setting not finite", "postgres:settings:seq_page_cost", float("inf"), "is not finite"),
    one("setting a list of lists", "postgres:settings:search_path", [["a"]], "is a list with"),
    one("setting port", "postgres:settings:port", 5433, "use repmgr.postgres.port"),
    one(
        "setting data_directory",
        "postgres:settings:data_directory",
        "/x",
        "use repmgr.postgres.data_directory",
    ),
    one("setting hba_file", "postgres:settings:hba_file", "/x", "use repmgr.postgres.hba"),
    one("setting config_file", "postgres:settings:config_file", "/x", "it follows from"),
    one("setting ident_file", "postgres:settings:ident_file", "/x", "it follows from"),
    one(
        "setting primary_conninfo",
        "postgres:settings:primary_conninfo",
        "host=x",
        "repmgr writes it",
    ),
    one(
        "setting primary_slot_name", "postgres:settings:primary_slot_name", "x", "repmgr writes it"
    ),
    one(
        "setting synchronous_standby_names",
        "postgres:settings:synchronous_standby_names",
        "ANY 1 (node2)",
        "use repmgr.synchronous",
    ),
    one("setting include", "postgres:settings:include", "x.conf", "it is no setting"),
    one("wal_level minimal", "postgres:settings:wal_level", "minimal", "standbys need replica"),
    one("hot_standby off", "postgres:settings:hot_standby", False, "repmgr asks standbys"),
    one("hot_standby 'off'", "postgres:settings:hot_standby", "off", "repmgr asks standbys"),
    one("wal_log_hints off", "postgres:settings:wal_log_hints", False, "pg_rewind"),
    one("full_page_writes off", "postgres:settings:full_page_writes", False, "pg_rewind"),
    one(
        "password_encryption md5",
        "postgres:settings:password_encryption",
        "md5",
        "log in with SCRAM",
    ),
    one(
        "max_wal_senders too small",
        "postgres:settings:max_wal_senders",
        2,
        "too few for 4 members; write 5",
    ),
    one(
        "max_wal_senders a string",
        "postgres:settings:max_wal_senders",
        "many",
        "write a whole number",
    ),
    one(
        "max_replication_slots too small",
        "postgres:settings:max_replication_slots",
        0,
        "too few for 4 members",
    ),
    one(
        "listen_addresses localhost",
        "postgres:settings:listen_addresses",
        "localhost",
        "could not connect",
    ),
    one(
        "listen_addresses loopback only",
        "postgres:settings:listen_addresses",
        ["127.0.0.1", "::1"],
        "could not connect",
    ),
    one("listen_addresses empty", "postgres:settings:listen_addresses", "", "could not connect"),
    one("socket moved away", "postgres:settings:unix_socket_directories", "/tmp", "add it"),
    one(
        "recovery_target_timeline fixed",
        "postgres:settings:recovery_target_timeline",
        1,
        "write latest",
    ),
    one(
        "recovery target",
        "postgres:settings:recovery_target_time",
        "2020-01-01",
        "promote itself, remove it",
    ),
    one(
        "what follows a target",
        "postgres:settings:recovery_target_action",
        "promote",
        "promote itself, remove it",
    ),
    one(
        "a file that promotes",
        "postgres:settings:promote_trigger_file",
        "/tmp/promote",
        "promote itself, remove it",
    ),
    one(
        "archiving without command",
        "postgres:settings:archive_mode",
        True,
        "until the disk is full",
    ),
]
