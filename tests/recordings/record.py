#!/usr/bin/env python3
"""Record what repmgr really prints, for the parser tests in tests/unit.

Builds a primary, a standby and a witness on this host, leads them through the states
a cluster can get into, and writes what every reading command printed to

    tests/unit/files/repmgr/<repmgr version>/<scenario>.json

one object a file: ``"<configuration file> <arguments>": {"rc": …, "stdout": …, "stderr": …}``.

Needs root, a Debian host (or a root directory entered with chroot, with /proc and /dev
mounted) with ``postgresql-<V>`` and ``postgresql-<V>-repmgr``, and free ports from
``--port`` on. The newest PostgreSQL that has repmgr is taken. Everything it makes is
named rec1 to rec3 or lies in /etc/repmgr-rec, and is removed at the end.

    python3 tests/recordings/record.py [--output DIRECTORY] [--port 5541] [--keep]
"""

import argparse
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import time

ETC = pathlib.Path("/etc/repmgr-rec")
PASSFILE = ETC / "pgpass"
PASSWORD = "example-password"
# Ends up in a recording on purpose: the tests of scrub() take it out again.
LEAKED_PASSWORD = "it's-leaked"
NODES = {1: "rec1", 2: "rec2", 3: "rec3"}

SERVER_CONF = """
listen_addresses = '127.0.0.1'
wal_level = replica
hot_standby = on
wal_log_hints = on
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = '64MB'
archive_mode = on
archive_command = '/bin/true'
shared_preload_libraries = 'repmgr'
password_encryption = 'scram-sha-256'
"""

HBA = """
local all postgres peer
host repmgr repmgr 127.0.0.1/32 scram-sha-256
host replication repmgr 127.0.0.1/32 scram-sha-256
"""

REPMGR_CONF = """
node_id={id}
node_name='{name}'
conninfo='{conninfo}'
data_directory='{data}'
pg_bindir='{bindir}'
passfile='{passfile}'
use_replication_slots=true
failover=manual
monitor_interval_secs=1
reconnect_attempts=2
reconnect_interval=1
node_rejoin_timeout=20
standby_reconnect_timeout=20
service_start_command='/usr/bin/pg_ctlcluster {version} {name} start'
service_stop_command='/usr/bin/pg_ctlcluster {version} {name} stop -m fast'
service_restart_command='/usr/bin/pg_ctlcluster {version} {name} restart -m fast'
service_reload_command='/usr/bin/pg_ctlcluster {version} {name} reload'
{extra}
"""

GRANTS = """
CREATE EXTENSION repmgr;
GRANT USAGE ON SCHEMA repmgr TO repmgr;
GRANT ALL ON ALL TABLES IN SCHEMA repmgr TO repmgr;
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer), pg_wal_replay_resume() TO repmgr;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
    pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO repmgr
"""

SINGLE_CHECKS = (
    "role",
    "replication-lag",
    "archive-ready",
    "downstream",
    "upstream",
    "slots",
    "missing-slots",
    "data-directory-config",
    "repmgrd",
    "db-connection",
    "replication-config-owner",
)

READING = (
    ("cluster", "show"),
    ("cluster", "show", "--csv"),
    ("cluster", "event", "--csv"),
    ("service", "status", "--csv"),
    ("node", "status", "--csv"),
    ("node", "status", "--is-shutdown-cleanly"),
    ("node", "check"),
    ("node", "check", "--csv"),
    *(("node", "check", f"--{check}") for check in SINGLE_CHECKS),
)

ALL_FORMS = tuple(
    ("node", "check", f"--{check}", form)
    for check in SINGLE_CHECKS
    for form in ("--nagios", "--optformat")
)


def newest_with_repmgr():
    found = [int(p.parts[4]) for p in pathlib.Path("/").glob("usr/lib/postgresql/*/bin/repmgr")]
    if not found:
        raise SystemExit("no /usr/lib/postgresql/<V>/bin/repmgr: install postgresql-<V>-repmgr")
    return max(found)


class Host:
    """The clusters of one recording run."""

    def __init__(self, version, port):
        self.version = version
        self.first_port = port
        self.bindir = f"/usr/lib/postgresql/{version}/bin"
        self.daemons = {}
        account = pwd.getpwnam("postgres")
        self.credentials = {
            "user": account.pw_uid,
            "group": account.pw_gid,
            # ssl-cert is among them; without it a server with Debian's own key does not start.
            "extra_groups": os.getgrouplist("postgres", account.pw_gid),
        }

    def port(self, node):
        return self.first_port + node - 1

    def data(self, node):
        return pathlib.Path(f"/var/lib/postgresql/{self.version}/{NODES[node]}")

    def conf(self, node, suffix=""):
        return ETC / f"{NODES[node]}{suffix}.conf"

    def conninfo(self, node, secret=f"passfile={PASSFILE}"):
        return (
            f"host=127.0.0.1 port={self.port(node)} user=repmgr dbname=repmgr "
            f"connect_timeout=2 {secret}"
        )

    def as_postgres(self, argv, check=True, **kwargs):
        # HOME points nowhere: a ~/.pgpass of this host must not play a part.
        return subprocess.run(
            argv,
            **self.credentials,
            cwd="/",
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            text=True,
            check=check,
            **kwargs,
        )

    def repmgr(self, node, *words, suffix=""):
        argv = [f"{self.bindir}/repmgr", "-f", str(self.conf(node, suffix)), *words]
        return self.as_postgres(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sql(self, node, statements, database="repmgr"):
        port = str(self.port(node))
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql"]
        out = self.as_postgres(
            [*argv, "-p", port, "-d", database],
            input=statements,
            stdout=subprocess.PIPE,
        )
        return out.stdout.strip()

    def ctl(self, node, action, *options):
        subprocess.run(
            ["pg_ctlcluster", str(self.version), NODES[node], action, *options], check=True
        )

    @staticmethod
    def quoted(value):
        """Inside single quotes repmgr.conf knows backslash escapes as well as ''."""
        return value.replace("\\", "\\\\").replace("'", "''")

    def configure(self, node, suffix="", conninfo=None, **extra):
        path = self.conf(node, suffix)
        path.write_text(
            REPMGR_CONF.format(
                id=node,
                name=NODES[node],
                conninfo=self.quoted(conninfo or self.conninfo(node)),
                data=self.data(node),
                bindir=self.bindir,
                passfile=PASSFILE,
                version=self.version,
                extra="\n".join(f"{key}='{value}'" for key, value in extra.items()),
            ),
            encoding="utf-8",
        )
        shutil.chown(path, "postgres", "postgres")

    def create(self, node):
        name = NODES[node]
        subprocess.run(
            ["pg_createcluster", str(self.version), name, "-p", str(self.port(node))]
            + ["--start-conf=manual"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        etc = pathlib.Path(f"/etc/postgresql/{self.version}/{name}")
        (etc / "conf.d/recording.conf").write_text(SERVER_CONF, encoding="utf-8")
        (etc / "pg_hba.conf").write_text(HBA, encoding="utf-8")

    def create_database(self, node):
        self.sql(
            node,
            f"CREATE ROLE repmgr LOGIN REPLICATION PASSWORD '{PASSWORD}';\n"
            "GRANT pg_monitor TO repmgr;\n"
            "CREATE DATABASE repmgr;\n",
            database="postgres",
        )
        self.sql(node, GRANTS)

    def daemon_start(self, node):
        self.daemons[node] = subprocess.Popen(
            [f"{self.bindir}/repmgrd", "-f", str(self.conf(node))]
            + ["--daemonize=false", "--no-pid-file"],
            **self.credentials,
            cwd="/",
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def daemon_stop(self, node):
        daemon = self.daemons.pop(node)
        daemon.terminate()
        daemon.wait(timeout=20)

    def wait_streaming(self, upstream, count=1):
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        for _ in range(100):
            if int(self.sql(upstream, query)) == count:
                return
            time.sleep(0.2)
        raise SystemExit(f"{NODES[upstream]} has not {count} streaming standbys")

    def wait_daemon(self, node, running=True):
        expected = "t" if running else "f"
        for _ in range(100):
            if self.sql(node, "SELECT repmgr.repmgrd_is_running()") == expected:
                return
            time.sleep(0.2)
        raise SystemExit(f"repmgrd of {NODES[node]} did not start or stop")

    def remove(self):
        for node in list(self.daemons):
            self.daemon_stop(node)
        for node, name in NODES.items():
            etc = pathlib.Path(f"/etc/postgresql/{self.version}/{name}")
            if (etc / "postgresql.conf").exists():
                subprocess.run(
                    ["pg_dropcluster", "--stop", str(self.version), name],
                    check=False,
                    # It complains about a cluster whose data was removed for a clone.
                    stderr=subprocess.DEVNULL,
                )
            # It leaves the files it does not know.
            shutil.rmtree(etc, ignore_errors=True)
            shutil.rmtree(self.data(node), ignore_errors=True)
        shutil.rmtree(ETC, ignore_errors=True)


class Recorder:
    """Collects the output of commands, one file a scenario."""

    def __init__(self, host, directory):
        self.host = host
        self.directory = directory
        self.scenario = None
        self.recordings = {}

    def start(self, scenario):
        self.flush()
        print(f"-- {scenario}", flush=True)
        self.scenario = scenario

    def flush(self):
        if self.recordings:
            path = self.directory / f"{self.scenario}.json"
            text = json.dumps(self.recordings, indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text + "\n", encoding="utf-8")
        self.recordings = {}

    def keep(self, name, words, completed):
        self.recordings[" ".join([name, *words])] = {
            "rc": completed.returncode,
            "stdout": completed.stdout,
            "stderr": completed.stderr,
        }

    def record(self, node, *words, suffix="", must=None):
        completed = self.host.repmgr(node, *words, suffix=suffix)
        self.keep(NODES[node] + suffix, words, completed)
        if must is not None and completed.returncode != must:
            raise SystemExit(
                f"repmgr {' '.join(words)} on {NODES[node]}: {completed.returncode}, "
                f"not {must}\n{completed.stderr}"
            )

    def read(self, *nodes, commands=READING):
        for node in nodes:
            for words in commands:
                self.record(node, *words)


def play(host, rec):
    """The scenarios, in an order that lets each start from the one before."""
    source = ("-d", host.conninfo(1))

    rec.start("offline")
    for node in NODES:
        host.create(node)
        host.configure(node)
    rec.record(1, "--version", must=0)
    rec.record(1, "--version-number", must=0)
    rec.record(1, "--dump-config", must=0)
    rec.record(1, "node", "service", "--list-actions", must=0)
    rec.record(1, "node", "service", "--list-actions", "--action=start", must=0)
    rec.read(1)
    rec.read(1, commands=ALL_FORMS)
    as_root = subprocess.run(
        [f"{host.bindir}/repmgr", "-f", str(host.conf(1)), "cluster", "show", "--csv"],
        text=True,
        capture_output=True,
        check=False,
    )
    rec.keep("root", ("cluster", "show", "--csv"), as_root)
    rec.record(1, "cluster", "show", "--csv", "--nagios", must=1)
    rec.record(1, "cluster", "show", "--no-such-option", must=1)

    rec.start("bad_config")
    host.conf(1, "-bad").write_text(
        "node_id=0\nnode_name='rec1'\nconninfo='host=127.0.0.1 nonsense=1'\n"
        "priority=-1\nfailover=sometimes\n",
        encoding="utf-8",
    )
    rec.record(1, "--dump-config", suffix="-bad", must=1)
    rec.record(1, "cluster", "show", "--csv", suffix="-bad", must=1)
    host.conf(1, "-syntax").write_text("node_id=1\ndata_directory=/var/lib\n", encoding="utf-8")
    rec.record(1, "--dump-config", suffix="-missing", must=1)
    rec.record(1, "--dump-config", suffix="-syntax")
    # repmgr prints the parameters it used, the password with them.
    host.configure(1, "-leaky", conninfo=host.conninfo(1, "password='it\\'s-leaked'"), passfile="")
    rec.record(1, "node", "check", "--db-connection", suffix="-leaky")
    rec.record(1, "node", "status", "--csv", suffix="-leaky")

    rec.start("build")
    host.ctl(1, "start")
    host.create_database(1)
    rec.record(1, "cluster", "show", "--csv")
    rec.record(1, "node", "check", "--csv")
    rec.record(1, "primary", "register", "--dry-run", must=0)
    rec.record(1, "primary", "register", must=0)
    rec.record(1, "primary", "register", "--terse", must=1)
    rec.record(1, "primary", "register", "--force", must=0)
    rec.record(2, "standby", "clone", *source, "--fast-checkpoint", must=1)
    shutil.rmtree(host.data(2))
    rec.record(2, "standby", "clone", *source, "--fast-checkpoint", "--dry-run", must=0)
    rec.record(2, "standby", "clone", *source, "--fast-checkpoint", must=0)
    host.ctl(2, "start")
    rec.record(2, "cluster", "show", "--csv")
    rec.record(2, "node", "check", "--csv")
    rec.record(2, "standby", "register", "--upstream-node-id=1", "--wait-sync=30", must=0)
    host.ctl(3, "start")
    host.create_database(3)
    rec.record(3, "witness", "register", *source, "--dry-run", must=0)
    rec.record(3, "witness", "register", *source, must=0)
    host.wait_streaming(1)

    rec.start("repmgrd_down")
    rec.read(1, 2, 3)

    rec.start("healthy")
    for node in NODES:
        host.daemon_start(node)
    for node in NODES:
        host.wait_daemon(node)
    time.sleep(3)
    rec.read(1, 2, 3)
    rec.read(1, 2, commands=ALL_FORMS)
    rec.record(1, "cluster", "event", "--csv", "--event=no_such_event", must=0)
    rec.record(1, "cluster", "event", "--csv", "--limit=2", must=0)
    rec.record(2, "standby", "follow", "--upstream-node-id=1", "--dry-run")
    rec.record(2, "standby", "follow", "--upstream-node-id=1", must=23)
    rec.record(2, "standby", "promote", "--dry-run", must=8)
    rec.record(1, "service", "pause", "--dry-run", must=0)

    rec.start("paused")
    rec.record(1, "service", "pause", must=0)
    rec.read(1, 2, 3)

    rec.start("unpaused")
    rec.record(1, "service", "unpause", must=0)
    rec.record(1, "service", "status", "--csv", must=0)
    for node in NODES:
        host.daemon_stop(node)

    rec.start("archive_failing")
    host.configure(1, archive_ready_warning=1, archive_ready_critical=3)
    host.sql(1, "ALTER SYSTEM SET archive_command = '/bin/false'; SELECT pg_reload_conf()")
    checks = (
        ("node", "check", "--archive-ready"),
        ("node", "check", "--archive-ready", "--nagios"),
        ("node", "check", "--archive-ready", "--optformat"),
        ("node", "check", "--csv"),
        ("node", "status", "--csv"),
    )
    for _ in range(2):
        host.sql(1, "SELECT txid_current(); SELECT pg_switch_wal()")
        time.sleep(0.5)
    rec.read(1, commands=checks)
    rec.start("archive_failing_longer")
    for _ in range(3):
        host.sql(1, "SELECT txid_current(); SELECT pg_switch_wal()")
        time.sleep(0.5)
    rec.read(1, commands=checks)
    host.sql(1, "ALTER SYSTEM RESET archive_command; SELECT pg_reload_conf()")
    host.configure(1)

    lag = (
        ("node", "check", "--replication-lag"),
        ("node", "check", "--replication-lag", "--nagios"),
        ("node", "check", "--replication-lag", "--optformat"),
        ("node", "check", "--csv"),
        ("node", "status", "--csv"),
        ("cluster", "show"),
        ("cluster", "show", "--csv"),
    )
    rec.start("lagging")
    host.sql(1, "CREATE TABLE public.t (i int)")
    time.sleep(1)
    host.sql(2, "SELECT pg_wal_replay_pause()")
    host.sql(1, "INSERT INTO public.t VALUES (1)")
    time.sleep(3)
    host.configure(2, replication_lag_warning=1, replication_lag_critical=600)
    rec.read(2, commands=lag)
    rec.start("lagging_critically")
    host.configure(2, replication_lag_warning=1, replication_lag_critical=2)
    rec.read(2, commands=lag)
    host.configure(2)
    host.sql(2, "SELECT pg_wal_replay_resume()")

    rec.start("detached")
    was = host.sql(2, "SHOW primary_conninfo").replace("'", "''")
    host.sql(2, "ALTER SYSTEM SET primary_conninfo = ''")
    host.sql(2, "SELECT pg_reload_conf()")
    time.sleep(2)
    rec.read(1, 2)
    rec.read(1, 2, commands=ALL_FORMS)
    rec.start("missing_slot")
    host.sql(1, "SELECT pg_drop_replication_slot('repmgr_slot_2')")
    rec.read(1)
    rec.read(1, commands=ALL_FORMS)
    host.sql(1, "SELECT pg_create_physical_replication_slot('repmgr_slot_2')")
    host.sql(2, f"ALTER SYSTEM SET primary_conninfo = '{was}'")
    host.sql(2, "SELECT pg_reload_conf()")
    host.wait_streaming(1)

    rec.start("wrong_data_directory")
    host.configure(1, data_directory="/var/lib/postgresql/elsewhere")
    rec.read(1, commands=(("node", "check", "--csv"),))
    rec.read(1, commands=[c for c in ALL_FORMS + READING if "--data-directory-config" in c])
    host.configure(1)

    rec.start("rejecting")
    hba = pathlib.Path(f"/etc/postgresql/{host.version}/{NODES[2]}/pg_hba.conf")
    hba.write_text("local all postgres peer\n", encoding="utf-8")
    host.ctl(2, "reload")
    time.sleep(0.5)
    rec.read(1, 2)
    hba.write_text(HBA, encoding="utf-8")
    host.ctl(2, "reload")

    rec.start("standby_down")
    host.ctl(2, "stop", "-m", "fast")
    rec.read(1, 2, 3)
    rec.record(1, "service", "pause", must=26)
    rec.record(1, "service", "unpause", must=26)
    rec.start("standby_crashed")
    host.ctl(2, "start")
    host.wait_streaming(1)
    host.ctl(2, "stop", "-m", "immediate")
    rec.read(2, commands=(("node", "status", "--is-shutdown-cleanly"),))
    rec.start("standby_down_inactive")
    host.sql(1, "UPDATE repmgr.nodes SET active = false WHERE node_id = 2")
    rec.read(1)
    rec.start("standby_inactive")
    host.ctl(2, "start")
    host.wait_streaming(1)
    rec.read(1, 2)
    host.sql(1, "UPDATE repmgr.nodes SET active = true WHERE node_id = 2")

    rec.start("primary_down")
    host.ctl(1, "stop", "-m", "fast")
    rec.read(1, 2, 3)
    rec.start("failed_over")
    rec.record(2, "standby", "promote", must=0)
    rec.read(2, 3)
    rec.start("split_brain")
    host.ctl(1, "start")
    host.sql(1, "CREATE TABLE public.lost (i int); CHECKPOINT")
    host.sql(2, "CREATE TABLE public.kept (i int); CHECKPOINT")
    rec.read(1, 2, 3)

    rec.start("rejoin")
    target = ("-d", host.conninfo(2))
    rec.record(1, "node", "rejoin", *target)
    host.ctl(1, "stop", "-m", "fast")
    rec.record(1, "node", "status", "--is-shutdown-cleanly", must=0)
    rec.record(1, "node", "rejoin", *target, "--dry-run", must=24)
    rec.record(1, "node", "rejoin", *target, "--force-rewind", "--dry-run", must=0)
    rec.record(1, "node", "rejoin", *target, "--force-rewind", must=0)
    host.wait_streaming(2)
    rec.record(1, "cluster", "show")
    rec.record(1, "node", "service", "--action=reload", must=0)

    rec.start("teardown")
    rec.record(2, "cluster", "cleanup", must=0)
    rec.record(2, "primary", "unregister", must=1)
    rec.record(3, "witness", "unregister", "--dry-run", must=0)
    rec.record(3, "witness", "unregister", must=0)
    rec.record(1, "standby", "unregister", must=0)
    rec.record(1, "standby", "unregister", "--node-id=1", must=1)
    rec.record(2, "primary", "unregister", "--force", must=0)
    rec.record(2, "cluster", "show", "--csv", must=1)
    rec.flush()


def main():
    here = pathlib.Path(__file__).resolve()
    parser = argparse.ArgumentParser(description="Record the output of the repmgr of this host.")
    parser.add_argument(
        "--output", type=pathlib.Path, default=here.parents[1] / "unit/files/repmgr"
    )
    parser.add_argument("--port", type=int, default=5541, help="first of three free ports")
    parser.add_argument("--keep", action="store_true", help="leave the clusters for a look")
    options = parser.parse_args()
    host = Host(newest_with_repmgr(), options.port)
    host.remove()
    ETC.mkdir()
    PASSFILE.write_text(f"*:*:*:repmgr:{PASSWORD}\n", encoding="utf-8")
    PASSFILE.chmod(0o600)
    shutil.chown(PASSFILE, "postgres", "postgres")
    try:
        version = host.as_postgres(
            [f"{host.bindir}/repmgr", "--version"], stdout=subprocess.PIPE
        ).stdout.split()[1]
        directory = options.output / version
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("*.json"):
            old.unlink()
        play(host, Recorder(host, directory))
    finally:
        if not options.keep:
            host.remove()


if __name__ == "__main__":
    main()
