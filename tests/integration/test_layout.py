"""Other than the defaults: release, port, cluster name, data directory, names, two clusters."""

import pytest

from tests.integration.conftest import RELEASE
from tests.integration.conftest import cluster_of
from tests.integration.support import Cluster
from tests.integration.support import Run

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


def test_two_clusters_on_one_master():
    with cluster_of("two", nodes=4) as hosts:
        _two_clusters(hosts)


def _two_clusters(hosts: Cluster):
    files, top = {}, {}
    for cluster, first, second in (("red", "node1", "node2"), ("blue", "node3", "node4")):
        nodes = {n: dict(hosts.pillar["nodes"][n]) for n in (first, second)}
        nodes[first]["role"] = "primary"
        files[cluster] = {"repmgr": {**hosts.pillar, "cluster": cluster, "nodes": nodes}}
        top[f"{first},{second}"] = [{"match": "list"}, cluster]
    hosts.lab.set_pillar_files(files, top=top)
    orchestrate = ("state.orchestrate", "repmgr.cluster")
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
