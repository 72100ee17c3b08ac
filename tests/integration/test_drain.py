"""A node is taken out of service for maintenance, stays out, and comes back. One story, in order."""

import json
import time

import pytest

from tests.failures import judge
from tests.failures import pillars
from tests.failures.running import Client
from tests.integration.conftest import cluster_of

DATA = ["node1", "node2", "node3"]


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("drain", preinstalled=True, pillar=pillars.for_client()) as hosts:
        nodes = hosts.pillar["nodes"]
        hosts.publish(nodes={**nodes, "node3": {**nodes["node3"], "upstream": "node2"}})
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


def ask(cluster, *words):
    """Run a function of the runner that ends with a code: exit code and data."""
    done = cluster.lab.master.run(["salt-run", "--out=json", *words], check=False, timeout=300)
    data = json.loads(done.stdout)
    assert data["retcode"] == done.returncode, done.stderr
    return data


def problems(cluster):
    """The verdict, and each problem in a line."""
    told = ask(cluster, "repmgr.status")
    if told["verdict"] != "healthy":
        # It waits three seconds for a minion, which may be late.
        told = ask(cluster, "repmgr.status")
    lines = [f"{p['severity']} {' '.join(p['nodes'])}: {p['what']}" for p in told["problems"]]
    return told["verdict"], lines


def units(cluster, name):
    """What runs of the cluster on a host."""
    server = f"postgresql@{cluster.version}-main"
    script = f"systemctl is-active repmgrd repmgr-guard {server} || true"
    return cluster.lab[name].sh(script).split()


def slots(cluster, name):
    query = "SELECT slot_name, active FROM pg_replication_slots ORDER BY slot_name"
    return cluster.sql(name, query).split()


def electors(cluster, name):
    query = "SELECT node_name, active, upstream_node_id FROM repmgr.nodes ORDER BY node_id"
    return cluster.sql(name, query, "repmgr").split()


DOWN = ["inactive"] * 3


class TestStandby:
    def test_a_dry_run_shows_checks_and_steps_and_touches_nothing(self, cluster):
        before = [cluster.started(name) for name in DATA], electors(cluster, "node1")
        data = ask(cluster, "repmgr.drain", "node2", "reason=new disk", "test=True")
        assert (data["retcode"], data["changed"]) == (0, False)
        assert data["result"] == "node2 could be drained now"
        assert [check["problem"] for check in data["checks"]] == [""] * len(data["checks"])
        assert "node3 streams from node1" in data["steps"]
        assert ([cluster.started(name) for name in DATA], electors(cluster, "node1")) == before

    def test_what_streams_from_it_moves_and_it_is_stopped(self, cluster):
        started = cluster.started("node1"), cluster.started("node3")
        data = ask(cluster, "repmgr.drain", "node2", "reason=new disk")
        assert (data["retcode"], data["changed"]) == (0, True), data
        assert data["result"] == "node2 is drained"
        assert (cluster.started("node1"), cluster.started("node3")) == started
        assert cluster.streaming("node1") == ["node3"]
        assert units(cluster, "node2") == DOWN
        # No limit is set, so it would fill the disk of node1 in the end.
        assert slots(cluster, "node1") == ["repmgr_slot_3|t"]
        assert electors(cluster, "node1") == ["node1|t|", "node2|f|1", "node3|t|1"]

    def test_a_second_time_changes_nothing(self, cluster):
        data = ask(cluster, "repmgr.drain", "node2")
        assert (data["retcode"], data["changed"]) == (0, False)
        assert data["result"] == "node2 is drained already"

    def test_an_orchestration_leaves_it(self, cluster):
        run = cluster.orchestrate()
        assert run.ok and run.changes == {}, (run, run.changes)
        assert "is drained since" in run.step("verify")["comment"]
        states = cluster.apply("node2")
        assert {n for n, s in states.items() if s["changes"] or not s["result"]} == set()
        assert "'salt-run repmgr.back node2'" in states["role of node2"]["comment"]
        assert units(cluster, "node2") == DOWN
        assert cluster.streaming("node1") == ["node3"]

    def test_its_host_may_be_off(self, cluster):
        cluster.lab["node2"].power_off()
        verdict, lines = problems(cluster)
        assert verdict == "healthy"
        assert lines[0].startswith("note node2: is drained since ")
        assert lines[0].endswith(" by root: new disk")
        run = cluster.orchestrate()
        assert run.ok and run.changes == {}, (run, run.changes)

    def test_it_stays_down_when_its_host_starts(self, cluster):
        host = cluster.lab["node2"]
        host.boot()
        host.sh("systemctl is-system-running --wait || true")
        cluster.lab.wait_for_minions(["node2"])
        assert units(cluster, "node2") == DOWN
        verdict, lines = problems(cluster)
        assert verdict == "healthy" and lines[0].startswith("note node2: is drained since ")

    def test_others_are_refused_meanwhile(self, cluster):
        data = ask(cluster, "repmgr.drain", "node3")
        assert (data["retcode"], data["changed"]) == (1, False)
        assert "one at a time: node2 is drained since" in data["result"]
        assert "who can take over: without node3 no standby could take over" in data["result"]
        data = ask(cluster, "repmgr.switchover", "node2")
        assert (data["retcode"], data["changed"]) == (1, False)
        assert "candidate: node2 is drained since" in data["result"]
        assert "'salt-run repmgr.back node2' first" in data["result"]
        assert cluster.primary(["node1", "node3"]) == "node1"

    def test_a_pause_of_all_is_no_failure(self, cluster):
        data = ask(cluster, "repmgr.pause", "minutes=1")
        assert data["retcode"] == 0, data
        assert [data[n]["paused"] for n in ("node1", "node2", "node3")] == [True, False, True]
        assert data["node2"]["note"].startswith("node2 is drained since ")
        assert ask(cluster, "repmgr.unpause")["retcode"] == 0

    def test_the_primary_is_moved_without_it(self, cluster):
        data = ask(cluster, "repmgr.switchover", "node3")
        assert data["retcode"] == 0, data
        assert sorted(data["nodes"]) == ["node1", "node3"]
        assert cluster.streaming("node3") == ["node1"]

    def test_it_comes_back_below_the_primary_of_now(self, cluster):
        data = ask(cluster, "repmgr.back", "node2")
        assert (data["retcode"], data["result"]) == (0, "node2 is in service again"), data
        assert cluster.streaming("node3") == ["node1", "node2"]
        assert slots(cluster, "node3") == ["repmgr_slot_1|t", "repmgr_slot_2|t"]
        assert electors(cluster, "node3") == ["node1|t|3", "node2|t|3", "node3|t|"]
        assert units(cluster, "node2") == ["active"] * 3
        start = f"/etc/postgresql/{cluster.version}/main/start.conf"
        assert cluster.lab["node2"].read(start) == "auto\n"
        run = cluster.orchestrate()
        assert run.ok and run.changes == {}, (run, run.changes)

    def test_a_second_time_it_is_back_already(self, cluster):
        data = ask(cluster, "repmgr.back", "node2")
        assert (data["retcode"], data["changed"]) == (0, False)
        assert data["result"] == "node2 is in service already"


class TestPrimary:
    def test_it_is_moved_first_and_no_row_is_lost(self, cluster):
        cluster.publish(postgres={**cluster.pillar["postgres"], "settings": LIMIT})
        assert cluster.orchestrate().ok
        with Client(cluster.lab, DATA, "node3") as client:
            time.sleep(2)
            began = time.monotonic()
            words = ["state.orchestrate", "repmgr.drain", 'pillar={"node": "node3", "to": "node2"}']
            done = cluster.lab.salt_run(*words, timeout=300)
            assert done.returncode == 0, done
            acks = client.acks()
            gap = judge.longest_gap(acks, began, time.monotonic())
            assert gap.ended and judge.two_writable(acks) == []
            first = next(ack for ack in judge.rows(acks) if ack.node == "node2")
            assert judge.writers(acks, first.sent) == ["node2"]
            assert client.lost("node2") == []
        (states,) = done.data["data"].values()
        (state,) = states.values()
        assert state["changes"] == {"node3": {"old": "in service", "new": "drained"}}
        assert cluster.streaming("node2") == ["node1"]
        assert units(cluster, "node3") == DOWN
        # With a limit the slot stays, so that it need not be cloned.
        assert slots(cluster, "node2") == ["repmgr_slot_1|t", "repmgr_slot_3|f"]
        verdict, lines = problems(cluster)
        assert verdict == "healthy", lines

    def test_cut_off_it_goes_on_at_the_next_call(self, cluster):
        # As if the master had died after the node was told.
        start = f"/etc/postgresql/{cluster.version}/main/start.conf"
        mark = cluster.lab["node3"].read(start)
        assert ask(cluster, "repmgr.back", "node3")["retcode"] == 0
        cluster.lab["node3"].write(start, mark)
        verdict, lines = problems(cluster)
        assert verdict == "degraded" and "but its PostgreSQL runs" in lines[0]
        assert ask(cluster, "repmgr.drain", "node3")["result"] == "node3 is drained"
        assert units(cluster, "node3") == DOWN

    def test_it_comes_back_through_the_orchestration_of_that_name(self, cluster):
        words = ["state.orchestrate", "repmgr.back", 'pillar={"node": "node3"}']
        dry = cluster.lab.salt_run(*words, "test=True")
        assert dry.returncode == 0, dry
        assert units(cluster, "node3") == DOWN
        done = cluster.lab.salt_run(*words, timeout=300)
        assert done.returncode == 0, done
        assert cluster.streaming("node2") == ["node1", "node3"]
        verdict, lines = problems(cluster)
        assert (verdict, lines) == ("healthy", [])
        run = cluster.orchestrate()
        assert run.ok and run.changes == {}, (run, run.changes)


LIMIT = {"max_slot_wal_keep_size": "1GB"}
