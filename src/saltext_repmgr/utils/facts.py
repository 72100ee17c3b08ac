"""What was seen: plain facts about a node, gathered in one place and decided on in another.

Every class here survives the way over Salt's bus: :func:`to_dict` and :func:`from_dict`
are inverse. System identifiers are strings, since they exceed what JSON keeps exact.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

# PostgreSQL gives the first object that a user creates this OID (FirstNormalObjectId in
# access/transam.h) and never goes back below it.
FIRST_USER_OID = 16384

# A standby must have at least as much of these as its primary runs with (PostgreSQL manual, "Hot
# Standby", Administrator's Overview).
LIMITS = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)


class Reach(str, Enum):
    """How far an attempt to ask a server got."""

    ANSWERED = "answered"
    REJECTED = "rejected"  # a server is there and does not let us in
    REFUSED = "refused"  # the host answers, nothing listens on the port
    UNREACHABLE = "unreachable"  # no name, no route, no answer in time


class Content(str, Enum):
    """What lies in a data directory."""

    ABSENT = "absent"
    EMPTY = "empty"
    FILES = "files"  # something, but no PostgreSQL data directory
    POSTGRES = "postgres"


@dataclass(frozen=True)
class ControlFile:
    """What the control file of a data directory says."""

    system_identifier: str
    state: str
    timeline: int
    next_oid: int
    next_xid: int  # with its epoch in the upper 32 bits
    checkpoint: str
    checksums: bool
    segment_size: int = 2**24  # of WAL, in bytes
    # Of LIMITS, what a server needs at least to replay this data.
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def clean(self):
        """Whether the server was shut down in good order."""
        return self.state in ("shut down", "shut down in recovery")

    @property
    def untouched(self):
        """Whether nobody ever created anything: proven by the OID counter of a clean stop."""
        return self.state == "shut down" and self.timeline == 1 and self.next_oid < FIRST_USER_OID


@dataclass(frozen=True)
class DataDirectory:
    """A data directory, seen from the file system."""

    path: str
    content: Content
    control: ControlFile | None = None
    standby: bool = False  # standby.signal is there
    backup_label: bool = False
    unfinished_clone: bool = False  # the marker of a clone of ours is there
    mount_point: bool = False
    slots: tuple[str, ...] = ()
    tablespaces: int = 0


@dataclass(frozen=True)
class Drained:
    """That a node is out of service on purpose."""

    since: float  # seconds since the epoch
    by: str
    reason: str = ""


@dataclass(frozen=True)
class NodeRecord:
    """A row of ``repmgr.nodes``."""

    node_id: int
    node_name: str
    type: str
    upstream_node_id: int | None
    active: bool
    location: str
    priority: int
    conninfo: str
    slot_name: str | None
    config_file: str
    drained: Drained | None = None  # as the history says, unless it was registered since


@dataclass(frozen=True)
class Sender:
    """A row of ``pg_stat_replication``; the lags are in seconds, None where nothing is measured."""

    application_name: str
    state: str | None
    sent_lsn: str | None
    replay_lsn: str | None
    sync_state: str | None
    write_lsn: str | None = None
    flush_lsn: str | None = None
    write_lag: float | None = None
    flush_lag: float | None = None
    replay_lag: float | None = None


@dataclass(frozen=True)
class Slot:
    """A row of ``pg_replication_slots``; temporary ones, which end with their session, are none."""

    slot_name: str
    slot_type: str
    active: bool
    restart_lsn: str | None = None
    retained_bytes: int | None = None  # WAL kept for it
    wal_status: str | None = None
    application_name: str | None = None  # of the sender that uses it


@dataclass(frozen=True)
class Override:
    """A line of another file that outranks one of ours."""

    name: str
    value: str
    file: str
    line: int


@dataclass(frozen=True)
class Configuration:
    """What the configuration files of a server say besides our settings file.

    others
        The settings that :mod:`saltext_repmgr.utils.existing` knows, as the other files have them.
    altered
        Those of ``others`` that come from ALTER SYSTEM.
    overrides
        The lines that outrank lines of our file.
    included
        Whether the server reads our file, if there is one.
    """

    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    altered: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    included: bool = True


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that answered."""

    system_identifier: str
    in_recovery: bool
    timeline: int
    lsn: str | None  # written, or received in recovery
    started: str
    version: int  # server_version_num
    clients: int = 0
    next_xid: int = 0  # the transaction that is next, with its epoch in the upper 32 bits
    user_objects: bool | None = None  # None: not looked for
    receiver: str | None = None  # state of the WAL receiver
    upstream_host: str | None = None  # what it streams from, or is configured to
    upstream_port: int | None = None
    # How a standby calls itself where it streams from, with which password file and which slot.
    sends_as: str | None = None
    passfile: str | None = None
    slot_used: str | None = None
    senders: tuple[Sender, ...] = ()
    nodes: tuple[NodeRecord, ...] | None = None  # None: no repmgr metadata
    slots: tuple[Slot, ...] = ()
    replay_lsn: str | None = None  # in recovery, as the two below
    replay_age: float | None = None  # seconds since the last replayed transaction was committed
    replay_paused: bool | None = None
    apply_delay: int = 0  # recovery_min_apply_delay, in milliseconds
    oldest_wal: str | None = None  # LSN where the WAL begins that a primary still has
    has_archive: bool = False  # it can fetch WAL with a restore_command
    max_wal_senders: int = 0
    max_replication_slots: int = 0
    max_slot_wal: int | None = None  # max_slot_wal_keep_size in MB; -1: a slot keeps all
    archive_failing: str | None = None  # the WAL file that the archive_command last failed with
    archive_waiting: int = 0  # WAL files that are still to be archived
    repmgrd_pid: int | None = None  # of the daemon, while it runs
    repmgrd_paused: bool | None = None
    watched: int | None = None  # id of the node that the daemon watches, -1: of none
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)  # LIMITS, as it runs
    # LIMITS as other files than ours say; asked of this node's own server only.
    other_limits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    pending: tuple[str, ...] = ()  # settings that wait for a restart
    synchronous: str | None = None  # synchronous_standby_names, as it runs
    # What a default must not lower (utils/existing.py), as it runs.
    kept: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Asked of this node's own server only.
    configuration: Configuration = Configuration()
    extension: str | None = None  # version of repmgr's extension in the metadata database
    extension_offered: str | None = None  # the one that the installed packages bring

    @property
    def outgrown(self):
        """Whether the installed packages bring a newer extension: repmgrd does not run with it."""
        return self._step() > 0

    @property
    def out_of_step(self):
        """Whether they bring another one, newer or older."""
        return self._step() != 0

    def _step(self):
        if self.extension is None or self.extension_offered is None:
            return 0
        installed, offered = _numbers(self.extension), _numbers(self.extension_offered)
        return (offered > installed) - (offered < installed)

    def record(self, node_id):
        """Return this server's own row about ``node_id``, or None."""
        return next((r for r in self.nodes or () if r.node_id == node_id), None)

    def slot(self, name):
        """Return the physical slot of that name, or None."""
        return next((s for s in self.slots if s.slot_name == name), None)


@dataclass(frozen=True)
class Repmgrd:
    """The daemon, by what it does and not by what its unit says."""

    unit: str = "unknown"  # systemd's ActiveState
    pid: int | None = None  # of the unit
    started: float = 0  # of the process, in seconds since the epoch
    attached: bool | None = None  # the server knows the daemon's pid; None: server not asked
    paused: bool | None = None
    loaded: float = 0  # when it was last started or told to read its configuration again


@dataclass(frozen=True)
class Guard:
    """The guard of this node, by what it wrote last (docs/design-failover.md)."""

    unit: str = "unknown"  # systemd's ActiveState
    pid: int | None = None  # of the unit
    started: float = 0  # of the process, in seconds since the epoch
    attached: bool = False  # what it wrote is of the process that runs
    state: str = ""  # idle, guarding, frozen, killed or down
    reason: str = ""
    since: float = 0  # when it came into that state, in seconds since the epoch
    paused_until: float | None = None  # when repmgrd's pause ends


@dataclass(frozen=True)
class Through:
    """A database as a client of PgBouncer finds it."""

    in_recovery: bool | None = None  # None: no answer
    ready: bool | None = None  # its clients can prove who they are
    error: str = ""


@dataclass(frozen=True)
class Router:
    """The PgBouncer of a host and the daemon that has it follow the primary."""

    name: str
    installed: bool
    unit: str = "unknown"  # systemd's ActiveState of PgBouncer
    daemon: Guard = Guard()  # the router's; its state is "holds" while it has clients wait
    hosts: tuple[str, ...] = ()  # where PgBouncer leads those who write
    points_to: str | None = None  # the node that is
    paused: bool = False
    held: bool = False  # the daemon has clients wait, for some seconds
    error: str = ""  # why PgBouncer's console does not answer
    databases: Mapping[str, Through] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """Another member, as this node reaches it."""

    reach: Reach
    detail: str = ""
    server: Server | None = None


@dataclass(frozen=True)
class Passwords:
    """How far pillar's passwords are in force, as one host sees it.

    role, router_role
        Whether its own server takes pillar's for repmgr's role, and for PgBouncer's; None: there is
        no server to ask, or no such role.
    stale
        Names of the members for which its password file has another.
    router_stale
        Whether PgBouncer's files have another.
    detour
        Whether its own server, a primary, has the role that exists only during a change of
        PgBouncer's.
    digest
        What hosts with the same passwords in pillar say alike.
    """

    role: bool | None = None
    stale: tuple[str, ...] = ()
    router_role: bool | None = None
    router_stale: bool = False
    detour: bool = False
    digest: str = ""

    @property
    def due(self):
        """Whether repmgr's is to be changed, seen from here."""
        return self.role is False or bool(self.stale)

    @property
    def router_due(self):
        """Whether PgBouncer's is to be changed, seen from here."""
        return self.router_role is False or self.router_stale


@dataclass(frozen=True)
class Observation:
    """All that one node can say about itself and the other members."""

    node: str
    version: int  # of PostgreSQL, wanted
    installed: bool
    configured: bool  # Debian's configuration directory exists
    member: bool  # our settings fragment is in it: the node was accepted before
    data: DataDirectory
    running: bool
    cloning: bool = False
    server: Server | None = None
    server_error: str = ""
    repmgrd: Repmgrd = Repmgrd()
    guard: Guard = Guard()
    members: Mapping[str, Member] = dataclasses.field(default_factory=dict)
    drained: Drained | None = None
    replaced: tuple[str, ...] = ()  # programs that run and whose files are others by now

    @property
    def untouched(self):
        """Whether the data directory holds what initdb left there and nothing else."""
        data = self.data
        if data.content is not Content.POSTGRES or data.standby or data.slots or data.tablespaces:
            return False
        if self.running:
            return self.server is not None and self.server.user_objects is False
        return data.control is not None and data.control.untouched

    def unwritten(self, control):
        """Whether nothing was written between this observation of a running server and the
        clean stop that left ``control``: no transaction took a number."""
        return control.state == "shut down" and control.next_xid == self.server.next_xid


def _numbers(version):
    return tuple(int(number) for number in re.findall(r"\d+", version))


def to_dict(fact):
    """Return a fact as plain dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(fact):
        return {f.name: to_dict(getattr(fact, f.name)) for f in dataclasses.fields(fact)}
    if isinstance(fact, Enum):
        return fact.value
    if isinstance(fact, Mapping):
        return {key: to_dict(value) for key, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [to_dict(value) for value in fact]
    return fact


def from_dict(cls, data):
    """Rebuild a fact of class ``cls`` from what :func:`to_dict` made of it.

    Fields that this version does not know are dropped, so that a master and a minion
    with neighbouring versions of the extension understand each other.
    """
    hints = typing.get_type_hints(cls)
    return cls(
        **{name: _rebuild(hints[name], value) for name, value in data.items() if name in hints}
    )


def _rebuild(hint, value):
    if value is None:
        return None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _rebuild(next(a for a in args if a is not types.NoneType), value)
    if origin is tuple:
        return tuple(_rebuild(args[0], v) for v in value)
    if origin is Mapping:
        return {k: _rebuild(args[1], v) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return value
