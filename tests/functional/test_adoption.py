"""What a server that others set up is seen to be: its stream, its slot, its repmgrd."""

import subprocess

import pytest
from psycopg2.extensions import make_dsn
from psycopg2.extensions import parse_dsn

from saltext_repmgr.utils import membership
from saltext_repmgr.utils import other_repmgrd
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import server
from saltext_repmgr.utils.spec import Layout
from tests.functional.support import clusters
from tests.functional.support import repmgr
from tests.functional.support.repmgr import PASSWORD


@pytest.fixture
def spec(primary, standby):
    nodes = {
        primary.name: {"id": primary.number, "host": clusters.own_name(), "role": "primary"},
        standby.name: {"id": standby.number, "host": "192.0.2.9"},
    }
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
        "SELECT string_agg(application_name, ',') FROM pg_stat_replication"
        " WHERE state = 'streaming'",
        name,
    )


def aim(standby, conninfo):
    quoted = conninfo.replace("'", "''")
    standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{quoted}'")
    standby.sql("SELECT pg_reload_conf()")


@pytest.fixture
def call(primary, standby):
    """Let the standby call itself something else, and in the end as before."""
    before = standby.sql("SHOW primary_conninfo")

    def run(name):
        aim(standby, make_dsn(**{**parse_dsn(before), "application_name": name}))
        # Without a name it has that of its cluster, on Debian.
        name = name or standby.sql("SHOW cluster_name")
        connected_as(primary, name)
        return name

    yield run
    aim(standby, before)
    connected_as(primary, standby.name)


def test_a_standby_as_repmgr_sets_it_up(standby):
    found = described(standby)
    assert (found.sends_as, found.passfile) == (standby.name, str(repmgr.PASSFILE))
    assert found.slot_used == repmgr.slot(standby)


@pytest.mark.parametrize("name", ["other", "other one's", None])
def test_a_standby_that_calls_itself_something_else(primary, standby, call, name):
    assert call(name) == described(standby).sends_as
    assert described(primary).sends_as is None


def test_it_is_named_again_by_a_reload(primary, standby, call, spec, monkeypatch):
    monkeypatch.setattr(Layout, "passfile", str(repmgr.PASSFILE))
    call("other")
    started = standby.sql("SELECT pg_postmaster_start_time()")
    node, target = spec.nodes[standby.name], spec.nodes[primary.name]
    membership.follow(spec, node, standby.layout, target)
    connected_as(primary, standby.name)
    assert standby.sql("SELECT pg_postmaster_start_time()") == started
    assert described(standby).sends_as == standby.name


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
