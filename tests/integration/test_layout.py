"""Other than the defaults: release, port, cluster name, data directory, names, two clusters."""

import pytest

from tests.integration.conftest import RELEASE
from tests.integration.conftest import cluster_of
from tests.integration.support import Cluster
from tests.integration.support import Run
from tests.lab import provision

OTHER = {"bookworm": "trixie", "trixie": "bookworm"}[RELEASE]


@pytest.fixture(scope="module")
def cluster():
    """Hosts of the other release that do not know each other's names."""
    with cluster_of("layout", nodes=3, release=OTHER, hosts_file=False) as hosts:
        yield hosts


def test_names_that_do_not_resolve_are_refused_before_anything_is_touched(cluster):
    nodes = {n: {**spec, "host": f"{n}.db.example"} for n, spec in cluster.pillar["nodes"].items()}
    addresses = {name: spec["host"] for name, spec in cluster.pillar["nodes"].items()}
    before = {host.name: cluster.fingerprint(host.name) for host in cluster.nodes}
    cluster.publish(nodes=nodes)
    run = cluster.orchestrate()
    assert run.steps == ["preflight"]
    comment = run.step("preflight")["comment"]
    for name in nodes:
        assert f"repmgr.nodes.{name}.host:" in comment
    assert "cannot resolve" in comment and "manage_hosts" in comment
    assert {host.name: cluster.fingerprint(host.name) for host in cluster.nodes} == before
    for name, spec in nodes.items():
        spec["address"] = addresses[name]
    cluster.publish(manage_hosts=True)


@pytest.fixture(scope="module")
def built(cluster):
    cluster.publish(
        postgres={
            "cluster": "prod",
            "port": 5544,
            "data_directory": "/srv/pg/prod",
            "settings": {"shared_buffers": "64MB"},
            "hba": [
                {
                    "type": "host",
                    "database": "all",
                    "user": "app",
                    "address": "10.77.0.0/24",
                    "method": "scram-sha-256",
                }
            ],
        }
    )
    cluster.pillar["nodes"]["node3"].update(upstream="node2", priority=50, location="dc2")
    cluster.publish()
    dry = cluster.orchestrate("test=True")
    return dry, cluster.orchestrate()


def test_the_build(cluster, built):
    dry, run = built
    assert run.ok, run
    assert dry.ok, dry
    assert run.announced() == dry.announced()
    for name in ("node1", "node2", "node3"):
        assert cluster.sql(name, "SHOW data_directory") == "/srv/pg/prod"
        assert cluster.sql(name, "SHOW shared_buffers") == "64MB"
        assert cluster.lab[name].sh("pg_lsclusters -h | awk '{print $1,$2,$3,$4}'").split() == [
            str(cluster.version),
            "prod",
            "5544",
            "online" if name == "node1" else "online,recovery",
        ]
    assert cluster.show("node1")[1] == 0


def test_the_cascade(cluster, built):
    assert cluster.streaming("node1") == ["node2"]
    assert cluster.streaming("node2") == ["node3"]
    row = "SELECT upstream_node_id, priority, location FROM repmgr.nodes WHERE node_id = 3"
    assert cluster.sql("node1", row, dbname="repmgr") == "2|50|dc2"


def test_the_names_are_in_etc_hosts(cluster, built):
    for name in ("node1", "node2", "node3"):
        text = cluster.lab[name].read("/etc/hosts")
        for other, spec in cluster.pillar["nodes"].items():
            assert f"{spec['host']}" in text and spec["address"] in text, (name, other)


def test_a_clone_is_set_up_like_its_source(cluster, built):
    names = "'TimeZone','default_text_search_config','lc_messages','max_connections','ssl'"
    query = f"SELECT name, setting FROM pg_settings WHERE name IN ({names}) ORDER BY 1"
    expected = cluster.sql("node1", query)
    assert expected.count("|") == 5
    assert cluster.sql("node2", query) == cluster.sql("node3", query) == expected


def test_a_second_run_changes_nothing(cluster, built):
    before = [cluster.started(host.name) for host in cluster.nodes]
    run = cluster.orchestrate()
    assert run.ok, run
    assert run.changes == {}
    for host in cluster.nodes:
        assert all(not s["changes"] for s in cluster.apply(host.name).values())
    assert [cluster.started(host.name) for host in cluster.nodes] == before


class TestDiskThatIsNotMounted:
    """node2's data are on a disk of their own, at /srv/pg."""

    @pytest.fixture(scope="class")
    @staticmethod
    def node2(cluster, built):
        host = cluster.lab["node2"]
        units = ["repmgrd", f"postgresql@{cluster.version}-prod"]
        host.run(["systemctl", "stop", *units])
        host.sh("mv /srv/pg /srv/disk && mkdir /srv/pg && mount --bind /srv/disk /srv/pg")
        assert host.sh("ls /srv/pg/prod/PG_VERSION")
        host.sh("umount /srv/pg")
        yield host

    def untouched(self, node2):
        assert node2.sh("find /srv/pg").split() == ["/srv/pg"]
        return True

    def test_nothing_is_cloned_below_the_mount_point(self, cluster, node2):
        for words in (("test=True",), ()):
            run = cluster.orchestrate(*words)
            said = run.nodes("standbys 1")["node2"]["role of node2"]
            assert said["result"] is False
            assert "node2 was a member, and its data directory /srv/pg/prod" in said["comment"]
            assert "'salt node2 repmgr_node.data_lost'" in said["comment"]
            assert not run.ok and self.untouched(node2)

    def test_a_disk_that_systemd_knows_is_named(self, cluster, node2):
        node2.sh("echo '/srv/disk /srv/pg none bind 0 0' >> /etc/fstab; systemctl daemon-reload")
        said = cluster.apply("node2")["role of node2"]["comment"]
        assert "/srv/pg is not mounted on node2" in said
        lost = cluster.lab.salt_call("node2", "repmgr_node.data_lost")
        assert lost.returncode and "is not mounted" in lost.stdout + lost.stderr
        assert self.untouched(node2)

    def test_once_it_is_mounted_the_data_are_the_old_ones(self, cluster, node2):
        node2.run(["systemctl", "start", "/srv/pg"])
        lost = cluster.lab.salt_call("node2", "repmgr_node.data_lost")
        assert lost.returncode and "are not lost" in lost.stdout + lost.stderr
        before = node2.sh("stat -c %i /srv/pg/prod/PG_VERSION")
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.streaming("node1") == ["node2"]
        assert node2.sh("stat -c %i /srv/pg/prod/PG_VERSION") == before

    def test_data_that_are_given_up_are_cloned_anew(self, cluster, node2):
        node2.run(["systemctl", "stop", "repmgrd", f"postgresql@{cluster.version}-prod"])
        node2.sh("rm -r /srv/pg/prod")
        assert "data_lost" in cluster.plan("node2")["refusal"]
        assert (
            "builds it anew"
            in cluster.lab.salt_call("node2", "repmgr_node.data_lost").data["comment"]
        )
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.streaming("node1") == ["node2"] and cluster.streaming("node2") == ["node3"]
        assert cluster.orchestrate().changes == {}


def test_two_clusters_on_one_master():
    # The states are in an environment of their own.
    roots = {"file_roots": {"base": ["/srv/salt"], "prod": [str(provision.STATES)]}}
    with cluster_of("two", nodes=4, master_config=roots) as hosts:
        _two_clusters(hosts)


def _two_clusters(hosts: Cluster):
    files, top = {}, {}
    for cluster, first, second in (("red", "node1", "node2"), ("blue", "node3", "node4")):
        nodes = {n: dict(hosts.pillar["nodes"][n]) for n in (first, second)}
        nodes[first]["role"] = "primary"
        files[cluster] = {"repmgr": {**hosts.pillar, "cluster": cluster, "nodes": nodes}}
        top[f"{first},{second}"] = [{"match": "list"}, cluster]
    hosts.lab.set_pillar_files(files, top=top)
    orchestrate = ("state.orchestrate", "repmgr.cluster", "saltenv=prod")
    unnamed = Run(hosts.lab.salt_run(*orchestrate))
    assert unnamed.steps == ["preflight"]
    assert "pillar" in unnamed.step("preflight")["comment"]
    for cluster, first, second in (("red", "node1", "node2"), ("blue", "node3", "node4")):
        run = Run(hosts.lab.salt_run(*orchestrate, pillar={"cluster": cluster}))
        assert run.ok, run
        assert hosts.streaming(first) == [second]
        again = Run(hosts.lab.salt_run(*orchestrate, pillar={"cluster": cluster}))
        assert again.changes == {}
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert len({hosts.sql(n, identifier) for n in ("node1", "node2", "node3", "node4")}) == 2
