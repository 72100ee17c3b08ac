"""What the postgres user can plant in directories of its own, and root meets there."""

import pytest

from tests.integration.conftest import cluster_of

CANARY = "/root/canary"
GUARD = "/var/lib/repmgr-guard"


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("planted", nodes=2, preinstalled=True) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def built(cluster):
    run = cluster.orchestrate()
    assert run.ok, run
    return run


@pytest.fixture
def planted(cluster, built):
    """A function that has the postgres user of node2 plant something, which is gone afterwards; a
    file of root's that links lead to has to stay as it is."""
    node, undo = cluster.lab["node2"], []
    node.write(CANARY, "root's own\n")
    node.sh(f"chmod 600 {CANARY}; mkdir -p {CANARY}.d")
    facts = f"stat -c '%U %G %a %s %Y' {CANARY} {CANARY}.d; cat {CANARY}; ls -A {CANARY}.d"
    before = node.sh(facts)

    def plant(path, command):
        node.sh(
            f"if [ -e {path} ]; then mv {path} {path}.away; fi; {command} {path}", user="postgres"
        )
        undo.append(f"rm {path}; if [ -e {path}.away ]; then mv {path}.away {path}; fi")

    yield plant
    for command in reversed(undo):
        node.sh(command, user="postgres")
    assert node.sh(facts) == before


class TestPlanted:
    """What the postgres user puts in the way of root, in directories of its own."""

    @pytest.mark.parametrize(
        ("place", "command", "kind"),
        [
            ("start.conf", f"ln -s {CANARY}", "a symbolic link to /root/canary"),
            ("start.conf", "mkfifo", "a named pipe (FIFO)"),
            ("conf.d/90-repmgr.conf", f"ln -s {CANARY}", "a symbolic link to /root/canary"),
            ("conf.d", f"ln -s {CANARY}.d", "a symbolic link to /root/canary.d"),
            ("pg_hba.conf", f"ln -s {CANARY}", "a symbolic link to /root/canary"),
        ],
    )
    def test_a_run_refuses_it(self, cluster, planted, place, command, kind):
        path = f"/etc/postgresql/{cluster.version}/main/{place}"
        planted(path, command)
        done = cluster.apply("node2")
        failed = [one["comment"] for one in done.values() if one["result"] is False]
        assert any(f"{path}" in said and kind in said for said in failed), failed

    def test_an_orchestration_says_so(self, cluster, planted):
        path = f"/etc/postgresql/{cluster.version}/main/start.conf"
        planted(path, f"ln -s {CANARY}")
        run = cluster.orchestrate()
        assert not run.ok
        assert f"{path} is a symbolic link to {CANARY}" in run.stdout

    def test_a_drain_and_a_pause_refuse_it(self, cluster, planted):
        path = f"/etc/postgresql/{cluster.version}/main/.start.conf.new"
        planted(path, f"ln -s {CANARY}")
        planted(f"{GUARD}/pause.lock", f"ln -s {CANARY}")
        planted(f"{GUARD}/.paused-until.new", f"ln -s {CANARY}")
        call = cluster.lab.salt_call("node2", "repmgr_node.pause")
        assert f"{GUARD}/pause.lock" in call.stdout + call.stderr
        drained = cluster.lab.salt_run("repmgr.drain", "node2", "force=True")
        assert f"{path} is a symbolic link to {CANARY}" in drained.stdout + drained.stderr

    def test_a_data_directory_that_is_a_link(self, cluster, built):
        data, node = f"/var/lib/postgresql/{cluster.version}/main", cluster.lab["node2"]
        unit = f"postgresql@{cluster.version}-main"
        node.sh(f"systemctl stop repmgrd {unit}; mv {data} /srv/pg; ln -s /srv/pg {data}")
        for words in (("test=True",), ()):
            said = cluster.orchestrate(*words)
            assert not said.ok
            assert f"{data} is a symbolic link to /srv/pg" in said.stdout
            assert "to the real path, here /srv/pg" in said.stdout
        assert node.sh(f"readlink {data}; ls /srv/pg/PG_VERSION") == "/srv/pg\n/srv/pg/PG_VERSION\n"
        node.sh(f"rm {data}; mv /srv/pg {data}")

    def test_afterwards_all_is_well(self, cluster, built):
        cluster.lab.salt_run("repmgr.back", "node2")
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.orchestrate().changes == {}
