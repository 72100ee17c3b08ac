"""Members are added, changed, removed and replaced, and the others do not notice.

The tests of this file are one story and run in its order.
"""

import pytest

from tests.integration.conftest import cluster_of


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("members", nodes=3) as made:
        run = made.orchestrate()
        assert run.ok, run
        yield made


def lives(cluster, *names):
    """Since when the servers run, and since when each standby's sender is connected."""
    senders = {}
    for name in names:
        query = "SELECT application_name, backend_start FROM pg_stat_replication"
        senders |= dict(line.split("|") for line in cluster.sql(name, query).splitlines())
    return {name: cluster.started(name) for name in names}, senders


def slots(cluster, name):
    query = "SELECT slot_name, active FROM pg_replication_slots"
    return dict(line.split("|") for line in cluster.sql(name, query).splitlines())


def records(cluster, columns, name="node1"):
    query = f"SELECT node_name, {columns} FROM repmgr.nodes ORDER BY node_id"
    lines = cluster.sql(name, query, dbname="repmgr").splitlines()
    return dict(line.split("|", 1) for line in lines)


def nodes(cluster, **changes):
    """Publish the pillar with changes to its nodes."""
    wanted = cluster.pillar["nodes"]
    cluster.publish(nodes={n: {**v, **changes.get(n, {})} for n, v in wanted.items()})


def daemon(cluster, name):
    return cluster.lab[name].sh("systemctl show -p MainPID --value repmgrd").strip()


class TestAdded:
    def test_only_the_new_node_works(self, cluster):
        before = lives(cluster, "node1", "node2", "node3")
        pids = {n: daemon(cluster, n) for n in ("node1", "node2", "node3")}
        host = cluster.lab.enroll("node4")
        wanted = {**cluster.pillar["nodes"], "node4": {"id": 4, "host": host.address}}
        cluster.publish(nodes=wanted)
        run = cluster.orchestrate()
        assert run.ok, run
        elsewhere = {(n, s) for n, s in run.announced() if n != "node4"}
        assert elsewhere == {(f"node{i}", "/etc/repmgr/pgpass") for i in (1, 2, 3)}
        after = lives(cluster, "node1", "node2", "node3")
        assert after[1].pop("node4")
        assert after == before
        assert {n: daemon(cluster, n) for n in pids} == pids
        assert cluster.streaming("node1") == ["node2", "node3", "node4"]
        assert cluster.orchestrate().changes == {}


class TestChanged:
    def test_priority_and_location_need_no_restart(self, cluster, wait):
        before = lives(cluster, "node1", "node2", "node3", "node4")
        pids = {n: daemon(cluster, n) for n in before[0]}
        nodes(cluster, node2={"priority": 50, "location": "dc2"})
        run = cluster.orchestrate()
        assert run.ok, run
        assert {n for n, _ in run.announced()} == {"node2"}
        assert records(cluster, "priority, location")["node2"] == "50|dc2"
        assert "priority=50" in cluster.lab["node2"].read("/etc/repmgr.conf")
        assert lives(cluster, *before[0]) == before
        assert {n: daemon(cluster, n) for n in pids} == pids
        log = "journalctl -u repmgrd --no-pager -o cat"
        wait(lambda: "reloading configuration" in cluster.lab["node2"].sh(log), what="the reload")

    def test_a_host_moves_those_that_stream_from_it(self, cluster):
        before = lives(cluster, "node1", "node2", "node3", "node4")
        pids = {n: daemon(cluster, n) for n in before[0]}
        nodes(cluster, node1={"host": "node1"})
        # What repmgrd reads when it starts, and only then.
        cluster.publish(settings={"log_level": "NOTICE"})
        run = cluster.orchestrate()
        assert run.ok, run
        assert lives(cluster, *before[0])[0] == before[0]
        for name in ("node2", "node3", "node4"):
            assert "host=node1 " in cluster.sql(name, "SHOW primary_conninfo")
        assert cluster.streaming("node1") == ["node2", "node3", "node4"]
        assert "host=node1 " in records(cluster, "conninfo")["node1"]
        now = {n: daemon(cluster, n) for n in pids}
        assert [n for n in pids if now[n] == pids[n]] == []

    def test_an_upstream_moves_its_standby_and_nobody_else(self, cluster):
        before = lives(cluster, "node1", "node2", "node3", "node4")
        nodes(cluster, node3={"upstream": "node2"})
        dry = cluster.orchestrate("test=True")
        assert ("node3", "upstream of node3") in dry.announced()
        run = cluster.orchestrate()
        assert run.ok, run
        assert {n for n, _ in run.announced()} == {"node3"}
        assert cluster.streaming("node2") == ["node3"]
        assert slots(cluster, "node2") == {"repmgr_slot_3": "t"}
        assert slots(cluster, "node1") == {"repmgr_slot_2": "t", "repmgr_slot_4": "t"}
        assert records(cluster, "upstream_node_id")["node3"] == "2"
        after = lives(cluster, *before[0])
        assert after[0] == before[0]
        for name in ("node2", "node4"):
            assert after[1][name] == before[1][name]
        assert cluster.orchestrate().changes == {}

    def test_without_an_upstream_a_standby_stays_where_it_is(self, cluster):
        wanted = {n: dict(v) for n, v in cluster.pillar["nodes"].items()}
        del wanted["node3"]["upstream"]
        cluster.publish(nodes=wanted)
        run = cluster.orchestrate()
        assert run.ok, run
        assert run.changes == {}
        assert cluster.streaming("node2") == ["node3"]


class TestRemoved:
    def test_the_primary_does_not_leave(self, cluster):
        present = cluster.pillar["nodes"]
        wanted = {n: dict(v) for n, v in present.items()}
        del wanted["node1"]["role"]
        wanted["node1"]["ensure"] = "absent"
        wanted["node2"]["role"] = "primary"
        before = lives(cluster, "node1", "node2")
        cluster.publish(nodes=wanted)
        run = cluster.orchestrate()
        assert run.steps == ["preflight"] and run.failed == ["preflight"]
        assert "repmgr.switchover node2" in run.step("preflight")["comment"]
        alone = cluster.apply("node1")["node1 leaves"]
        assert alone["result"] is False
        assert "repmgr.switchover node2" in alone["comment"]
        cluster.publish(nodes=present)
        assert lives(cluster, "node1", "node2") == before

    def test_a_slot_that_belongs_to_nobody(self, cluster):
        for name in ("repmgr_slot_77", "backup"):
            cluster.sql("node1", f"SELECT pg_create_physical_replication_slot('{name}', true)")
        run = cluster.orchestrate()
        assert run.ok, run
        assert run.changes == {}
        verify = run.step("verify")["comment"]
        for name in ("repmgr_slot_77", "backup"):
            # Somebody may use it again, whatever it is called.
            assert name in slots(cluster, "node1")
            assert f"slot {name} is inactive" in verify
            assert f"salt node1 repmgr_pg.slot_drop {name}" in verify
            dropped = cluster.lab.salt("node1", "repmgr_pg.slot_drop", name)
            assert dropped.returncode == 0, dropped.stdout

    def test_a_slot_of_a_member_that_streams_from_elsewhere(self, cluster):
        # node3 streams from node2, by its slot there.
        cluster.sql("node1", "SELECT pg_create_physical_replication_slot('repmgr_slot_3', true)")
        run = cluster.orchestrate()
        assert run.ok, run
        assert {(n, s) for n, s in run.announced()} == {("node1", "slots of node1")}
        assert "repmgr_slot_3" not in slots(cluster, "node1")

    def test_an_upstream_leaves(self, cluster):
        # node3 streams from node2; without node2 it goes to the primary first.
        before = lives(cluster, "node1", "node3", "node4")
        port = f"postgresql@{cluster.version}-main"
        nodes(cluster, node2={"ensure": "absent"})
        dry = cluster.orchestrate("test=True")
        assert ("node2", "node2 leaves") in dry.announced()
        run = cluster.orchestrate()
        assert run.ok, run
        assert {n for n, s in run.announced() if s != "/etc/repmgr/pgpass"} == {
            "node1",
            "node2",
            "node3",
        }
        assert list(records(cluster, "type")) == ["node1", "node3", "node4"]
        assert slots(cluster, "node1") == {"repmgr_slot_3": "t", "repmgr_slot_4": "t"}
        after = lives(cluster, "node1", "node3", "node4")
        assert after[0] == before[0]
        assert after[1]["node4"] == before[1]["node4"]
        gone = cluster.lab["node2"]
        assert gone.sh("pgrep -u postgres -l 'postgres|repmgrd' || true") == ""
        assert gone.sh("cat /var/lib/postgresql/*/main/PG_VERSION").strip() == str(cluster.version)
        assert gone.sh("ls /var/lib/postgresql/*/main/pg_replslot") == ""
        address = cluster.pillar["nodes"]["node2"]["host"]
        for name in ("node1", "node3", "node4"):
            assert address not in cluster.lab[name].read("/etc/repmgr/pgpass")
        assert cluster.orchestrate().changes == {}
        # It stays down, also when its host starts again.
        gone.power_off()
        gone.boot()
        gone.sh("systemctl is-system-running --wait || true")
        assert gone.sh(f"systemctl is-active {port} || true").strip() == "inactive"
        assert gone.sh("systemctl is-active repmgrd || true").strip() == "inactive"

    def test_the_rest_keeps_a_majority(self, cluster):
        port = f"postgresql@{cluster.version}-main"
        cluster.lab["node3"].run(["systemctl", "stop", "repmgrd", port])
        nodes(cluster, node4={"ensure": "absent"})
        run = cluster.orchestrate("test=True")
        assert run.failed == ["preflight"]
        assert "without node4, 1 of 2 electors" in run.step("preflight")["comment"]
        assert "Bring back node3 first" in run.step("preflight")["comment"]
        nodes(cluster, node4={"ensure": "present"})

    def test_it_comes_back(self, cluster):
        before = lives(cluster, "node1", "node4")
        nodes(cluster, node2={"ensure": "present"})
        run = cluster.orchestrate()
        assert run.ok, run
        after = lives(cluster, "node1", "node4")
        assert after[1].pop("node2") and after[1].pop("node3")
        assert after == before
        assert slots(cluster, "node1") == {f"repmgr_slot_{i}": "t" for i in (2, 3, 4)}
        # Its server is Debian's to start again.
        start = cluster.lab["node2"].read(f"/etc/postgresql/{cluster.version}/main/start.conf")
        assert start == "auto\n"


class TestReplaced:
    def test_a_new_machine_under_the_same_id(self, cluster):
        before = lives(cluster, "node1", "node2", "node3")
        cluster.lab["node4"].reset()
        cluster.lab.wait_for_minions()
        assert slots(cluster, "node1")["repmgr_slot_4"] == "f"
        run = cluster.orchestrate()
        assert run.ok, run
        assert {n for n, _ in run.announced()} == {"node4"}
        after = lives(cluster, "node1", "node2", "node3")
        before[1].pop("node4", None)
        assert after[1].pop("node4")
        assert after == before
        assert slots(cluster, "node1")["repmgr_slot_4"] == "t"
        assert cluster.orchestrate().changes == {}

    def test_a_new_machine_with_a_new_id(self, cluster):
        present = cluster.pillar["nodes"]
        before = lives(cluster, "node1", "node2", "node3")
        cluster.lab["node4"].reset()
        cluster.lab.wait_for_minions()
        nodes(cluster, node4={"id": 9})
        dry, run = cluster.orchestrate("test=True"), cluster.orchestrate()
        assert run.ok, run
        assert dry.announced() == run.announced() and {n for n, _ in run.announced()} == {"node4"}
        assert records(cluster, "node_id, active")["node4"] == "9|t"
        assert len(records(cluster, "node_id")) == len(present)
        assert slots(cluster, "node1") == {f"repmgr_slot_{i}": "t" for i in (2, 3, 9)}
        after = lives(cluster, "node1", "node2", "node3")
        assert after[1].pop("node4") and before[1].pop("node4", None)
        assert after == before
        assert cluster.orchestrate().changes == {}

    def test_another_id_for_a_member_that_runs(self, cluster):
        """node3 streams from node2: its record is below the one that changes."""
        nodes(cluster, node3={"upstream": "node2"})
        assert cluster.orchestrate().ok
        servers = {n: cluster.started(n) for n in ("node1", "node2", "node3")}
        nodes(cluster, node2={"id": 8})
        run = cluster.orchestrate()
        assert run.ok, run
        assert records(cluster, "node_id, upstream_node_id, active") == {
            "node1": "1||t",
            "node2": "8|1|t",
            "node3": "3|8|t",
            "node4": "9|1|t",
        }
        assert {n: cluster.started(n) for n in servers} == servers
        assert slots(cluster, "node1") == {f"repmgr_slot_{i}": "t" for i in (8, 9)}
        assert cluster.orchestrate().changes == {}

    def test_another_id_for_the_primary_is_refused(self, cluster):
        present = cluster.pillar["nodes"]
        nodes(cluster, node1={"id": 11})
        run = cluster.orchestrate()
        assert run.steps == ["preflight"] and run.failed == ["preflight"]
        assert "Write 'id: 1'" in run.step("preflight")["comment"]
        cluster.publish(nodes=present)


class TestHistory:
    def test_old_history_is_deleted_without_the_master(self, cluster):
        for table, column in (("events", "event_timestamp"),):
            cluster.sql(
                "node1",
                f"INSERT INTO repmgr.{table} (node_id, event, {column})"
                " VALUES (1, 'old', now() - interval '31 days'), (1, 'new', now())",
                dbname="repmgr",
            )
        for name in ("node1", "node3"):
            done = cluster.lab[name].run(["systemctl", "start", "repmgr-purge.service"])
            assert done.returncode == 0
            assert (
                cluster.lab[name].sh("systemctl is-active repmgr-purge.timer").strip() == "active"
            )
        query = "SELECT event FROM repmgr.events WHERE event IN ('old', 'new')"
        assert cluster.sql("node1", query, dbname="repmgr") == "new"
