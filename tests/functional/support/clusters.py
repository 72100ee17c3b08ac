"""PostgreSQL servers on this machine, each a Debian cluster of its own.

All names begin with :data:`PREFIX`, so that what a crashed run left behind can be told from
anything else and be removed. Only one run at a time may use them, see :func:`alone`.
"""

import contextlib
import fcntl
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

import psycopg2
import psycopg2.extensions

from saltext_repmgr.utils import db
from saltext_repmgr.utils.spec import Layout

PREFIX = "repmgrft"
PROGRAMS = pathlib.Path("/usr/lib/postgresql")
# Below the range the kernel takes ports for outgoing connections from.
PORTS = range(5620, 5720)
# Data that is copied over and over lies in memory.
SCRATCH = pathlib.Path("/run/saltext-repmgr-functional")
LOCK = pathlib.Path("/run/saltext-repmgr-functional.lock")
LOCK_TIMEOUT = 180
SETTINGS = """\
listen_addresses = '{addresses}'
# The data lives as long as the tests.
fsync = off
wal_init_zero = off
min_wal_size = '2MB'
wal_level = replica
wal_log_hints = on
max_wal_senders = 10
max_replication_slots = 10
shared_buffers = '16MB'
shared_preload_libraries = 'repmgr'
password_encryption = 'scram-sha-256'
log_min_messages = warning
"""
HBA = """\
local all postgres peer
local replication postgres peer
host repmgr repmgr samehost scram-sha-256
host replication repmgr samehost scram-sha-256
host all all samehost scram-sha-256
"""


def own_name():
    """Return this machine's name: pillar refuses addresses that every host calls its own."""
    return socket.gethostname()


def newest_version():
    """Return the newest PostgreSQL on this machine that repmgr is installed for."""
    found = [
        int(path.name)
        for path in PROGRAMS.glob("[0-9]*")
        if (path / "bin/postgres").exists() and (path / "bin/repmgr").exists()
    ]
    assert found, f"no {PROGRAMS}/<V>/bin/postgres and repmgr: run scripts/install-packages"
    return max(found)


@contextlib.contextmanager
def alone():
    """Wait until no other run of these tests is under way, and keep others waiting."""
    with open(LOCK, "w", encoding="ascii") as handle:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline, f"another run of these tests holds {LOCK}"
                time.sleep(0.5)
        yield


def free_ports(count):
    """Return ports that nothing uses on this machine."""
    found = []
    for port in PORTS:
        if pathlib.Path(f"{Layout.socket_directory}/.s.PGSQL.{port}").exists():
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"there are no {count} free ports in {PORTS}")


def as_postgres(*argv, text=None, check=True):
    """Run a program as the user postgres and return what it printed."""
    done = subprocess.run(
        ["runuser", "-u", "postgres", "--", *map(str, argv)],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd="/",
        # A ~/.pgpass or PGHOST of this machine must not play a part.
        env={"HOME": "/nonexistent", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    )
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def run(*argv):
    """Run a program as root."""
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False, cwd="/")
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


class Cluster:
    """A Debian cluster; it and its server come and go with the tests."""

    def __init__(self, number, version, port, scratch=False):
        self.number = number
        self.name = f"{PREFIX}{number}"
        self.version = version
        self.port = port
        self.layout = Layout(version, self.name, str(SCRATCH / self.name) if scratch else "")
        self.data = pathlib.Path(self.layout.data_directory)
        self.etc = pathlib.Path(self.layout.config_directory)
        self.conf = self.etc / "conf.d/functional.conf"
        self.hba = self.etc / "pg_hba.conf"
        self.log = pathlib.Path(f"/var/log/postgresql/postgresql-{version}-{self.name}.log")
        self.pristine = self.data.with_name(f"{self.name}.pristine")
        self.is_spare = False
        self.files = {}

    def create(self, data=True):
        """Make the cluster as the package does, without starting it.

        data
            False to leave initdb out, for a standby: its data will be a copy.
        """
        if not data:
            self.empty()
            (self.data / "PG_VERSION").write_text(f"{self.version}\n", encoding="ascii")
            for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
                (self.data / name).touch()
            run("chown", "-R", "postgres:postgres", str(self.data))
        run(
            *("pg_createcluster", "--port", str(self.port), "--start-conf", "manual"),
            *("--datadir", str(self.data)),
            *(
                str(self.version),
                self.name,
                *(("--", "--no-sync", "--wal-segsize=1") if data else ()),
            ),
        )
        addresses = {"127.0.0.1", socket.gethostbyname(own_name())}
        self.conf.write_text(SETTINGS.format(addresses=",".join(addresses)), encoding="utf-8")
        if self.version < 15:
            # pg_ctlcluster would make Debian's own directory for it.
            self.configure(stats_temp_directory="pg_stat_tmp")
        self.hba.write_text(HBA, encoding="utf-8")
        return self

    def configure(self, **settings):
        """Append settings to the configuration; they count from the next start on."""
        with self.conf.open("a", encoding="utf-8") as handle:
            handle.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self):
        # Not by pg_ctlcluster, which sleeps for two seconds before it looks.
        as_postgres(
            *(self.bin("pg_ctl"), "start", "-s", "-w", "-D", self.data, "-l", self.log),
            *("-o", f"-c config_file={self.etc}/postgresql.conf"),
        )
        return self

    def stop(self, mode="fast"):
        as_postgres(self.bin("pg_ctl"), "stop", "-s", "-w", "-D", self.data, "-m", mode)
        return self

    @property
    def pid(self):
        """Process id of the server, None where its lock file names no living process."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
            os.kill(pid, 0)
            return pid
        return None

    def kill(self):
        """Stop the server at once, if it runs, whatever becomes of its data."""
        if self.pid:
            self.stop("immediate")
        return self

    def bin(self, program):
        return f"{self.layout.bindir}/{program}"

    def sql(self, statements, database="postgres"):
        """Run statements as the superuser and return the rows of the last one as psql would.

        statements
            Separated by semicolons; none may contain one.
        """
        with contextlib.closing(self._superuser(database)) as connection:
            connection.autocommit = True
            # Values as the server writes them.
            oids = tuple(psycopg2.extensions.string_types)
            as_text = psycopg2.extensions.new_type(oids, "AS_TEXT", lambda value, _: value)
            psycopg2.extensions.register_type(as_text, connection)
            with connection.cursor() as cursor:
                for statement in filter(str.strip, statements.split(";")):
                    cursor.execute(statement)
                found = cursor.fetchall() if cursor.description else []
        return "\n".join("|".join(value or "" for value in row) for row in found)

    def _superuser(self, database):
        """A connection that the code under test has no part in."""
        account = pwd.getpwnam("postgres")
        # The server asks the kernel who connects; psql in a process of its own takes ten times
        # as long.
        os.seteuid(account.pw_uid)
        try:
            return psycopg2.connect(
                host=Layout.socket_directory, port=self.port, user="postgres", dbname=database
            )
        finally:
            os.seteuid(0)

    def connect(self, dbname="postgres"):
        """A superuser's connection by the code under test, as the states make it."""
        user = Layout.os_user
        return db.connect(Layout.socket_directory, self.port, user, dbname, os_user=user)

    def backup(self, path):
        """Make a base backup of the running server, as a standby begins with."""
        as_postgres(
            *(self.bin("pg_basebackup"), "-h", Layout.socket_directory, "-p", self.port),
            *("-D", path, "-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )

    def keep_pristine(self):
        """Keep a copy of the data directory as initdb left it, for :meth:`reset`."""
        shutil.rmtree(self.pristine, ignore_errors=True)
        run("cp", "-a", str(self.data), str(self.pristine))
        return self

    def reset(self):
        """Put the data directory back to what initdb left, and start."""
        self.kill().empty()
        run("cp", "-a", f"{self.pristine}/.", str(self.data))
        self.is_spare = False
        return self.start()

    def be_spare(self):
        """Run, on data that may have been used but are no node of a repmgr cluster."""
        if not self.is_spare:
            self.reset()
            self.is_spare = True
        elif self.pid is None:
            self.start()
        self.files = {path: path.read_bytes() for path in self._files()}
        return self

    def restore_files(self):
        """Stop, and put the configuration back to what :meth:`be_spare` found."""
        if self.pid:
            self.stop()
        for path in self._files() - set(self.files):
            path.unlink()
        for path, content in self.files.items():
            path.write_bytes(content)

    def _files(self):
        return {*self.etc.glob("**/*.conf"), self.data / "postgresql.auto.conf"}

    def empty(self):
        """Empty the data directory of a server that is down."""
        shutil.rmtree(self.data, ignore_errors=True)
        run("install", "-d", "-m", "700", "-o", "postgres", "-g", "postgres", str(self.data))
        return self

    def eventually(self, query, expected, database="postgres"):
        """Wait until a query answers as expected."""
        deadline = time.monotonic() + 30
        while (answer := self.sql(query, database)) != expected:
            assert time.monotonic() < deadline, f"{query}: {answer!r} and not {expected!r}"
            time.sleep(0.05)

    def drop(self):
        """Remove the server and all of its files, however little of it there is."""
        if self.etc.exists():
            done = subprocess.run(
                ["pg_dropcluster", "--stop", str(self.version), self.name],
                capture_output=True,
                check=False,
                cwd="/",
            )
            if done.returncode:
                as_postgres(
                    *(self.bin("pg_ctl"), "stop", "-s", "-D", self.data, "-m", "immediate"),
                    check=False,
                )
        for path in (self.etc, *self.data.parent.glob(f"{self.name}.*"), self.data):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in self.log.parent.glob(f"{self.log.name}*"):
            path.unlink()


@contextlib.contextmanager
def in_memory(path, options):
    """Mount a file system in memory on a directory."""
    path.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield path
    finally:
        # Lazily, as somebody may be looking at it.
        run("umount", "--lazy", str(path))
        path.rmdir()


def remove_leftovers(version):
    """Remove the clusters of an earlier run that could not remove them itself."""
    names = set()
    for directory in (f"/etc/postgresql/{version}", f"/var/lib/postgresql/{version}", SCRATCH):
        names |= {path.name for path in pathlib.Path(directory).glob(f"{PREFIX}*")}
    for number in {name.removeprefix(PREFIX).partition(".")[0] for name in names}:
        for on_scratch in (True, False):
            Cluster(number, version, 0, on_scratch).drop()
    while SCRATCH.is_mount():
        run("umount", "--lazy", str(SCRATCH))


def require_root():
    assert os.geteuid() == 0, "these tests make servers of the user postgres: run them as root"
