"""A cluster that was made by hand is taken over while its clients are at work.

The tests of this file are one story and run in its order.
"""

import pytest

from tests.integration.by_hand import ByHand
from tests.integration.conftest import cluster_of
from tests.lab.process import wait_until

NODES = ("node1", "node2", "node3")
STANDBYS = ["node2", "node3"]
OTHER_NAME = "ALTER SYSTEM SET primary_conninfo = 'host=node1 user=repmgr application_name=other'"


@pytest.fixture(scope="module")
def cluster():
    # The third node uses a slot, the second one does not.
    with cluster_of("taken", preinstalled=True, pillar={"synchronous": 1}) as made:
        yield made


@pytest.fixture(scope="module")
def hand(cluster):
    made = ByHand(cluster, slots=("node3",)).make()
    cluster.sql("node2", OTHER_NAME)
    cluster.sql("node2", "SELECT pg_reload_conf()")
    made.start_application(cluster.lab["node1"], cluster.lab["node3"])
    return made


@pytest.fixture(scope="module")
def before(cluster, hand):
    assert wait_until(lambda: cluster.streaming("node1") == ["node3", "other"], 30, step=0.2)
    assert wait_until(lambda: hand.rows("node1") > 0, 30, step=0.2)
    running = "SELECT repmgr.repmgrd_is_running()"
    for name in NODES:
        up = wait_until(lambda n=name: cluster.sql(n, running, "repmgr") == "t", 20, step=0.5)
        assert up, cluster.lab[name].sh(
            "systemctl status repmgrd --no-pager; ps -eo pid,comm,args | grep repmg; journalctl -n 20 -u repmgrd --no-pager"
        )
    return {name: cluster.started(name) for name in NODES}


@pytest.fixture(scope="module")
def dry_run(cluster, before):
    fingerprints = {name: cluster.fingerprint(name) for name in NODES}
    run = cluster.orchestrate("test=True")
    assert {name: cluster.fingerprint(name) for name in NODES} == fingerprints
    return run


def test_the_dry_run_tells_all_of_it(cluster, hand, dry_run):
    assert dry_run.ok, dry_run
    assert "passwords" not in dry_run.steps
    prepared = dry_run.nodes("prepare")
    for name in NODES:
        assert "would be stopped" in prepared[name][f"other repmgrd of {name}"]["comment"]
    standbys = dry_run.nodes("standbys 1")
    moved = standbys["node2"]["upstream of node2"]["comment"]
    assert "application_name 'other', not as node2" in moved
    # None of the servers is restarted, and what waits for that is said.
    for name, states in {**dry_run.nodes("primary"), **standbys}.items():
        said = states[hand.service]
        assert "server" not in said["changes"], (name, said)


@pytest.fixture(scope="module")
def taken(cluster, dry_run):
    return cluster.orchestrate()


def test_the_first_run_takes_it_over(cluster, dry_run, taken):
    assert taken.ok, taken
    assert taken.announced() == dry_run.announced()
    assert cluster.whole()
    assert cluster.streaming("node1") == STANDBYS


def test_nothing_that_worked_stopped(cluster, hand, before, taken, wait):
    assert {name: cluster.started(name) for name in NODES} == before
    assert hand.application_runs(cluster.lab["node3"])
    rows = hand.rows("node1")
    wait(lambda: hand.rows("node1") > rows)


def test_one_repmgrd_runs_on_each_node(cluster, taken):
    for name in NODES:
        pids = cluster.lab[name].run(["pgrep", "-x", "repmgrd"]).stdout.split()
        unit = cluster.lab[name].run(["systemctl", "show", "-P", "MainPID", "repmgrd"]).stdout
        assert pids == unit.split(), name


def test_a_second_run_changes_nothing(cluster, taken):
    again = cluster.orchestrate()
    assert (again.ok, again.changes) == (True, {}), again


def test_it_switches_over_fails_over_and_rejoins(cluster, taken, wait):
    done = cluster.lab.salt_run("repmgr.switchover", "to=node2")
    assert done.returncode == 0, done.stdout
    wait(cluster.whole, what="a whole cluster after the switchover")
    cluster.lab["node2"].power_off()
    wait(lambda: cluster.primary(["node1", "node3"]), what="a new primary")
    cluster.lab["node2"].boot()
    cluster.lab.wait_for_minions(["node2"])
    assert cluster.orchestrate().ok
    assert cluster.whole()
