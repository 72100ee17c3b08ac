"""From bare Debian to a cluster, again without a change, and after a promotion by hand.

The tests of this file are one story and run in its order.
"""

import json

import pytest

from tests.integration.conftest import cluster_of
from tests.integration.support import PASSWORD
from tests.integration.support import WATCH_PROCESSES
from tests.integration.support import files_with

NODES = ("node1", "node2", "node3", "node4")
STANDBYS = ["node2", "node3"]


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("build", nodes=3, witness=True) as built:
        yield built


@pytest.fixture(scope="module")
def dry_run(cluster):
    before = {name: cluster.fingerprint(name) for name in NODES}
    run = cluster.orchestrate("test=True")
    return before, run, {name: cluster.fingerprint(name) for name in NODES}


def test_a_dry_run_on_bare_hosts_touches_nothing(dry_run):
    before, run, after = dry_run
    assert run.ok, run
    assert after == before
    assert "postgresql" not in "".join(after.values())


def test_a_dry_run_announces_the_build(dry_run):
    _, run, _ = dry_run
    announced = run.announced()
    for name in NODES:
        assert (name, f"packages of {name}") in announced
        assert (name, f"registration of {name}") in announced
        assert (name, "repmgrd") in announced
    assert {n for n in NODES if (n, f"data of {n}") in announced} == set(STANDBYS)
    assert "would make" in run.nodes("primary")["node1"]["cluster of node1"]["comment"]


@pytest.fixture(scope="module")
def built(cluster, dry_run):
    # Every word that crosses the event bus while the cluster is built, to be searched.
    cluster.lab.master.run(
        ["systemd-run", "--quiet", "--unit=listener", "--property=StandardOutput=append:/tmp/bus"]
        + ["salt-run", "--out=json", "state.event", "pretty=False"]
    )
    for name in NODES:
        cluster.lab[name].write("/usr/local/bin/watch-processes", WATCH_PROCESSES, mode=0o755)
        cluster.lab[name].run(["systemd-run", "--quiet", "--unit=watcher", "watch-processes"])
    run = cluster.orchestrate()
    for name in NODES:
        cluster.lab[name].run(["systemctl", "stop", "watcher"])
    cluster.lab.master.run(["systemctl", "stop", "listener"])
    return run


def test_the_build(cluster, built):
    assert built.ok, built
    assert built.failed == []
    assert cluster.show("node1") == ({1: (0, 0), 2: (0, 1), 3: (0, 1), 4: (0, 0)}, 0)
    assert cluster.streaming("node1") == STANDBYS


def test_what_was_announced_is_what_was_done(dry_run, built):
    assert built.announced() == dry_run[1].announced()


def test_data_reach_every_standby(cluster, built, wait):
    cluster.sql("node1", "CREATE TABLE t AS SELECT 42 AS answer")
    for name in STANDBYS:
        wait(
            lambda n=name: cluster.sql(n, "SELECT count(*) FROM pg_class WHERE relname = 't'")
            == "1"
        )
        assert cluster.sql(name, "SELECT answer FROM t") == "42"


def test_repmgr_finds_no_fault(cluster, built):
    for name in NODES:
        _, code = cluster.show(name)
        assert code == 0
        checked = cluster.lab.salt_call(name, "repmgr.node_check").data
        assert checked["status"] == "OK", checked
    for row in cluster.lab.salt_call("node1", "repmgr.service_status").data:
        assert row["repmgrd_running"] is True, row
        assert row["paused"] is False, row


def test_clone_progress_is_on_the_event_bus(cluster, built):
    bus = cluster.lab.master.read("/tmp/bus")
    clones = [line for line in bus.splitlines() if line.startswith("repmgr/foobar/clone")]
    seen = [json.loads(line.split("\t", 1)[1])["data"] for line in clones]
    for name in STANDBYS:
        stages = [event["stage"] for event in seen if event["node"] == name]
        assert stages[0] == "started" and stages[-1] == "ended"


def test_the_password_is_nowhere(cluster, built):
    assert PASSWORD not in built.stdout + built.stderr
    master = cluster.lab.master
    assert PASSWORD not in master.read("/tmp/bus")
    # The pillar has to hold it; the job cache, the logs and all else must not.
    found = files_with(master, [PASSWORD], "/var/cache/salt /var/log /run /tmp /etc")
    # The master's own copy of its minions' pillars is Salt's, and no job.
    assert [f for f in found if "/pillar/" not in f and "/minions/" not in f] == []
    for name in NODES:
        host = cluster.lab[name]
        assert PASSWORD not in host.read("/tmp/processes")
        places = "/etc /var/log /var/cache /run /tmp /var/lib/postgresql"
        assert files_with(host, [PASSWORD], places) == ["/etc/repmgr/pgpass"]
        assert PASSWORD not in host.sh("journalctl --no-pager --output=cat")
        assert host.sh("stat -c '%U %a' /etc/repmgr/pgpass").strip() == "postgres 600"


def test_the_watch_on_processes_saw_something(cluster, built):
    # Without this the test above could pass for the wrong reason.
    assert "repmgr" in cluster.lab["node2"].read("/tmp/processes")


def test_access_is_what_is_needed_and_no_more(cluster, built):
    for name in NODES:
        rules = cluster.lab.salt_call(name, "repmgr_pg.hba_rules").data
        assert not [r for r in rules if r["auth_method"] == "trust" or r["error"]]
        remote = [r for r in rules if r["type"] == "host" and r["address"] == "10.77.0.0"]
        assert [(r["database"], r["user_name"], r["auth_method"]) for r in remote] == [
            (["repmgr"], ["repmgr"], "scram-sha-256"),
            (["replication"], ["repmgr"], "scram-sha-256"),
        ]
    role = "SELECT rolsuper, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'repmgr'"
    assert cluster.sql("node1", role) == "f|t"


def test_a_second_run_changes_nothing(cluster, built):
    before = {name: (cluster.started(name), cluster.fingerprint(name)) for name in NODES}
    run = cluster.orchestrate()
    assert run.ok, run
    assert run.changes == {}
    after = {name: (cluster.started(name), cluster.fingerprint(name)) for name in NODES}
    assert after == before


@pytest.mark.parametrize("words", [(), ("test=True",)], ids=["real", "dry"])
def test_state_apply_changes_nothing(cluster, built, words):
    before = {name: cluster.started(name) for name in NODES}
    for name in NODES:
        states = cluster.apply(name, *words)
        assert [s["__id__"] for s in states.values() if s["result"] is not True] == []
        assert {k: s["changes"] for k, s in states.items() if s["changes"]} == {}
    assert {name: cluster.started(name) for name in NODES} == before


def test_a_registration_that_drifted_is_repaired(cluster, built):
    query = "UPDATE repmgr.nodes SET priority = 7, active = false WHERE node_id = 3"
    cluster.sql("node1", query, dbname="repmgr")
    dry = cluster.apply("node3", "test=True")["registration of node3"]
    assert dry["result"] is None
    assert "priority is 7, not 100" in dry["comment"]
    before = cluster.started("node3")
    done = cluster.apply("node3")["registration of node3"]
    assert done["result"] is True
    assert done["changes"].keys() == dry["changes"].keys()
    row = "SELECT priority, active, upstream_node_id FROM repmgr.nodes WHERE node_id = 3"
    assert cluster.sql("node1", row, dbname="repmgr") == "100|t|1"
    assert cluster.started("node3") == before


def test_a_changed_setting_is_reloaded_and_not_restarted(cluster, built):
    before = {name: cluster.started(name) for name in NODES}
    cluster.publish(postgres={"settings": {"work_mem": "8MB", "max_connections": 120}})
    dry = cluster.orchestrate("test=True")
    run = cluster.orchestrate()
    assert run.ok, run
    assert run.announced() == dry.announced()
    for name in NODES:
        assert cluster.sql(name, "SHOW work_mem") == "8MB"
    unit = f"postgresql@{cluster.version}-main"
    primary, standby = run.nodes("primary")["node1"][unit], run.nodes("standbys 1")["node2"][unit]
    assert "a restart is needed for max_connections" in standby["comment"]
    assert "max_connections stays 100 for now instead of 120" in primary["comment"]
    assert (
        "salt-run repmgr.restart" in primary["comment"] and "repmgr.restart" in standby["comment"]
    )
    assert {name: cluster.started(name) for name in NODES} == before
    cluster.publish(postgres={})
    assert cluster.orchestrate().ok


def test_a_setting_the_server_cannot_read_is_refused_before_it_counts(cluster, built):
    path = f"/etc/postgresql/{cluster.version}/main/conf.d/90-repmgr.conf"
    before = cluster.lab["node1"].read(path)
    cluster.publish(postgres={"settings": {"work_mem": "lots"}})
    run = cluster.orchestrate()
    assert not run.ok
    assert cluster.lab["node1"].read(path) == before
    # Nothing but a start finds this one. The dry run says it, too, and no server is touched.
    cluster.publish(postgres={"settings": {"shared_preload_libraries": ["no_such_library"]}})
    started = {name: cluster.started(name) for name in NODES}
    for options in (("test=True",), ()):
        run = cluster.orchestrate(*options)
        assert not run.ok
        comment = run.nodes("primary")["node1"][path]["comment"]
        assert "repmgr.postgres.settings.shared_preload_libraries" in comment
        assert 'could not access file "no_such_library"' in comment
    assert cluster.lab["node1"].read(path) == before
    assert {name: cluster.started(name) for name in NODES} == started
    cluster.publish(postgres={})
    assert cluster.orchestrate().changes == {}


@pytest.fixture(scope="module")
def promoted(cluster, built):
    """node1 is stopped and node2 promoted, as a DBA would at night."""
    cluster.publish(rejoin="never")
    for name in NODES:
        cluster.lab[name].run(["systemctl", "stop", "repmgrd"])
    cluster.lab["node1"].run(["systemctl", "stop", f"postgresql@{cluster.version}-main"])
    repmgr = [f"/usr/lib/postgresql/{cluster.version}/bin/repmgr", "-f", "/etc/repmgr.conf"]
    for name, command in (("node2", "promote"), ("node3", "follow")):
        cluster.lab[name].run([*repmgr, "standby", command], user="postgres")
    cluster.sql("node2", "INSERT INTO t VALUES (43)")
    return cluster.lab["node1"].sh("ls -d /var/lib/postgresql/*/main*")


class TestAfterAPromotionByHand:
    def test_a_dry_run_says_so(self, cluster, promoted):
        run = cluster.orchestrate("test=True")
        assert not run.ok
        assert "node2 is the primary on timeline 2" in run.step("preflight")["comment"]

    def test_the_orchestration_demotes_nobody_and_wipes_nothing(self, cluster, promoted):
        started = {name: cluster.started(name) for name in ("node2", "node3", "node4")}
        run = cluster.orchestrate()
        assert {name: cluster.started(name) for name in started} == started
        assert not run.ok
        lines = run.step("verify")["comment"].splitlines()
        assert len(lines) == 1 and lines[0].startswith("node1: ")
        assert "node1 was a primary of this cluster, and node2 is the primary now" in lines[0]
        assert cluster.sql("node2", "SELECT pg_is_in_recovery()") == "f"
        assert cluster.sql("node2", "SELECT array_agg(answer ORDER BY 1) FROM t") == "{42,43}"
        assert cluster.streaming("node2") == ["node3"]
        assert cluster.lab["node1"].sh("ls -d /var/lib/postgresql/*/main*") == promoted

    def test_state_apply_on_every_node_does_not_either(self, cluster, promoted):
        started = {name: cluster.started(name) for name in ("node2", "node3", "node4")}
        for name in NODES:
            states = cluster.apply(name)
            refused = [s["comment"] for s in states.values() if s["result"] is False]
            assert bool(refused) == (name == "node1"), (name, refused)
            if refused:
                assert "node2 is the primary now" in refused[0]
        assert {name: cluster.started(name) for name in started} == started
        node1 = cluster.lab["node1"].run(["pgrep", "-u", "postgres", "-x", "postgres"], check=False)
        assert node1.returncode == 1

    def test_the_next_command_it_names_works(self, cluster, promoted):
        words = {"upstream": "node2", "force_rewind": True}
        done = cluster.lab.salt("node1", "repmgr.node_rejoin", **words)
        assert done.returncode == 0, done.stdout
        cluster.publish(rejoin="ask")
        assert cluster.orchestrate().ok
        assert cluster.streaming("node2") == ["node1", "node3"]
        assert cluster.orchestrate().changes == {}

    def test_two_primaries_are_shown_and_left_alone(self, cluster, promoted):
        # Somebody turns node1 into a primary of its own, past all of Debian's tools.
        path = cluster.sql("node1", "SHOW data_directory")
        unit = f"postgresql@{cluster.version}-main"
        cluster.lab["node1"].run(["systemctl", "stop", unit])
        cluster.lab["node1"].run(["rm", f"{path}/standby.signal"])
        refused = cluster.lab["node1"].run(["systemctl", "start", unit], check=False)
        assert refused.returncode != 0
        pg_ctl = [f"/usr/lib/postgresql/{cluster.version}/bin/pg_ctl", "start", "-s", "-D", path]
        conf = f"-c config_file=/etc/postgresql/{cluster.version}/main/postgresql.conf"
        cluster.lab["node1"].run([*pg_ctl, "-l", "/dev/null", "-o", conf], user="postgres")
        started = {name: cluster.started(name) for name in NODES}
        run = cluster.orchestrate()
        assert run.failed == ["preflight"] and run.steps == ["preflight"]
        comment = run.step("preflight")["comment"]
        assert "2 nodes act as primary, nothing was changed" in comment
        assert "node1: primary on timeline" in comment and "node2: primary on timeline" in comment
        for name in ("node1", "node2", "node3"):
            states = cluster.apply(name)
            assert "nothing was changed" in states[f"role of {name}"]["comment"]
        assert {name: cluster.started(name) for name in NODES} == started
