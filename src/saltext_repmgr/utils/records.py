"""What repmgr's output says, as types; :mod:`saltext_repmgr.utils.parse` makes them."""

from dataclasses import dataclass
from enum import Enum

from saltext_repmgr.utils.errcodes import NagiosCode


class ShutdownState(str, Enum):
    """State of a node by its control file, ``node status --is-shutdown-cleanly``."""

    #: The server runs.
    UP = "UP"
    #: The server is stopping.
    SHUTTING_DOWN = "SHUTTING_DOWN"
    #: Stopped cleanly: it can rejoin.
    SHUTDOWN = "SHUTDOWN"
    #: Stopped by a crash: it needs recovery before it can rejoin.
    UNCLEAN_SHUTDOWN = "UNCLEAN_SHUTDOWN"
    #: The data directory cannot be read.
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class NodeReach:
    """Line of ``cluster show --csv``; ``in_recovery`` is None where it is not known."""

    node_id: int
    reachable: bool
    in_recovery: bool | None


@dataclass(frozen=True)
class ShownNode:
    """Row of ``cluster show``.

    ``role`` is the registered one, ``status`` how it compares with what is found.
    """

    node_id: int
    name: str
    role: str
    status: str
    upstream: str | None
    location: str
    priority: int
    timeline: int | None
    conninfo: str


@dataclass(frozen=True)
class Event:
    """Line of ``cluster event --csv``; the timestamp is in the server's time zone."""

    node_id: int
    node_name: str
    event: str
    successful: bool
    timestamp: str


@dataclass(frozen=True)
class ServiceState:
    """Line of ``service status --csv``: repmgrd on one node.

    What is None is not known, as the node's server or its repmgrd does not run.
    ``upstream_last_seen`` is in seconds.
    """

    node_id: int
    node_name: str
    type: str
    postgres_running: bool
    repmgrd_running: bool | None
    repmgrd_pid: int | None
    paused: bool | None
    priority: int
    upstream_last_seen: int | None
    location: str


@dataclass(frozen=True)
class NodeStatus:
    """``node status --csv``.

    ``replication_lag`` is in seconds; what is None does not apply to the node or could
    not be found out. Counts of slots are of physical ones.
    """

    node_name: str
    node_id: int
    postgres_version: str
    size: str
    conninfo: str
    role: str
    archiving: str
    archive_command: str | None
    archive_pending: int | None
    upstream: str | None
    upstream_id: int | None
    replication_lag: int | None
    received_lsn: str | None
    replayed_lsn: str | None
    max_wal_senders: int
    occupied_wal_senders: int
    max_replication_slots: int
    active_replication_slots: int
    inactive_replication_slots: tuple[str, ...]
    missing_replication_slots: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """Result of a check; ``details`` is None where the output has none."""

    status: NagiosCode
    details: str | None = None


@dataclass(frozen=True)
class NodeCheck:
    """Overview of ``node check``: the checks by their names in the output, in its order."""

    node_name: str | None
    node_id: int | None
    checks: dict[str, Check]

    @property
    def status(self):
        """The worst of the checks; UNKNOWN is worse than OK only."""
        order = (NagiosCode.OK, NagiosCode.UNKNOWN, NagiosCode.WARNING, NagiosCode.CRITICAL)
        return max((check.status for check in self.checks.values()), key=order.index)


@dataclass(frozen=True)
class Shutdown:
    """``node status --is-shutdown-cleanly``; the LSN is there for SHUTDOWN only."""

    state: ShutdownState
    last_checkpoint_lsn: str | None = None
