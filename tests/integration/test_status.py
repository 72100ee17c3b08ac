"""salt-run repmgr.status, from a healthy cluster to two primaries. One story, in order."""

import json
import time
from types import SimpleNamespace

import pytest

from tests.integration.conftest import cluster_of

# It waits for nobody for ever: some seconds, on a machine with more to do than this.
PATIENCE = 40


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("status", nodes=3) as hosts:
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


@pytest.fixture
def ask(cluster):
    """Ask for the status: exit code, data, seconds it took."""

    def status():
        began = time.monotonic()
        done = cluster.lab.master.run(["salt-run", "--out=json", "repmgr.status"], check=False)
        seconds = time.monotonic() - began
        data = json.loads(done.stdout)
        assert data["retcode"] == done.returncode, done.stderr
        nodes = {node["name"]: node for node in data["nodes"]}
        return SimpleNamespace(
            code=done.returncode, data=data, nodes=nodes, seconds=seconds, told=about(data)
        )

    return status


def about(data):
    """What is said of each node; of the cluster, below an empty name."""
    found = {}
    for problem in data["problems"]:
        for name in problem["nodes"] or [""]:
            found.setdefault(name, []).append(" ".join([problem["what"], *problem["details"]]))
    return {name: "; ".join(lines) for name, lines in found.items()}


@pytest.fixture
def healthy(cluster, ask, wait):
    """Wait until all is well again, as it was before a test."""
    yield wait(lambda: (status := ask()).code == 0 and status, what="a healthy cluster")


def postgres(cluster, name, verb):
    cluster.lab[name].run(["systemctl", verb, f"postgresql@{cluster.version}-main"])


def test_a_healthy_cluster(cluster, healthy):
    assert (healthy.data["format"], healthy.data["verdict"]) == (1, "healthy")
    assert healthy.data["primary"] == "node1"
    assert [(n["name"], n["depth"], n["role"]) for n in healthy.data["nodes"]] == [
        ("node1", 0, "primary"),
        ("node2", 1, "standby"),
        ("node3", 1, "standby"),
    ]
    for name in ("node2", "node3"):
        node = healthy.nodes[name]
        assert (node["state"], node["receiver"], node["upstream"]) == (
            "running",
            "streaming",
            "node1",
        )
        assert (node["timeline"], node["sync_state"], node["repmgrd"]) == (1, "async", "running")
        assert node["lag_bytes"] >= 0 and node["lag_seconds"] >= 0
    used = {slot["application_name"] for slot in healthy.nodes["node1"]["slots"]}
    assert used == {"node2", "node3"}
    assert healthy.data["electors"] == {
        "names": ["node1", "node2", "node3"],
        "ready": ["node2", "node3"],
        "needed": 2,
    }


def test_is_one_screen(cluster, healthy):
    done = cluster.lab.master.run(["salt-run", "repmgr.status"], check=False)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("foobar: healthy, primary node1")
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["node", "role"],
        ["node1", "primary"],
        ["|-", "node2"],
    ]
    assert len(lines) < 25 and max(map(len, lines)) <= 100


def test_a_standby_that_is_down(cluster, healthy, ask):
    postgres(cluster, "node3", "stop")
    try:
        status = ask()
        assert (status.code, status.data["verdict"]) == (1, "degraded")
        assert status.nodes["node3"]["state"] == "down"
        # Its repmgrd sets it inactive, sooner or later.
        assert "its PostgreSQL does not run, and it is" in status.told["node3"]
        assert "slot repmgr_slot_3 is inactive" in status.told["node1"]
        assert "if node1 is lost, no standby is promoted" in status.told[""]
    finally:
        postgres(cluster, "node3", "start")


def test_a_silent_minion_is_seen_by_the_others(cluster, healthy, ask):
    cluster.silence("node2")
    try:
        status = ask()
        assert not status.nodes["node2"]["minion"]
        node = status.nodes["node2"]
        assert (status.code, node["state"]) == (1, "running")
        assert (node["role"], node["upstream"], node["repmgrd"]) == ("standby", "node1", "running")
        assert "minion does not answer" in status.told["node2"]
        assert status.seconds < PATIENCE
    finally:
        cluster.wake("node2")


def test_a_dead_host_does_not_hold_it_up(cluster, healthy, ask):
    cluster.lab["node3"].power_off()
    try:
        status = ask()
        assert status.seconds < PATIENCE
        assert (status.code, status.nodes["node3"]["state"]) == (1, "unreachable")
        assert "cannot be reached from node1, node2" in status.told["node3"]
        assert status.data["primary"] == "node1"
    finally:
        cluster.lab["node3"].boot()
        cluster.lab.wait_for_minions(["node3"])


def test_two_primaries(cluster, healthy, ask, wait):
    cluster.sql("node2", "SELECT pg_promote()")
    status = wait(lambda: (s := ask()).code == 2 and s, what="the second primary")
    assert (status.data["verdict"], status.data["primary"]) == ("broken", None)
    for name, timeline in (("node1", 1), ("node2", 2)):
        assert "2 primaries at once" in status.told[name]
        assert f"{name}: primary on timeline {timeline} at " in status.told[name]
        assert status.nodes[name]["role"] == "primary"
    done = cluster.lab.master.run(["salt-run", "repmgr.status"], check=False)
    assert done.returncode == 2
    assert "Decide which node has the data to keep" in done.stdout
