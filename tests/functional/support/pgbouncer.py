"""A primary and its standby on two addresses of this machine, a PgBouncer and its router.

All of them run as the user postgres, below one directory, and end with the tests.
"""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import psycopg2

from saltext_repmgr.router import config
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import router_files
from tests.functional.support import clusters
from tests.functional.support.clusters import as_postgres

PASSWORD = 'it\'s:"another"\\horse'
CLIENT = ("client", "the client's own")
ADDRESSES = ("127.0.0.2", "127.0.0.3")
_PROGRAM = "/usr/sbin/pgbouncer"
_HBA = """\
local all postgres peer
local replication postgres peer
host all all samehost scram-sha-256
"""
_SETTINGS = """\
fsync = off
shared_buffers = '16MB'
max_wal_senders = 5
password_encryption = 'scram-sha-256'
"""
# The paths of a host are those of the test's directory here.
_DAEMON = """
import sys
from repmgr_router.router import config, daemon
config.CONFIG, config.DATABASES, config.STATE = sys.argv[1:]
daemon.main()
"""


def until(condition, what, seconds=15):
    """Wait for a condition and return its answer."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return answer


class Server:
    """A server of its own, not of Debian's tools: two of them share a port."""

    def __init__(self, directory, version, address, port):
        self.bin = f"/usr/lib/postgresql/{version}/bin"
        self.data = directory / address
        self.sockets = directory / f"sockets-{address}"
        self.address, self.port = address, port

    def begin(self, source=None):
        """Make it: anew, or as a standby of another one; and start it."""
        as_postgres("mkdir", self.sockets)
        if source is None:
            as_postgres(f"{self.bin}/initdb", "--no-sync", "-D", self.data, "-A", "peer")
            (self.data / "pg_hba.conf").write_text(_HBA, encoding="ascii")
        else:
            conninfo = f"host={source.sockets} port={source.port}"
            copy = ["-D", self.data, "-R", "-c", "fast", "-d", conninfo]
            as_postgres(f"{self.bin}/pg_basebackup", *copy)
        with (self.data / "postgresql.conf").open("a", encoding="ascii") as handle:
            handle.write(
                f"{_SETTINGS}listen_addresses = '{self.address}'\nport = {self.port}\n"
                f"unix_socket_directories = '{self.sockets}'\n"
            )
        self.start()
        return self

    def start(self):
        log = self.data / "log"
        as_postgres(f"{self.bin}/pg_ctl", "start", "-s", "-w", "-D", self.data, "-l", log)

    def stop(self, mode="immediate"):
        command = ["stop", "-s", "-D", self.data, "-m", mode]
        as_postgres(f"{self.bin}/pg_ctl", *command, check=False)

    def signal(self, number):
        """Send a signal to all processes of the server."""
        main = int((self.data / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
        children = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, check=False)
        for pid in [main, *map(int, children.stdout.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def sql(self, query, database="postgres"):
        return as_postgres(
            *(f"{self.bin}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.sockets),
            *("-p", self.port, "-d", database, "-c", query),
        )

    @contextlib.contextmanager
    def connect(self, database):
        """A superuser's connection, as the states have it."""
        from saltext_repmgr.utils import db

        where = str(self.sockets), self.port, "postgres", database
        with db.connect(*where, os_user="postgres") as connection:
            yield connection


class Stage:
    """All of it. ``servers`` are the primary and its standby."""

    def __init__(self, version):
        clusters.require_root()
        self.directory = clusters.SCRATCH / "router"
        self.directory.mkdir()
        account = pwd.getpwnam("postgres")
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        self.port, server_port = clusters.free_ports(6)[-2:]
        self.servers = [Server(self.directory, version, a, server_port) for a in ADDRESSES]
        nodes = {f"node{number}": {"id": number, "host": f"192.0.2.{number}"} for number in (1, 2)}
        nodes["node1"]["role"] = "primary"
        self.spec = pillar.read(
            {
                "cluster": "functional",
                "subnet": "192.0.2.0/24",
                "password": PASSWORD,
                "nodes": nodes,
                "postgres": {"port": server_port},
                "pgbouncer": {
                    "password": PASSWORD,
                    "databases": ["app"],
                    "port": self.port,
                    "settings": {"pool_mode": "transaction", "listen_addr": "127.0.0.1"},
                },
            }
        )
        self.pgbouncer = self.daemon = None

    def path(self, name):
        return self.directory / name

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        shutil.chown(path, "postgres", "postgres")
        return path

    def here(self, text):
        """A text with the paths of this directory."""
        for name in ("DATABASES", "USERLIST", "PASSFILE"):
            text = text.replace(getattr(router_files, name), str(self.path(name)))
        text = text.replace("/var/log/postgresql/", f"{self.directory}/")
        for node, address in zip(self.spec.data_nodes, ADDRESSES):
            text = text.replace(node.host, address)
        return text.replace("/var/run/postgresql", str(self.directory))

    def certificate(self):
        """Make a key and a certificate that it signed itself; their paths."""
        key, certificate = self.path("server.key"), self.path("server.crt")
        argv = ["openssl", "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=pgbouncer"]
        as_postgres(*argv, "-keyout", key, "-out", certificate)
        return key, certificate

    def ini(self):
        return self.here(router_files.ini(self.spec))

    def start_pgbouncer(self):
        """Start it as the state's files have it."""
        self.write("USERLIST", router_files.userlist(self.spec.pgbouncer.password))
        self.write("PASSFILE", router_files.pgpass(self.spec.pgbouncer.password))
        if not self.path("DATABASES").exists():
            self.write("DATABASES", "[databases]\n")
        path = self.write("pgbouncer.ini", self.ini())
        self.pgbouncer = self._run(_PROGRAM, path)
        until(self.path(f".s.PGSQL.{self.port}").exists, "PgBouncer's socket")

    def start_daemon(self):
        """Start it as a host has it: with Debian's Python, and nothing but its own files."""
        for name, (text, _) in router_files.files(self.spec, "node1").items():
            if name.startswith(router_files.DIRECTORY):
                self.write(name.removeprefix("/"), text, 0o644)
            elif name == config.CONFIG:
                self.write("CONFIG", self.here(text))
        paths = [self.path(name) for name in ("CONFIG", "DATABASES", "STATE")]
        where = {"PYTHONPATH": f"{self.directory}{router_files.DIRECTORY}"}
        run = ["/usr/bin/python3", "-B", "-c", _DAEMON, *paths]
        self.daemon = self._run(*run, environment=where)

    def restart(self, spec):
        """Start both anew, for another specification."""
        self.spec = spec
        self.end(self.daemon)
        self.end(self.pgbouncer)
        self.start_pgbouncer()
        self.start_daemon()
        until(lambda: self.state().get("pid") == self.daemon.pid, "the daemon")

    def _run(self, *argv, environment=None):
        log = self.path(f"{pathlib.Path(argv[0]).name}.out").open("ab")
        with log:
            return subprocess.Popen(
                ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
                + list(map(str, argv)),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})},
            )

    def end(self, process):
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM if process is self.daemon else signal.SIGKILL)
            process.wait(10)

    def down(self):
        self.end(self.daemon)
        self.end(self.pgbouncer)
        for server in self.servers:
            with contextlib.suppress(OSError, ValueError):
                server.signal(signal.SIGCONT)
            server.stop()

    def await_replay(self):
        """Return when the standby has all of the primary."""
        first, second = self.servers
        position = first.sql("SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        until(lambda: second.sql(replayed) == "t", "the standby has all of it")

    # -- looks --------------------------------------------------------------------------

    def client(self, database="app", user=CLIENT[0], password=CLIENT[1], sslmode="prefer"):
        """A client's connection through PgBouncer."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=user,
            password=password,
            sslmode=sslmode,
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection

    def ask(self, query, database="app", **account):
        """What a new client is answered: one value."""
        with contextlib.closing(self.client(database, **account)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]

    def console(self, command):
        """What PgBouncer's console answers, as rows of text."""
        psql = f"{self.servers[0].bin}/psql"
        argv = ["-XAtq", "-h", self.directory, "-p", self.port, "-U", "pgbouncer", "pgbouncer"]
        return [line.split("|") for line in as_postgres(psql, *argv, "-c", command).splitlines()]

    def state(self):
        """What the daemon left for others to read."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.path("STATE").read_text(encoding="utf-8"))
        return {}
