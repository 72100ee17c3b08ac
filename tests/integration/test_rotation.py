"""New passwords for repmgr's role and PgBouncer's, clients at work all along. One story, in order."""

import contextlib
import json

import pytest

from tests.failures import pillars
from tests.failures.pillars import DATABASE
from tests.integration.conftest import cluster_of
from tests.integration.support import PASSWORD
from tests.integration.support import WATCH_PROCESSES
from tests.integration.support import files_with
from tests.lab import CommandError

NODES = ("node1", "node2", "node3")
ROUTERS = ("node2", "router1")
HOSTS = (*NODES, "router1")
PORT = 6432
ROLE, CLIENT = pillars.ROLE, "the-clients-own"
# Each with what has to be escaped somewhere.
SECOND, THIRD, FOURTH = 'second:one\\"for all', "third-one-for-all", "fourth-one-for-all"
BOUNCERS, BOUNCERS_NEXT = "pgbouncers-first-one", 'pgbouncers:next\\one"'
SECRETS = (PASSWORD, SECOND, THIRD, FOURTH, BOUNCERS, BOUNCERS_NEXT)
SECONDS = 40
# Logins in three lines, and transactions of eight clients.
LOAD = """#!/bin/bash
where=$1 end=$(($(date +%s) + {seconds}))
cd /tmp
rm -f logins.*
for line in 1 2 3; do
    while [ "$(date +%s)" -lt $end ]; do
        psql -XAtqc 'SELECT 1' "$where" >> logins.good 2>> logins.bad
    done &
done
echo 'INSERT INTO made VALUES (:client_id);' > write.sql
/usr/lib/postgresql/{version}/bin/pgbench -n -c 8 -j 2 -R 300 -T {seconds} -f write.sql "$where" \\
    > pgbench.out 2>&1
wait
"""
STREAMS = "SELECT application_name, pid, backend_start FROM pg_stat_replication ORDER BY 1"


@pytest.fixture(scope="module")
def cluster():
    pillar = pillars.for_client({"postgres": {"settings": {"log_statement": "all"}}})
    with cluster_of(
        "rotation", nodes=3, others=("router1",), pillar=pillar, preinstalled=True
    ) as hosts:
        publish_bouncers(hosts, BOUNCERS)
        for name in HOSTS:
            hosts.lab[name].write("/usr/local/bin/watch-processes", WATCH_PROCESSES, mode=0o755)
        assert hosts.orchestrate().failed == []
        hosts.sql("node1", f"CREATE ROLE {ROLE} LOGIN PASSWORD '{CLIENT}'")
        hosts.sql("node1", f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        hosts.sql("node1", f"SET ROLE {ROLE}; CREATE TABLE made (by int)", DATABASE)
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


def publish_bouncers(cluster, password):
    hosts = {"node2": {}, "router1": {"host": cluster.lab["router1"].address}}
    cluster.publish(
        pgbouncer={
            "password": password,
            "databases": [DATABASE],
            "hosts": hosts,
            "settings": {"pool_mode": "transaction"},
        }
    )


def rotate(cluster, *words):
    argv = ["salt-run", "--out=json", "repmgr.rotate_password", *words]
    done = cluster.lab.master.run(argv, check=False, timeout=180)
    data = json.loads(done.stdout)
    assert data["retcode"] == done.returncode, done.stderr
    return data


def held(cluster):
    """What a refused rotation leaves as it is."""
    files = "/etc/repmgr/pgpass /etc/repmgr/router-pgpass /etc/pgbouncer/userlist.txt"
    query = "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"
    sums = [cluster.lab[name].sh(f"md5sum {files} 2>&1 || true") for name in HOSTS]
    return sums, cluster.sql("node1", query), cluster.sql("node1", STREAMS)


def lets_in(cluster, name, password, role="repmgr"):
    where = f"host={cluster.lab[name].address} user={role}"
    dbname = "repmgr" if role == "repmgr" else "postgres"
    with contextlib.suppress(CommandError):
        argv = ["psql", "-XAtqc", "SELECT 1", f"{where} dbname={dbname}"]
        return cluster.lab["node2"].run(argv, env={"PGPASSWORD": password}).stdout == "1\n"
    return False


def every_path(cluster):
    """Whether each node gets into each server with what is in its file."""
    for name in NODES:
        for other in NODES:
            where = f"host={cluster.lab[other].address} user=repmgr dbname=repmgr"
            argv = ["psql", "-XAtqc", "SELECT 1", f"{where} passfile=/etc/repmgr/pgpass"]
            cluster.lab[name].run(argv, user="postgres")
    return True


@contextlib.contextmanager
def load(cluster, router):
    """Clients at work through a PgBouncer; none of them may fail."""
    host = cluster.lab["node3"]
    script = LOAD.format(seconds=SECONDS, version=cluster.version)
    host.write("/usr/local/bin/load", script, mode=0o755)
    where = f"host={cluster.lab[router].address} port={PORT} user={ROLE} dbname={DATABASE}"
    unit = ["systemd-run", "--quiet", "--unit=load", f"--setenv=PGPASSWORD={CLIENT}"]
    host.run([*unit, "load", where])
    yield
    host.sh("while systemctl -q is-active load; do sleep 0.5; done", timeout=2 * SECONDS)
    told = host.read("/tmp/pgbench.out")
    assert "number of failed transactions: 0 " in told, told
    assert host.sh("cat /tmp/logins.bad") == ""
    logins = len(host.read("/tmp/logins.good").split())
    print(told.splitlines()[-1], f"{logins} logins")
    assert logins > 20


def test_it_is_told_and_a_dry_run_touches_nothing(cluster):
    cluster.publish(password=SECOND)
    publish_bouncers(cluster, BOUNCERS_NEXT)
    before = held(cluster)
    data = rotate(cluster, "test=True")
    assert (data["retcode"], data["changed"], data["roles"]) == (0, False, ["repmgr", "pgbouncer"])
    done = cluster.lab.master.run(["salt-run", "--out=json", "repmgr.status"], check=False)
    told = json.loads(done.stdout)
    assert told["verdict"] == "degraded"
    late = "is not in force on node1, node2, node3"
    (line,) = [p for p in told["problems"] if "role repmgr" in p["what"]]
    assert late in line["what"] and "repmgr.rotate_password" in line["step"]
    assert held(cluster) == before


def test_state_apply_keeps_what_is_in_force(cluster):
    before = held(cluster)
    for name in ("node1", "node2"):
        states = cluster.apply(name)
        assert [k for k, s in states.items() if s["changes"] or not s["result"]] == []
    assert held(cluster) == before


def test_nobody_is_left_behind(cluster):
    before = held(cluster)
    cluster.silence("node3")
    data = rotate(cluster)
    assert (data["retcode"], data["changed"]) == (1, False), data
    assert "every member answers: node3: its minion does not answer" in data["result"]
    assert held(cluster) == before
    cluster.wake("node3")


def test_both_are_changed_and_no_client_notices(cluster):
    for name in HOSTS:
        cluster.lab[name].run(["systemd-run", "--quiet", "--unit=watcher", "watch-processes"])
    cluster.lab.master.run(
        ["systemd-run", "--quiet", "--unit=listener", "--property=StandardOutput=append:/tmp/bus"]
        + ["salt-run", "--out=json", "state.event", "pretty=False"]
    )
    streams = cluster.sql("node1", STREAMS)
    with load(cluster, "router1"):
        data = rotate(cluster)
    print(json.dumps(data, indent=1))
    assert (data["retcode"], data["changed"]) == (0, True), data
    assert cluster.sql("node1", STREAMS) == streams
    assert every_path(cluster)
    for name in NODES:
        assert lets_in(cluster, name, SECOND) and not lets_in(cluster, name, PASSWORD)
    assert not lets_in(cluster, "node1", BOUNCERS, "pgbouncer")
    assert cluster.sql("node1", "SELECT rolname FROM pg_roles WHERE rolname ~ 'detour'") == ""


def test_a_second_run_changes_nothing(cluster):
    before = held(cluster)
    data = rotate(cluster)
    assert (data["retcode"], data["changed"]) == (0, False)
    assert data["result"] == "the passwords in pillar are in force in foobar already"
    run = cluster.orchestrate()
    assert run.ok and run.changes == {}, run
    assert held(cluster) == before


def test_what_was_not_ended_is_ended(cluster):
    cluster.sql("node1", "CREATE ROLE pgbouncer_detour LOGIN IN ROLE pgbouncer")
    data = rotate(cluster)
    assert (data["retcode"], data["changed"]) == (0, True), data
    assert cluster.sql("node1", "SELECT rolname FROM pg_roles WHERE rolname ~ 'detour'") == ""
    assert every_path(cluster)


def test_the_orchestration_does_it_first(cluster):
    streams = cluster.sql("node1", STREAMS)
    cluster.publish(password=THIRD)
    dry = cluster.orchestrate("test=True")
    assert dry.ok and dry.step("passwords")["result"] is None, dry
    run = cluster.orchestrate()
    assert run.ok and run.steps[:2] == ["preflight", "passwords"], run
    assert run.changes == {}
    assert every_path(cluster) and not lets_in(cluster, "node1", SECOND)
    assert cluster.sql("node1", STREAMS) == streams


def test_one_that_was_lost_on_the_way_is_healed(cluster):
    streams = cluster.sql("node1", STREAMS)
    cluster.publish(password=FOURTH)
    cluster.silence("node3")
    # As it is when node3's minion dies once it has made ready.
    done = cluster.lab.master.run(
        ["salt", "-L", "node1,node2", "repmgr_node.rotate_password", "node1", "[node1, node2]"]
    )
    assert done.stdout.count("uses the new password") == 2, done.stdout
    assert [lets_in(cluster, name, FOURTH) for name in NODES] == [True] * 3
    cluster.wake("node3")
    run = cluster.orchestrate()
    assert run.ok, run
    assert every_path(cluster)
    assert cluster.sql("node1", STREAMS) == streams


def test_no_password_is_anywhere_else(cluster):
    master = cluster.lab.master
    places = "/var/cache/salt /var/log /run /tmp /etc"
    bus = master.read("/tmp/bus")
    assert "repmgr_node.rotate_password" in bus
    for secret in SECRETS:
        shown = json.dumps(secret)[1:-1]
        assert secret not in bus and shown not in bus
        for host in (master, *(cluster.lab[name] for name in HOSTS)):
            found = files_with(host, [secret, shown], f"{places} /var/lib")
            allowed = ("/pillar/", "/minions/", "/etc/repmgr/", "/etc/pgbouncer/")
            assert [f for f in found if not any(a in f for a in allowed)] == [], secret
            assert secret not in host.sh("journalctl --no-pager --output=cat")
    for name in NODES:
        assert "repmgr" in cluster.lab[name].read("/tmp/processes")
    log = cluster.lab["node1"].sh("cat /var/log/postgresql/postgresql-*.log")
    assert "ALTER ROLE repmgr PASSWORD 'SCRAM-SHA-256$" in log
