"""What a server that others set up is seen to be: its stream, its slot, its repmgrd."""

import subprocess

import pytest

from saltext_repmgr.utils import membership
from saltext_repmgr.utils import other_repmgrd
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import server
from saltext_repmgr.utils.spec import Layout
from tests.functional.support import clusters
from tests.functional.support import repmgr
from tests.functional.support.repmgr import PASSWORD


@pytest.fixture
def spec(primary, standby):
    nodes = {
        cluster.name: {"id": cluster.number, "host": f"{clusters.own_name()}{number * '.'}"}
        for number, cluster in enumerate((primary, standby))
    }
    nodes[primary.name]["role"] = "primary"
    return pillar.read(
        {
            **{"cluster": "functional", "subnet": "192.0.2.0/24", "password": PASSWORD},
            **{"nodes": nodes, "postgres": {"port": primary.port}},
        }
    )


def described(cluster):
    with cluster.connect("repmgr") as connection:
        return server.describe(connection, "repmgr")


def connected_as(primary, name):
    primary.eventually(
        f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}'"
        " AND state = 'streaming'",
        "1",
    )


@pytest.fixture
def conninfo(primary, standby):
    """The standby's primary_conninfo, put back afterwards."""
    before = standby.sql("SHOW primary_conninfo")
    yield before
    standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{before}'")
    standby.sql("SELECT pg_reload_conf()")
    connected_as(primary, standby.name)


def test_a_standby_as_repmgr_sets_it_up(standby):
    found = described(standby)
    assert (found.sends_as, found.passfile) == (standby.name, str(repmgr.PASSFILE))
    assert found.slot_used == repmgr.slot(standby)


@pytest.mark.parametrize(
    "spelled", ["application_name=other", "application_name = ''other one''", ""]
)
def test_a_standby_that_calls_itself_something_else(primary, standby, conninfo, spelled):
    others = conninfo.replace(f"application_name={standby.name}", spelled)
    assert others != conninfo
    standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{others}'")
    standby.sql("SELECT pg_reload_conf()")
    # Without a name it has that of its cluster, on Debian.
    name = spelled.partition("=")[2].strip(" '") or standby.sql("SHOW cluster_name")
    connected_as(primary, name)
    assert described(standby).sends_as == name
    assert described(primary).sends_as is None


def test_it_is_named_again_by_a_reload(primary, standby, conninfo, spec, monkeypatch):
    monkeypatch.setattr(Layout, "passfile", str(repmgr.PASSFILE))
    others = conninfo.replace(f"application_name={standby.name}", "application_name=other")
    standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{others}'")
    standby.sql("SELECT pg_reload_conf()")
    connected_as(primary, "other")
    started = standby.sql("SELECT pg_postmaster_start_time()")
    node, target = spec.nodes[standby.name], spec.nodes[primary.name]
    membership.follow(spec, node, standby.layout, target)
    connected_as(primary, standby.name)
    assert standby.sql("SELECT pg_postmaster_start_time()") == started
    assert described(standby).sends_as == standby.name
    assert repmgr_conf.conninfo(spec, target, Layout).split()[0] in standby.sql(
        "SHOW primary_conninfo"
    )


def test_a_repmgrd_that_others_started(primary, spec):
    assert other_repmgrd.find(spec, primary.layout) is None
    argv = [primary.bin("repmgrd"), "-f", repmgr.conf(primary), "--daemonize=false"]
    with subprocess.Popen(
        ["runuser", "-u", "postgres", "--", *argv, "--no-pid-file"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as daemon:
        try:
            running = "SELECT repmgr.repmgrd_is_running()"
            primary.eventually(running, "t", "repmgr")
            pid = other_repmgrd.find(spec, primary.layout)
            assert str(pid) == primary.sql("SELECT repmgr.get_repmgrd_pid()", "repmgr")
            other_repmgrd.stop(pid)
            assert other_repmgrd.find(spec, primary.layout) is None
            primary.eventually(running, "f", "repmgr")
        finally:
            daemon.terminate()
