"""Servers are restarted and upgraded one after the other, eight clients writing all along.

They come through PgBouncer. The tests of this file are one story and run in its order.
"""

import contextlib
import copy
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of
from tests.lab.releases import RELEASES

NODES = ("node1", "node2", "node3")
DATABASE, ROLE, PASSWORD = "bench", "app", "the-clients-own"
PORT = 6432
UNIT = "pgbench"
OUTPUT = "/tmp/pgbench"
LONG_ENOUGH = 900


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("rolling", others=("app1",), preinstalled=True) as hosts:
        for name in NODES:
            install(hosts, name, versions(hosts, name)[-1])
        hosts.publish(
            postgres={"settings": {"max_connections": 60}},
            pgbouncer={
                "password": "pgbouncers-own-battery-staple",
                "databases": [DATABASE],
                "hosts": {name: {} for name in NODES},
                "settings": {"pool_mode": "transaction"},
            },
        )
        run = hosts.orchestrate()
        assert run.ok, run
        hosts.sql("node1", f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        hosts.sql("node1", f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        hosts.sql("node1", f"SET ROLE {ROLE}; CREATE TABLE made (by int)", DATABASE)
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


def packages(cluster):
    version = RELEASES[cluster.lab.spec.release].postgres
    return [f"postgresql-{version}", f"postgresql-client-{version}"]


def versions(cluster, name):
    """What the host is offered, the newest first."""
    listed = cluster.lab[name].sh(f"apt-cache madison {packages(cluster)[0]}")
    found = [line.split("|")[1].strip() for line in listed.splitlines()]
    assert len(found) > 1, f"the mirrors have one version only: {listed}"
    return found


def install(cluster, name, version):
    """Install that version, and keep it until somebody wants another."""
    wanted = [f"{package}={version}" for package in packages(cluster)]
    argv = ["apt-get", "install", "-y", "--allow-downgrades", *wanted]
    cluster.lab[name].run(argv, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=300)
    cluster.lab[name].run(["apt-mark", "hold", *packages(cluster)])


def rolled(cluster, *words):
    """Run the runner: its data."""
    done = cluster.lab.master.run(["salt-run", "--out=json", *words], check=False, timeout=600)
    data = json.loads(done.stdout)
    assert data["retcode"] == done.returncode, done.stderr
    print(json.dumps(data, indent=1))
    return data


def running(cluster, setting):
    return {cluster.sql(name, f"SHOW {setting}") for name in NODES}


def with_settings(cluster, **settings):
    postgres = copy.deepcopy(cluster.pillar["postgres"])
    postgres["settings"].update(settings)
    cluster.publish(postgres=postgres)


@contextlib.contextmanager
def clients(cluster):
    """Eight of them write all the time, and nothing of theirs fails or gets lost."""
    host = cluster.lab["app1"]
    cluster.sql(cluster.primary(NODES), "TRUNCATE made", DATABASE)
    host.write("/tmp/insert.sql", "INSERT INTO made VALUES (:client_id);\n")
    version = RELEASES[cluster.lab.spec.release].postgres
    where = f"host={cluster.lab['node1'].address} port={PORT} user={ROLE} dbname={DATABASE}"
    bench = f"/usr/lib/postgresql/{version}/bin/pgbench -n -c 8 -j 2 -R 300 -T {LONG_ENOUGH} --max-tries=1"
    command = f"exec {bench} -f /tmp/insert.sql '{where}' >{OUTPUT} 2>&1"
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "-E", f"PGPASSWORD={PASSWORD}"]
    host.run([*argv, "sh", "-c", command])
    time.sleep(2)
    try:
        yield
        time.sleep(1)
    finally:
        # As its own clock does when its time is over.
        host.run(["systemctl", "kill", "-s", "ALRM", UNIT], check=False)
    deadline = time.monotonic() + 30
    while "number of failed" not in host.read(OUTPUT) and time.monotonic() < deadline:
        time.sleep(0.2)
    said = host.read(OUTPUT)
    print(said)
    made = int(re.search(r"transactions actually processed: (\d+)", said)[1])
    assert "number of failed transactions: 0 (0.000%)" in said and "aborted" not in said
    assert made > 0
    assert cluster.sql(cluster.primary(NODES), "SELECT count(*) FROM made", DATABASE) == str(made)


def healthy(cluster):
    return cluster.lab.master.run(["salt-run", "repmgr.status"], check=False).returncode == 0


def nothing_is_left(cluster, work):
    data = rolled(cluster, f"repmgr.{work}", "test=True")
    assert (data["retcode"], data["plan"]) == (0, [])
    assert cluster.whole()


def test_more_connections_standbys_first(cluster):
    with_settings(cluster, max_connections=90)
    run = cluster.orchestrate()
    assert run.ok and running(cluster, "max_connections") == {"60"}
    said = run.step("verify")["comment"]
    assert (
        "node1: max_connections stays 60 for now instead of 90: standby node2, node3 would have"
        in said
    )
    assert "node2: a restart is needed for max_connections ('salt-run repmgr.restart')" in said
    plan = rolled(cluster, "repmgr.restart", "test=True")["plan"]
    assert [line.split(":")[0] for line in plan] == [
        "node2",
        "node3",
        "switchover to node2",
        "node1",
    ]
    with clients(cluster):
        data = rolled(cluster, "repmgr.restart")
    assert (data["retcode"], data["changed"]) == (0, True)
    assert running(cluster, "max_connections") == {"90"}
    nothing_is_left(cluster, "restart")


def test_fewer_connections_the_primary_first_and_in_place(cluster, wait):
    primary = cluster.primary(NODES)
    with_settings(cluster, max_connections=70)
    run = cluster.orchestrate()
    assert run.ok
    others = [name for name in NODES if name != primary]
    for name in others:
        held = f"{name}: max_connections stays 90 for now instead of 70"
        line = f"{held}: primary {primary} runs with that"
        assert line in run.step("verify")["comment"]
    # A standby that reboots now has to come back.
    cluster.lab[others[0]].run(["systemctl", "restart", f"postgresql@{cluster.version}-main"])
    wait(lambda: healthy(cluster), what="the standby")
    with clients(cluster):
        data = rolled(cluster, "repmgr.restart")
    assert (data["retcode"], len(data["done"])) == (0, 3)
    assert data["done"][0].startswith(f"{primary}, the primary, in place; clients wait")
    assert cluster.primary(NODES) == primary
    assert running(cluster, "max_connections") == {"70"}
    nothing_is_left(cluster, "restart")


if LONG:

    def test_another_setting_and_back_to_the_same_primary(cluster):
        primary = cluster.primary(NODES)
        # Nobody wrote it before: the run does.
        with_settings(cluster, shared_buffers="96MB")
        with clients(cluster):
            words = ["state.orchestrate", "repmgr.restart", 'pillar={"back": true}']
            done = cluster.lab.salt_run(*words, timeout=600)
        assert done.returncode == 0, done
        assert running(cluster, "shared_buffers") == {"96MB"}
        assert cluster.primary(NODES) == primary
        nothing_is_left(cluster, "restart")

    def test_a_standby_that_cannot_start_with_it_stops_the_run_and_is_in_service(cluster, wait):
        primary = cluster.primary(NODES)
        started = cluster.started(primary)
        # One that our file has had before, and one that it has not.
        with_settings(cluster, shared_buffers="7000GB", huge_pages="on")
        with clients(cluster):
            data = rolled(cluster, "repmgr.restart")
        assert (data["retcode"], data["changed"]) == (1, False)
        assert "does not start with the new settings (" in data["result"]
        assert "and runs with the old ones again" in data["result"]
        assert cluster.primary(NODES) == primary and cluster.started(primary) == started
        wait(cluster.whole, what="the cluster in service")
        with_settings(cluster, shared_buffers="96MB", huge_pages="try")
        run = cluster.orchestrate()
        assert run.ok, run
        nothing_is_left(cluster, "restart")

    def test_a_primary_that_was_given_more_by_hand_and_alone(cluster, wait):
        """PostgreSQL pauses replay on the standbys, and shuts down who resumes it."""
        primary = cluster.primary(NODES)
        first, second = [name for name in NODES if name != primary]
        cluster.sql(primary, "ALTER SYSTEM SET max_connections = 120")
        cluster.lab[primary].run(["systemctl", "restart", f"postgresql@{cluster.version}-main"])
        for name in (first, second):
            paused = "SELECT pg_is_wal_replay_paused()"
            wait(lambda n=name: cluster.sql(n, paused) == "t", what=f"{name} paused")
        said = cluster.lab.master.run(["salt-run", "repmgr.status"], check=False).stdout
        print(said)
        assert f"max_connections is 70 and is 120 on {primary}" in said
        cluster.sql(primary, "ALTER SYSTEM RESET max_connections")
        with clients(cluster):
            data = rolled(cluster, "repmgr.restart")
        assert data["retcode"] == 0
        assert cluster.primary(NODES) == primary
        assert running(cluster, "max_connections") == {"70"}
        nothing_is_left(cluster, "restart")


def pids(cluster):
    """The processes of what clients use, on all nodes."""
    units = (f"postgresql@{cluster.version}-main", "repmgrd", "repmgr-guard", "pgbouncer")
    argv = ["systemctl", "show", "--property=MainPID", "--value", *units]
    return {name: cluster.lab[name].run(argv).stdout.split() for name in NODES}


def at_night(cluster, *argv):
    """Run a program on all nodes at the same moment: what it says, node by node."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda n: cluster.lab[n].run(argv, env=env, timeout=300), NODES)
        return dict(zip(NODES, (d.stdout + d.stderr for d in done)))


@pytest.fixture
def night(cluster):
    """A newer minor version is offered, and each node is set up to take what is offered."""
    # They are on hold.
    assert rolled(cluster, "repmgr.upgrade", "test=True")["plan"] == []
    at_night(cluster, "apt-get", "install", "-y", "unattended-upgrades", "needrestart")
    anything = 'Unattended-Upgrade::Origins-Pattern { "origin=*"; };\n'
    for name in NODES:
        host = cluster.lab[name]
        host.run(["apt-mark", "unhold", *packages(cluster)])
        host.write("/etc/apt/apt.conf.d/90lab", anything)
    return "unattended-upgrade", "--verbose", "--debug"


def test_a_night_of_unattended_upgrades(cluster, night):
    newest, *_ = versions(cluster, "node1")
    primary, before = cluster.primary(NODES), pids(cluster)
    # What this is about: without our file it would.
    ours = "/etc/apt/apt.conf.d/52repmgr"
    at_night(cluster, "mv", ours, "/root/52repmgr")
    bare = at_night(cluster, *night, "--dry-run")
    at_night(cluster, "mv", "/root/52repmgr", ours)
    wanted = f"Packages that will be upgraded:.* {packages(cluster)[0]}\\b"
    assert [n for n in NODES if not re.search(wanted, bare[n])] == []
    with clients(cluster):
        said = at_night(cluster, *night)
        # What an upgrade of OpenSSL does to everybody who uses it.
        library = (
            cluster.lab["node1"]
            .sh("ldconfig -p | awk '/libcrypto.so.3/ {print $NF; exit}'")
            .strip()
        )
        at_night(
            cluster, "sh", "-c", f"cp -p {library} {library}.new && mv {library}.new {library}"
        )
        ssh = cluster.lab["node1"].sh("systemctl show --property=MainPID --value ssh")
        restarted = at_night(cluster, "needrestart", "-r", "a")
    for name in NODES:
        assert f"skipping blacklisted package {packages(cluster)[0]}" in said[name]
        # It looked at them, and left them.
        assert f"postgresql@{cluster.version}-main.service" in restarted[name], restarted[name]
    # needrestart may have restarted these.
    cluster.lab.wait_for_minions()
    assert cluster.lab["node1"].sh("systemctl show --property=MainPID --value ssh") != ssh
    assert (cluster.primary(NODES), pids(cluster)) == (primary, before)
    assert cluster.whole()
    plan = rolled(cluster, "repmgr.upgrade", "test=True")["plan"]
    assert len(plan) == 4 and f"-> {newest}" in plan[0]


def test_a_minor_upgrade(cluster):
    newest, *_, oldest = versions(cluster, "node1")
    plan = rolled(cluster, "repmgr.upgrade", "test=True")["plan"]
    assert len(plan) == 4 and f"{oldest} -> {newest}" in plan[0]
    with clients(cluster):
        data = rolled(cluster, "repmgr.upgrade")
    assert (data["retcode"], len(data["done"])) == (0, 4)
    assert running(cluster, "server_version") == {f"{newest.split('-')[0]} (Debian {newest})"}
    nothing_is_left(cluster, "upgrade")
    run = cluster.orchestrate()
    assert run.ok, run
