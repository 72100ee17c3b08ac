"""Exit codes of repmgr, and which of them are an answer rather than a failure.

The numbers are those of repmgr's ``errcode.h``, the same from 5.2 to 5.5.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What repmgr ended with."""

    #: Done, or nothing wrong found.
    SUCCESS = 0
    #: Wrong configuration or arguments, run as root, and most prerequisites not met.
    BAD_CONFIG = 1
    #: Copying configuration files outside the data directory failed.
    BAD_RSYNC = 2
    #: repmgrd could not use its PID file.
    BAD_PIDFILE = 3
    #: PostgreSQL did not start or restart.
    NO_RESTART = 4
    #: The service command of ``node service`` failed.
    LOCAL_COMMAND = 5
    #: No connection to a server that was needed, be it the local one.
    DB_CONN = 6
    #: Reading or writing repmgr's tables failed.
    DB_QUERY = 7
    #: The node was not promoted.
    PROMOTION_FAIL = 8
    #: repmgrd gave up after degraded_monitoring_timeout.
    MONITORING_TIMEOUT = 9
    #: A string was longer than repmgr's buffer.
    STR_OVERFLOW = 10
    #: Never returned.
    FAILOVER_FAIL = 11
    #: A node could not be reached with SSH.
    BAD_SSH = 12
    #: repmgrd could not fork.
    SYS_FAILURE = 13
    #: pg_basebackup failed, or the copy did not pass pg_verifybackup.
    BAD_BASEBACKUP = 14
    #: A case repmgr did not expect.
    INTERNAL = 15
    #: Never returned.
    MONITORING_FAIL = 16
    #: Never returned.
    BAD_BACKUP_LABEL = 17
    #: The switchover was stopped before anything was promoted.
    SWITCHOVER_FAIL = 18
    #: Cloning from Barman failed.
    BARMAN = 19
    #: The record is written but was not seen on the standby in time.
    REGISTRATION_SYNC = 20
    #: Out of memory.
    OUT_OF_MEMORY = 21
    #: The new primary is promoted, the old one did not rejoin: repair, do not repeat.
    SWITCHOVER_INCOMPLETE = 22
    #: The standby does not follow the wanted node.
    FOLLOW_FAIL = 23
    #: The node was not brought back, or is not attached.
    REJOIN_FAIL = 24
    #: The question was answered, and something is not as it should be.
    NODE_STATUS = 25
    #: At least one repmgrd could not be paused or unpaused; the others were.
    REPMGRD_PAUSE = 26
    #: repmgrd did not start or stop, or was already running or stopped.
    REPMGRD_SERVICE = 27
    #: Cloning through pg-backup-api failed (5.4 and later).
    PGBACKUPAPI = 28


class NagiosCode(IntEnum):
    """What one single ``node check`` ended with; shares its numbers with ExitCode."""

    #: As it should be.
    OK = 0
    #: A threshold for warnings is passed.
    WARNING = 1
    #: Wrong, or a critical threshold is passed.
    CRITICAL = 2
    #: Could not be found out.
    UNKNOWN = 3


#: What an action that changes something answers.
SUCCESS_ONLY = frozenset({ExitCode.SUCCESS})

#: Actions that end with NODE_STATUS when they could tell that something is wrong.
REPORTING_ACTIONS = frozenset(
    {"cluster show", "cluster matrix", "cluster crosscheck", "node status", "node check"}
)

#: What to do about a code, where that follows from the code alone.
NEXT_STEP = {
    ExitCode.DB_CONN: "see whether PostgreSQL runs there and lets the repmgr role in",
    ExitCode.DB_QUERY: "see whether the repmgr role has its rights on the schema repmgr",
    ExitCode.REGISTRATION_SYNC: "the node is registered; see why it does not replicate",
    ExitCode.SWITCHOVER_FAIL: "run repmgr.service_unpause: repmgrd may be left paused",
    ExitCode.SWITCHOVER_INCOMPLETE: (
        "do not repeat the switchover: run repmgr.node_rejoin on the old primary, "
        "then repmgr.service_unpause"
    ),
    ExitCode.REJOIN_FAIL: "see the PostgreSQL log of the node; it may need force_rewind or a clone",
    ExitCode.REPMGRD_PAUSE: "the other nodes were changed; see repmgr.service_status",
}


def name_of(code):
    """Name of an exit code, ``UNKNOWN`` for one repmgr does not have."""
    try:
        return ExitCode(code).name
    except ValueError:
        return "UNKNOWN"


def answers(action, single_check=False):
    """Exit codes with which ``action`` has answered; any other one is a failure.

    action
        The words of the action, for example ``cluster show``.

    single_check
        True for ``node check`` with one check. Its codes 1 to 3 can mean a failure as
        well, only the output tells: see :func:`saltext_repmgr.utils.parse.single_check`.
    """
    if single_check:
        return frozenset(NagiosCode)
    if action in REPORTING_ACTIONS:
        return frozenset({ExitCode.SUCCESS, ExitCode.NODE_STATUS})
    return SUCCESS_ONLY
