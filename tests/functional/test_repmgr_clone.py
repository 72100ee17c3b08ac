"""modules.repmgr with a third server: clone, register, follow, unregister."""

from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import host
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.spec import Layout
from tests.functional.support import repmgr

RECORD = "SELECT type, active, upstream_node_id FROM repmgr.nodes WHERE node_id = 4"
DROP_SLOT = (
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    " WHERE slot_name = 'repmgr_slot_4'"
)


@pytest.fixture
def empty(servers, primary):  # pylint: disable=unused-argument
    """A server without data."""
    repmgr.configure(servers[4].kill().empty())
    return servers[4]


@pytest.fixture(scope="module")
def cloned(command, servers, primary, standby):
    """A running clone of the primary; what made it."""
    target = servers[4].kill().empty()
    repmgr.configure(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layout, "passfile", str(repmgr.PASSFILE))
        done = command("standby_clone", target, upstream=primary.name, upstream_node_id=1)
    found = host.data_directory(target.layout)
    target.start()
    yield SimpleNamespace(target=target, done=done, found=found)
    target.kill()
    for source in (primary, standby):
        source.eventually(
            f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{target.name}'",
            "0",
        )
        source.sql(DROP_SLOT)


@pytest.fixture
def clone(cloned, primary):
    """The clone, streaming from the primary and not registered."""
    if cloned.target.pid is None:
        cloned.target.start()
    repmgr.await_streaming(primary, cloned.target)
    yield cloned.target
    primary.sql("DELETE FROM repmgr.nodes WHERE node_id = 4", "repmgr")


def test_a_dry_run_leaves_the_directory_empty(command, empty, primary):
    done = command("standby_clone", empty, conninfo=repmgr.conninfo(primary), dry_run=True)
    assert done["changed"] is False
    assert any("prerequisites" in line for line in done["messages"])
    assert host.data_directory(empty.layout).content is Content.EMPTY


def test_data_that_is_there_is_not_overwritten(command, empty, primary):
    (empty.data / "somebody.txt").write_text("precious")
    with pytest.raises(CommandExecutionError, match=r"standby clone failed with BAD_CONFIG \(1\)"):
        command("standby_clone", empty, conninfo=repmgr.conninfo(primary))
    assert [path.name for path in empty.data.iterdir()] == ["somebody.txt"]


def test_a_running_server_is_not_overwritten(command, standby, primary):
    with pytest.raises(CommandExecutionError, match="contain a running PostgreSQL instance"):
        command("standby_clone", standby, conninfo=repmgr.conninfo(primary), force=True)
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"


def test_a_clone_of_a_node_of_the_pillar(cloned, primary):
    done, found = cloned.done, cloned.found
    assert done["changed"] is True
    assert f"passfile={repmgr.PASSFILE}" in done["command"]
    assert "--fast-checkpoint" in done["command"]
    assert repmgr.PASSWORD not in str(done)
    assert (found.content, found.standby, found.backup_label) == (Content.POSTGRES, True, True)
    identifier = primary.sql("SELECT system_identifier FROM pg_control_system()")
    assert found.control.system_identifier == identifier
    settings = (cloned.target.data / "postgresql.auto.conf").read_text()
    assert f"passfile={repmgr.PASSFILE}" in settings.replace("''", "")
    assert repmgr.PASSWORD not in settings


def test_register_and_unregister(command, clone, primary):
    assert command("standby_register", clone, upstream_node_id=1, dry_run=True)["changed"] is False
    assert primary.sql(RECORD, "repmgr") == ""
    done = command("standby_register", clone, upstream_node_id=1, wait_sync=30)
    assert done["changed"] is True
    assert primary.sql(RECORD, "repmgr") == clone.sql(RECORD, "repmgr") == "standby|t|1"
    ids = [node["node_id"] for node in command("cluster_show", clone)["nodes"]]
    assert ids == [1, 2, 4]
    assert command("standby_unregister", clone)["changed"] is True
    assert primary.sql(RECORD, "repmgr") == ""


def test_a_standby_that_is_gone_is_unregistered_from_elsewhere(command, clone, primary):
    command("standby_register", clone, upstream_node_id=1)
    clone.stop()
    found = command("cluster_show", primary, detail=True)
    assert found["healthy"] is False
    (gone,) = (node for node in found["nodes"] if node["node_id"] == 4)
    assert (gone["status"], gone["timeline"]) == ("? unreachable", None)
    assert any(clone.name in issue for issue in found["issues"])
    command("standby_unregister", primary, node_id=4)
    assert command("cluster_show", primary)["healthy"] is True


def test_follow_another_standby_and_the_primary_again(command, clone, primary, standby, repmgr_pg):
    command("standby_register", clone, upstream_node_id=1, wait_sync=30)
    assert command("standby_follow", clone, upstream_node_id=2, dry_run=True)["changed"] is False
    assert command("standby_follow", clone, upstream_node_id=2)["changed"] is True
    repmgr.await_streaming(standby, clone)
    assert primary.sql(RECORD, "repmgr") == "standby|t|2"
    (sender,) = repmgr_pg.replication_status(port=standby.port)
    assert (sender["application_name"], sender["state"]) == (clone.name, "streaming")
    assert repmgr_pg.status(port=clone.port)["upstream_port"] == standby.port
    assert command("standby_follow", clone)["changed"] is True
    repmgr.await_streaming(primary, clone)
    assert primary.sql(RECORD, "repmgr") == "standby|t|1"


def test_restart(command, clone):
    started = clone.sql("SELECT pg_postmaster_start_time()")
    assert command("node_service", clone, action="restart")["changed"] is True
    assert clone.sql(f"SELECT pg_postmaster_start_time() > '{started}'") == "t"
