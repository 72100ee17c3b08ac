"""A cluster as repmgr's manual has people make it by hand; nothing of the extension is in it."""

from tests.integration.support import Cluster

SERVER = """\
listen_addresses = '*'
wal_level = replica
hot_standby = on
max_wal_senders = 10
max_replication_slots = 10
archive_mode = on
archive_command = '/bin/true'
shared_preload_libraries = 'repmgr'
wal_log_hints = on
"""
HBA = """\
local   replication   repmgr                     trust
host    replication   repmgr   10.77.0.0/24      trust
local   repmgr        repmgr                     trust
host    repmgr        repmgr   10.77.0.0/24      trust
host    all           app      10.77.0.0/24      trust
"""
REPMGR = """\
node_id={id}
node_name='{name}'
conninfo='host={name} user=repmgr dbname=repmgr connect_timeout=2'
data_directory='{data}'
use_replication_slots={slots}
failover=automatic
promote_command='{bindir}/repmgr standby promote -f /etc/repmgr.conf --log-to-file'
follow_command='{bindir}/repmgr standby follow -f /etc/repmgr.conf --log-to-file --upstream-node-id=%n'
pg_bindir='{bindir}'
service_start_command='sudo systemctl start postgresql@{version}-main'
service_stop_command='sudo systemctl stop postgresql@{version}-main'
service_restart_command='sudo systemctl restart postgresql@{version}-main'
service_reload_command='sudo systemctl reload postgresql@{version}-main'
"""
DAEMON = """\
REPMGRD_ENABLED=yes
REPMGRD_CONF="/etc/repmgr.conf"
REPMGRD_OPTS="--daemonize=false"
REPMGRD_USER=postgres
REPMGRD_PIDFILE=/run/repmgrd.pid
"""
# One session, which ends with the first statement that fails.
APP = """#!/bin/sh
while echo "INSERT INTO app VALUES (clock_timestamp()); SELECT pg_sleep(0.05);"; do :; done |
    psql -XAtq -v ON_ERROR_STOP=1 -h {primary} -U app -d app -o /dev/null
"""


class ByHand:
    """The steps of the manual.

    slots
        Names of the nodes that use a replication slot.
    """

    def __init__(self, cluster: Cluster, slots=()):
        self.cluster = cluster
        version = cluster.version
        self.bindir = f"/usr/lib/postgresql/{version}/bin"
        self.etc = f"/etc/postgresql/{version}/main"
        self.data = f"/var/lib/postgresql/{version}/main"
        self.service = f"postgresql@{version}-main"
        self.slots = slots

    def make(self):
        """Make the first node the primary and the others its standbys, with their daemons."""
        first, *others = self.cluster.nodes
        for number, host in enumerate(self.cluster.nodes, start=1):
            self._configure(number, host)
        first.run(["systemctl", "restart", self.service])
        first.sh("createuser -s repmgr && createdb repmgr -O repmgr", user="postgres")
        self._repmgr(first, "primary", "register")
        for host in others:
            host.run(["systemctl", "stop", self.service])
            host.sh(f"rm -rf {self.data}")
            source = ["-h", first.name, "-U", "repmgr", "-d", "repmgr"]
            self._repmgr(host, *source, "standby", "clone", "--fast-checkpoint")
            host.run(["systemctl", "start", self.service])
            self._repmgr(host, "standby", "register", "--wait-start=20")
        for host in self.cluster.nodes:
            # While it was disabled its unit was started without a daemon.
            host.run(["systemctl", "restart", "repmgrd"])
        return self

    def _configure(self, number, host):
        host.write(f"{self.etc}/conf.d/hand.conf", SERVER)
        host.write("/etc/hba", HBA)
        host.sh(f"cat /etc/hba {self.etc}/pg_hba.conf > /etc/hba.new")
        host.sh(f"cat /etc/hba.new > {self.etc}/pg_hba.conf; rm /etc/hba /etc/hba.new")
        values = {"id": number, "name": host.name, "data": self.data, "bindir": self.bindir}
        slots = "true" if host.name in self.slots else "false"
        conf = REPMGR.format(**values, slots=slots, version=self.cluster.version)
        host.write("/etc/repmgr.conf", conf)
        host.write("/etc/default/repmgrd", DAEMON)
        host.write("/etc/sudoers.d/hand", "postgres ALL = NOPASSWD: /usr/bin/systemctl\n")

    def _repmgr(self, host, *words):
        host.run([f"{self.bindir}/repmgr", "-f", "/etc/repmgr.conf", *words], user="postgres")

    def start_application(self, primary, host):
        """Let a client on ``host`` write into the primary's database ``app``."""
        for line in ("CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app"):
            self.cluster.sql(primary.name, line)
        self.cluster.sql(primary.name, "CREATE TABLE app (at timestamptz)", "app")
        self.cluster.sql(primary.name, "GRANT ALL ON app TO app", "app")
        host.write("/usr/local/bin/app", APP.format(primary=primary.address), mode=0o755)
        host.run(["systemd-run", "--quiet", "--unit=app", "/usr/local/bin/app"])

    def application_runs(self, host):
        """Whether the client's one session is still there."""
        return host.run(["systemctl", "is-active", "app"], check=False).stdout.strip() == "active"

    def rows(self, name):
        """How many rows it has written, as a node has them."""
        return int(self.cluster.sql(name, "SELECT count(*) FROM app", "app"))
