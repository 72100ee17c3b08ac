"""What the administrator wants, as read from pillar, and the paths that follow from it."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from enum import Enum

ROLE_NAME = "repmgr"
DATABASE_NAME = "repmgr"
# PgBouncer's own role, and the database from which it looks at the servers.
ROUTER_ROLE = "pgbouncer"
ROUTER_DATABASE = "postgres"
# Stands in for it while its password is changed.
ROUTER_DETOUR = "pgbouncer_detour"


class Role(str, Enum):
    """Role of a node; in pillar it matters for the first run only."""

    PRIMARY = "primary"
    STANDBY = "standby"
    WITNESS = "witness"


@dataclass(frozen=True)
class NodeSpec:
    """One entry of ``repmgr:nodes``; ``name`` is the minion id and repmgr's node_name."""

    name: str
    id: int
    host: str
    role: Role = Role.STANDBY
    priority: int = 100
    location: str = "default"
    upstream: str | None = None
    address: str | None = None
    absent: bool = False

    @property
    def is_witness(self):
        return self.role is Role.WITNESS

    @property
    def slot(self):
        """Name of its replication slot, as repmgr makes it."""
        return f"repmgr_slot_{self.id}"


@dataclass(frozen=True)
class PostgresSpec:
    """``repmgr:postgres``; ``None`` means: the default of the host's release."""

    version: int | None = None
    cluster: str = "main"
    port: int = 5432
    data_directory: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    hba: tuple = ()


@dataclass(frozen=True)
class PgBouncerSpec:
    """``repmgr:pgbouncer``; ``hosts`` is empty where every data node has one."""

    password: str = field(repr=False)
    databases: tuple[str, ...] = ()
    hosts: Mapping[str, str | None] = field(default_factory=dict)
    port: int = 6432
    read_only: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def waits(self):
        """Whether clients can be held back while the primary is moved: in session pools each has a
        server of its own for as long as it is connected."""
        return self.settings.get("pool_mode", "session") != "session"


@dataclass(frozen=True)
class ClusterSpec:
    """A whole ``repmgr`` pillar, validated."""

    cluster: str
    subnets: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    nodes: Mapping[str, NodeSpec]
    password: str = field(repr=False)
    postgres: PostgresSpec = PostgresSpec()
    settings: Mapping[str, object] = field(default_factory=dict)
    force: bool = False
    fence: bool = True
    failover_after: int = 4
    synchronous: int | tuple[str, ...] = 0
    rejoin: str = "ask"
    manage_hosts: bool = False
    history_days: int = 30
    ssh: Mapping[str, str] | None = field(default=None, repr=False)
    pgbouncer: PgBouncerSpec | None = None

    @property
    def routers(self):
        """``{minion id: name or address}`` of the hosts where PgBouncer runs."""
        if self.pgbouncer is None:
            return {}
        hosts = self.pgbouncer.hosts or {n.name: None for n in self.data_nodes}
        nodes = {n.name: n.address or n.host for n in self.members}
        return {name: address or nodes[name] for name, address in hosts.items()}

    @property
    def minions(self):
        """Minion ids of all members, and of the hosts where PgBouncer runs."""
        return tuple(dict.fromkeys([*(n.name for n in self.members), *self.routers]))

    @property
    def members(self):
        """Nodes that shall be in the cluster, in the order of their ids."""
        return tuple(sorted((n for n in self.nodes.values() if not n.absent), key=lambda n: n.id))

    @property
    def data_nodes(self):
        """Members that carry the data, that is all but the witness."""
        return tuple(n for n in self.members if not n.is_witness)

    @property
    def absent_nodes(self):
        """Nodes that shall leave, or have left."""
        return tuple(n for n in self.nodes.values() if n.absent)

    @property
    def bootstrap_primary(self):
        """The node that becomes the primary where no cluster exists yet."""
        return next(n for n in self.members if n.role is Role.PRIMARY)


@dataclass(frozen=True)
class Layout:
    """Where things lie on one Debian host.

    The paths are those of Debian's postgresql-common: one configuration directory a
    cluster below /etc/postgresql, programs below /usr/lib/postgresql.
    """

    version: int
    cluster: str = "main"
    data_directory: str = ""

    def __post_init__(self):
        if not self.data_directory:
            object.__setattr__(
                self, "data_directory", f"/var/lib/postgresql/{self.version}/{self.cluster}"
            )

    os_user = "postgres"
    socket_directory = "/var/run/postgresql"
    repmgr_conf = "/etc/repmgr.conf"
    passfile = "/etc/repmgr/pgpass"
    guard_conf = "/etc/repmgr/guard.json"
    guard_directory = "/usr/local/lib/repmgr-guard"
    guard_state = "/var/lib/repmgr-guard"
    clone_state = "/var/lib/repmgr-clone"

    @property
    def bindir(self):
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def config_directory(self):
        return f"/etc/postgresql/{self.version}/{self.cluster}"

    @property
    def settings_file(self):
        return f"{self.config_directory}/conf.d/90-repmgr.conf"

    @property
    def start_file(self):
        """Debian's file that says whether the server is started at boot."""
        return f"{self.config_directory}/start.conf"

    @property
    def service(self):
        return f"postgresql@{self.version}-{self.cluster}"

    @property
    def clone_unit(self):
        return f"repmgr-clone-{self.version}-{self.cluster}"

    @property
    def clone_marker(self):
        """File that exists while a clone is unfinished, in a directory of root's."""
        return f"{self.clone_state}/{self.version}-{self.cluster}.json"

    @property
    def clone_log(self):
        """File that holds what the last clone said."""
        return f"{self.clone_state}/{self.version}-{self.cluster}.log"

    @property
    def former_clone_marker(self):
        """The same of former releases, which the postgres user can make as well."""
        return f"{self.data_directory}.repmgr-clone"
