"""What a clone refuses, what force allows, and clones that are cut off.

The hosts come with PostgreSQL installed and its packaged cluster running, as a user who
ran apt-get before Salt has them. One story, in order.
"""

import json

import pytest

from tests.integration.conftest import cluster_of


@pytest.fixture(scope="module")
def cluster():
    # Nodes that fail keep nobody from their work, whatever the master makes of failures otherwise.
    options = {"preinstalled": True, "master_config": {"failhard": True}}
    with cluster_of("interlock", nodes=3, **options) as hosts:
        yield hosts


def kept(cluster, name):
    """The data directories that were moved aside on a node."""
    return cluster.lab[name].sh("ls -d /var/lib/postgresql/*/*.kept-* 2>/dev/null || true").split()


@pytest.fixture(scope="module")
def foreign(cluster):
    """node3 has a database somebody cares about."""
    cluster.sql("node3", "CREATE DATABASE shop")
    cluster.sql("node3", "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id", "shop")
    identifier = "SELECT system_identifier FROM pg_control_system()"
    return cluster.sql("node3", identifier), cluster.started("node3")


@pytest.fixture(scope="module")
def idle(cluster):
    """node2 has run for a while, as far as its catalogs tell: autovacuum has been there."""
    for database in ("postgres", "template1"):
        cluster.sql("node2", "ANALYZE", database)


@pytest.fixture(scope="module")
def run(cluster, foreign, idle):
    """A dry run and a real one, over the foreign database."""
    return cluster.orchestrate("test=True"), cluster.orchestrate()


class TestForeignData:
    def test_is_refused_in_words(self, run):
        for one in run:
            comment = one.nodes("standbys 1")["node3"]["role of node3"]["comment"]
            assert "refused to clone" in comment
            assert "force: true" in comment
        assert not run[1].ok
        (line,) = run[1].step("verify")["comment"].splitlines()
        assert line.startswith("node3: refused to clone")

    def test_another_pillar_than_the_nodes_have_is_refused(self, cluster, run):
        run = cluster.orchestrate("pillarenv=dev")
        assert run.steps == ["preflight"]
        assert "there is no such key in this pillar" in run.step("preflight")["comment"]

    def test_the_others_got_their_work(self, cluster, run):
        assert cluster.streaming("node1") == ["node2"]

    def test_the_packaged_cluster_was_proven_empty_and_kept(self, cluster, run):
        announced, done = (r.nodes("standbys 1")["node2"]["data of node2"] for r in run)
        assert "what initdb made and nothing else" in announced["comment"]
        assert announced["changes"].keys() == done["changes"].keys()
        assert kept(cluster, "node2") == [done["changes"]["moved_aside"]["new"]]

    def test_the_data_are_intact(self, cluster, foreign, run):
        identifier, started = foreign
        assert cluster.started("node3") == started
        assert (
            cluster.sql("node3", "SELECT system_identifier FROM pg_control_system()") == identifier
        )
        assert cluster.sql("node3", "SELECT count(*), sum(id) FROM orders", "shop") == "1000|500500"
        assert kept(cluster, "node3") == []

    def test_force_does_not_reach_a_server_with_clients(self, cluster, run):
        cluster.publish(force=True)
        argv = ["psql", "-X", "-d", "shop", "-c", "SELECT pg_sleep(60)"]
        client = cluster.lab["node3"].popen(argv, user="postgres")
        try:
            cluster.sql("node3", "SELECT pg_sleep(1)")
            states = cluster.apply("node3")
            assert "1 client session(s)" in states["role of node3"]["comment"]
        finally:
            client.terminate()
            client.wait()
        backend = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'"
        cluster.sql("node3", backend)

    def test_with_force_the_old_directory_stays_beside_the_new_one(self, cluster, foreign, run):
        announced = cluster.orchestrate("test=True").nodes("standbys 1")["node3"]["data of node3"]
        assert announced["result"] is None
        assert "force" in announced["comment"]
        done = cluster.orchestrate()
        assert done.ok, done
        assert cluster.streaming("node1") == ["node2", "node3"]
        (old,) = kept(cluster, "node3")
        control = [f"/usr/lib/postgresql/{cluster.version}/bin/pg_controldata", old]
        assert foreign[0] in cluster.lab["node3"].run(control).stdout
        shop = cluster.lab["node3"].sh(f"find {old}/base -type f -size +30k | wc -l")
        assert int(shop) > 0
        cluster.publish(force=False)


@pytest.fixture
def slow(cluster):
    """Clones of node3 take longer than the 30 s a step gives its minions; node3's data directory is gone."""
    cluster.publish(settings={"pg_basebackup_options": "--max-rate=600k"})
    node = cluster.lab["node3"]
    node.run(["systemctl", "stop", "repmgrd", f"postgresql@{cluster.version}-main"])
    node.sh(f"rm -rf /var/lib/postgresql/{cluster.version}/main")
    cluster.lab.salt_call("node3", "repmgr_node.data_lost")
    yield node
    cluster.publish(settings={})


UNIT = "repmgr-clone-{}-main"


def cloning(cluster, node):
    unit = UNIT.format(cluster.version)
    state = node.run(["systemctl", "show", "--property=ActiveState", "--value", unit]).stdout
    return state.strip() == "activating"


def copied(cluster, node):
    """Whether the copy has begun in earnest."""
    path = f"/var/lib/postgresql/{cluster.version}/main"
    return cloning(cluster, node) and int(node.sh(f"du -sk {path} | cut -f1")) > 4000


class TestLongClone:
    def test_outlasts_the_step_s_timeout_and_reports_progress(self, cluster, slow, foreign):
        cluster.lab.master.run(
            ["systemd-run", "--quiet", "--unit=listener", "--property=StandardOutput=file:/tmp/bus"]
            + ["salt-run", "--out=json", "state.event", "pretty=False"]
        )
        run = cluster.orchestrate()
        cluster.lab.master.run(["systemctl", "stop", "listener"])
        assert run.ok, run
        assert run.step("standbys 1")["duration"] > 31_000
        bus = cluster.lab.master.read("/tmp/bus").splitlines()
        events = [json.loads(l.split("\t", 1)[1])["data"] for l in bus if "/clone\t" in l]
        copies = [e for e in events if e["stage"] == "copying" and e.get("bytes_total")]
        assert len(copies) > 3
        done = [e["bytes_done"] for e in copies]
        assert done == sorted(done) and done[-1] > done[0]
        assert all(e["bytes_done"] <= e["bytes_total"] for e in copies)

    def test_goes_on_without_its_minion_and_is_not_started_twice(
        self, cluster, slow, wait, foreign
    ):
        job = cluster.lab.master.popen(["salt", "--async", "node3", "state.apply", "repmgr"])
        job.wait()
        wait(lambda: copied(cluster, slow), what="the clone")
        unit = UNIT.format(cluster.version)
        pid = ["systemctl", "show", "--property=MainPID", "--value", unit]
        before = slow.run(pid).stdout
        slow.run(["systemctl", "kill", "--signal=KILL", "salt-minion"])
        slow.run(["systemctl", "restart", "salt-minion"])
        assert slow.run(pid).stdout == before != "0\n"
        cluster.lab.wait_for_minions(["node3"])
        # This one finds the clone under way, waits for it, and takes it from there.
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.streaming("node1") == ["node2", "node3"]
        log = slow.read(f"/var/lib/repmgr-clone/{cluster.version}-main.log")
        assert log.count("starting backup") == 1

    def test_that_lost_power_is_recognised_and_finished(self, cluster, slow, wait, foreign):
        job = cluster.lab.master.popen(["salt", "--async", "node3", "state.apply", "repmgr"])
        job.wait()
        wait(lambda: copied(cluster, slow), what="the clone")
        slow.power_off()
        slow.boot()
        cluster.lab.wait_for_minions(["node3"])
        plan = cluster.plan("node3")
        assert [a["step"] for a in plan["actions"]][:2] == ["discard_partial", "clone"]
        cluster.publish(settings={})
        before = kept(cluster, "node3")
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.streaming("node1") == ["node2", "node3"]
        # What was removed was ours; nothing else was touched.
        assert kept(cluster, "node3") == before
        assert cluster.orchestrate().changes == {}


def test_a_dead_node_does_not_keep_the_others_from_their_work(cluster, foreign):
    cluster.lab["node3"].power_off()
    try:
        cluster.publish(postgres={"settings": {"work_mem": "9MB"}})
        run = cluster.orchestrate()
        assert not run.ok
        assert cluster.sql("node1", "SHOW work_mem") == "9MB"
        assert cluster.sql("node2", "SHOW work_mem") == "9MB"
        (line,) = run.step("verify")["comment"].splitlines()
        assert line.startswith("node3: its minion does not answer")
    finally:
        cluster.lab["node3"].boot()
        cluster.lab.wait_for_minions(["node3"])
    assert cluster.orchestrate().ok


def test_after_a_loss_of_power_servers_that_nobody_started_are_started(cluster, foreign):
    for host in cluster.nodes:
        host.power_off()
    for host in cluster.nodes:
        host.boot()
        # The guard would start a server again that gave up waiting for the others.
        host.run(["systemctl", "stop", "repmgr-guard", f"postgresql@{cluster.version}-main"])
    cluster.lab.wait_for_minions()
    run = cluster.orchestrate()
    assert run.ok, run
    assert "node1 was the primary on timeline 1 and is down" in run.step("preflight")["comment"]
    assert cluster.streaming("node1") == ["node2", "node3"]


def test_a_loss_of_power_heals_by_itself_whoever_is_back_first(cluster, foreign, wait):
    for host in cluster.nodes:
        host.power_off()
    primary, *others = cluster.nodes
    primary.boot()
    # Alone it cannot know that nobody else is the primary now, and gives up for the moment.
    unit = ["systemctl", "is-active", f"postgresql@{cluster.version}-main"]
    wait(lambda: primary.run(unit, check=False).stdout.strip() == "failed", what="the refusal")
    for host in others:
        host.boot()
    wait(cluster.whole, timeout=180, what="the cluster of before")
    assert cluster.primary() == "node1"
    assert cluster.sql("node1", "SELECT timeline_id FROM pg_control_checkpoint()") == "1"
    cluster.lab.wait_for_minions()
