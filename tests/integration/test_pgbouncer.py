"""PgBouncer on all nodes and on a host of its own: clients stay with the primary.

The tests of this file are one story and run in its order.
"""

import json
import time

import pytest

from tests.failures import faults
from tests.failures import judge
from tests.failures.load import Load
from tests.failures.pillars import DATABASE
from tests.failures.running import Client
from tests.integration.conftest import cluster_of
from tests.integration.support import WATCH_PROCESSES
from tests.integration.support import files_with
from tests.lab import CommandError

NODES = ("node1", "node2", "node3")
ROUTERS = (*NODES, "router1")
PORT = 6432
# In no other file, and in no word of a process.
SECRET = "pgbouncers-own-battery-staple"
ROLE, CLIENT = "asker", "the-clients-own"
WRITE = "INSERT INTO made (by) VALUES ('{}') RETURNING pg_is_in_recovery()"


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("pgbouncer", nodes=3, others=("router1",)) as hosts:
        address = hosts.lab["router1"].address
        hosts.publish(
            pgbouncer={
                "password": SECRET,
                "databases": [DATABASE],
                "hosts": {**{name: {} for name in NODES}, "router1": {"host": address}},
                "settings": {"pool_mode": "transaction"},
            }
        )
        for name in ROUTERS:
            hosts.lab[name].write("/usr/local/bin/watch-processes", WATCH_PROCESSES, mode=0o755)
            hosts.lab[name].run(["systemd-run", "--quiet", "--unit=watcher", "watch-processes"])
        yield hosts


@pytest.fixture(scope="module")
def dry_run(cluster):
    return cluster.orchestrate("test=True")


@pytest.fixture(scope="module")
def built(cluster, dry_run):
    return cluster.orchestrate()


@pytest.fixture(scope="module")
def database(cluster, built):
    """The database comes after the cluster, and PgBouncer gets to know of it in the next run."""
    cluster.sql("node1", f"CREATE ROLE {ROLE} LOGIN PASSWORD '{CLIENT}'")
    cluster.sql("node1", f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    cluster.sql("node1", "GRANT CREATE ON SCHEMA public TO PUBLIC", DATABASE)
    cluster.sql("node1", f"SET ROLE {ROLE}; CREATE TABLE made (by text)", DATABASE)
    run = cluster.orchestrate()
    assert run.ok, run
    return run


def ask(cluster, router, query, dbname=DATABASE):
    """What a client at another host is answered through a PgBouncer."""
    where = f"host={cluster.lab[router].address} port={PORT} user={ROLE} dbname={dbname}"
    client = next(name for name in reversed(NODES) if cluster.lab[name].up)
    argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query, f"{where} connect_timeout=10"]
    return cluster.lab[client].run(argv, env={"PGPASSWORD": CLIENT}).stdout.strip()


def status(cluster):
    """What the runner says, with the routers by name."""
    done = cluster.lab.master.run(["salt-run", "--out=json", "repmgr.status"], check=False)
    told = json.loads(done.stdout)
    return {**told, "routers": {router["name"]: router for router in told["routers"]}}


def steady(cluster, wait):
    return wait(lambda: (told := status(cluster))["retcode"] == 0 and told, what="a healthy status")


def test_what_was_announced_is_what_was_done(dry_run, built):
    assert dry_run.ok and built.ok, (dry_run, built)
    assert built.announced() == dry_run.announced()
    assert {("router1", "pgbouncer"), ("router1", "repmgr-router")} <= built.announced()


def test_a_database_that_does_not_exist_is_told(built):
    role = built.nodes("primary")["node1"]["PgBouncer's role on node1"]["comment"]
    assert f"database {DATABASE} does not exist; create it and run again" in role
    lines = built.step("verify")["comment"].splitlines()
    assert lines[0] == "foobar: all 3 nodes and 4 PgBouncer(s) are as they should be"
    for name in ROUTERS:
        assert [line for line in lines if line.startswith(f"{name}: database {DATABASE} does not")]


def test_only_its_function_is_made_then(database):
    assert set(database.announced()) == {("node1", "PgBouncer's role on node1")}


def test_a_second_run_changes_nothing(cluster, database):
    run = cluster.orchestrate()
    assert run.ok, run
    assert run.changes == {}
    for name in ("router1", "node2"):
        states = cluster.apply(name)
        assert {k: s for k, s in states.items() if s["changes"] or not s["result"]} == {}


@pytest.mark.parametrize("router", ROUTERS)
def test_clients_write_through_each(cluster, database, router):
    assert ask(cluster, router, WRITE.format(router)) == "f"
    assert cluster.sql("node1", f"SELECT count(*) FROM made WHERE by = '{router}'", DATABASE) == "1"


@pytest.mark.parametrize("router", ROUTERS)
def test_clients_read_on_standbys(cluster, database, router, wait):
    query = "SELECT host(inet_server_addr())"
    standbys = {cluster.lab[name].address for name in ("node2", "node3")}
    wait(lambda: ask(cluster, router, query, f"{DATABASE}_ro") in standbys)


def test_a_superuser_is_not_let_in(cluster, database):
    cluster.sql("node1", f"CREATE ROLE boss LOGIN SUPERUSER PASSWORD '{CLIENT}'")
    where = f"host={cluster.lab['router1'].address} port={PORT} user=boss dbname={DATABASE}"
    with pytest.raises(CommandError):
        cluster.lab["node2"].run(["psql", "-c", "SELECT 1", where], env={"PGPASSWORD": CLIENT})
    cluster.sql("node1", "DROP ROLE boss")


def test_the_status_tells_of_all(cluster, database, wait):
    told = steady(cluster, wait)
    assert told["routers"] == {
        name: {
            "name": name,
            "minion": True,
            "points_to": "node1",
            "paused": False,
            "writable": True,
            "error": "",
        }
        for name in ROUTERS
    }


def test_a_pool_setting_is_reloaded_and_an_address_needs_a_restart(cluster, database):
    pgbouncer = cluster.pillar["pgbouncer"]
    pid = cluster.lab["router1"].sh("systemctl show -p MainPID pgbouncer")
    settings = {**pgbouncer["settings"], "default_pool_size": 7}
    cluster.publish(pgbouncer={**pgbouncer, "settings": settings})
    changed = cluster.apply("router1")["pgbouncer"]["changes"]
    assert changed["pgbouncer"]["new"] == "reloaded"
    assert cluster.lab["router1"].sh("systemctl show -p MainPID pgbouncer") == pid
    cluster.publish(pgbouncer={**pgbouncer, "settings": {**settings, "listen_backlog": 64}})
    changed = cluster.apply("router1")["pgbouncer"]["changes"]
    assert changed["pgbouncer"]["new"] == "restarted"
    assert ask(cluster, "router1", WRITE.format("after")) == "f"


def test_a_wrong_setting_is_refused_and_nothing_else_happens(cluster, database):
    pgbouncer = cluster.pillar["pgbouncer"]
    settings = {**pgbouncer["settings"], "default_pool_sise": 7}
    cluster.publish(pgbouncer={**pgbouncer, "settings": settings})
    states = cluster.apply("router1")
    ini = states["/etc/pgbouncer/pgbouncer.ini"]
    assert ini["result"] is False and "default_pool_sise" in ini["comment"]
    assert ask(cluster, "router1", WRITE.format("still")) == "f"
    cluster.publish(pgbouncer=pgbouncer)
    assert cluster.orchestrate().ok


def switchover(cluster, to):
    argv = ["salt-run", "--out=json", "repmgr.switchover", to]
    done = cluster.lab.master.run(argv, check=False, timeout=180)
    return json.loads(done.stdout)


def test_clients_see_a_pause_and_no_error_when_the_primary_is_moved(cluster, database, wait):
    load = Load(cluster.lab["node1"])
    load.prepare()
    router = cluster.lab["router1"].address
    with load.running(cluster.lab["node3"], clients=8, rate=200, through=router) as work:
        for to in ("node2", "node1"):
            time.sleep(3)
            data = switchover(cluster, to)
            assert data["retcode"] == 0, data
            print(data["nodes"])
        time.sleep(3)
    found = work.result()
    print(f"{found.done} transactions, longest wait {found.longest_wait:.2f} s")
    assert (found.failed, found.complaints) == (0, "")
    assert cluster.sql("node1", "SELECT count(*) FROM load", DATABASE) == str(found.done)
    told = steady(cluster, wait)
    assert {router["points_to"] for router in told["routers"].values()} == {"node1"}


def test_a_router_that_hangs_keeps_the_primary_where_it_is(cluster, database, wait):
    hung = cluster.lab["router1"]
    started = cluster.started("node1")
    hung.run(["systemctl", "kill", "--signal=STOP", "pgbouncer"])
    try:
        data = switchover(cluster, "node2")
    finally:
        hung.run(["systemctl", "kill", "--signal=CONT", "pgbouncer"])
    assert (data["retcode"], data["to"]) == (1, "node2")
    assert "1 of 4 PgBouncers did not pause within 5 s" in data["result"]
    assert cluster.started("node1") == started
    steady(cluster, wait)
    for router in ROUTERS:
        assert ask(cluster, router, WRITE.format("goes on")) == "f"


def test_the_loss_of_the_primary(cluster, database, wait):
    left = ("node2", "node3", "router1")
    with Client(cluster.lab, left, primary="node1", through=PORT) as client:
        time.sleep(3)
        struck = time.monotonic()
        faults.POWER_OFF.strike(cluster.lab["node1"])
        primary = wait(lambda: cluster.primary(among=NODES[1:]), what="a new primary")

        def gaps():
            acks = judge.rows(client.acks())
            mine = {name: [a for a in acks if a.node == name] for name in left}
            now = time.monotonic()
            return {name: judge.longest_gap(a, struck - 1, now) for name, a in mine.items()}

        def all_ended():
            found = gaps()
            return all(gap.ended and gap.end > struck + 1 for gap in found.values()) and found

        wait(all_ended, what="writes through each PgBouncer")
        # Whether they go on.
        time.sleep(5)
        print({name: f"{gap.seconds:.2f} s" for name, gap in all_ended().items()})
        assert client.lost(primary) == []
    told = status(cluster)
    assert {told["routers"][name]["points_to"] for name in left} == {primary}


def test_the_old_primary_comes_back(cluster, database, wait):
    cluster.lab["node1"].boot()
    wait(lambda: cluster.lab.salt("node1", "test.ping").data, what="the minion")
    run = cluster.orchestrate()
    assert run.ok, run
    told = steady(cluster, wait)
    assert {router["points_to"] for router in told["routers"].values()} == {told["primary"]}
    assert ask(cluster, "node1", WRITE.format("again")) == "f"


def test_the_old_primary_takes_over_again(cluster, database, wait):
    """The sessions that its router had when it lost power are not waited for."""
    data = switchover(cluster, "node1")
    assert data["retcode"] == 0, data
    steady(cluster, wait)


def test_one_that_is_wrong_is_named_and_healed(cluster, database, wait):
    router = cluster.lab["router1"]
    before = status(cluster)["primary"]
    wrong = next(name for name in NODES if name != before)
    router.run(["systemctl", "stop", "repmgr-router"])
    path = "/var/lib/repmgr-router/databases.ini"
    old, new = cluster.lab[before].address, cluster.lab[wrong].address
    router.run(["sed", "-i", f"s/host={old} /host={new} /", path])
    router.run(["systemctl", "reload", "pgbouncer"])
    told = wait(
        lambda: (s := status(cluster))["routers"]["router1"]["points_to"] == wrong and s,
        what="the wrong file",
    )
    assert (told["verdict"], told["routers"]["router1"]["writable"]) == ("degraded", False)
    lines = [p["what"] for p in told["problems"] if p["nodes"] == ["router1"]]
    assert (
        "repmgr-router does not run (unit: inactive): PgBouncer does not follow a new primary"
        in lines
    )
    assert f"PgBouncer routes clients to {wrong} ({new}), and {before} is the primary" in lines
    screen = cluster.lab.master.run(["salt-run", "repmgr.status"], check=False).stdout
    print(screen)
    assert f"router1  {wrong}" in screen
    run = cluster.orchestrate()
    assert run.ok, run
    assert run.announced() == {("router1", "repmgr-router")}
    assert ask(cluster, "router1", WRITE.format("healed")) == "f"


def test_one_that_is_away_keeps_nobody_from_their_work(cluster, database):
    cluster.silence("router1")
    found = cluster.lab.salt_run("repmgr.preflight").data
    assert found["problems"] == []
    assert found["missing"] == {"router1": "its minion does not answer ('salt router1 test.ping')"}
    run = cluster.orchestrate()
    assert run.failed == ["verify"]
    assert run.step("verify")["comment"].startswith("router1: its minion does not answer")
    cluster.wake("router1")


def test_the_password_is_nowhere_else(cluster, built, database):
    assert SECRET not in built.stdout + built.stderr + database.stdout + database.stderr
    master = cluster.lab.master
    places = "/var/cache/salt /var/log /run /tmp /etc"
    found = files_with(master, [SECRET], places)
    assert [f for f in found if "/pillar/" not in f and "/minions/" not in f] == []
    for name in ROUTERS:
        host = cluster.lab[name]
        if name != "node1":  # what was noted there went with its power
            watched = host.read("/tmp/processes")
            assert "pgbouncer" in watched and SECRET not in watched
        found = files_with(host, [SECRET], f"{places} /var/lib")
        assert found == ["/etc/pgbouncer/userlist.txt", "/etc/repmgr/router-pgpass"]
        assert SECRET not in host.sh("journalctl --no-pager --output=cat")
        modes = host.sh(f"stat -c '%U %a' {' '.join(found)}").split("\n")
        assert sorted(filter(None, modes)) == ["postgres 600", "postgres 640"]
