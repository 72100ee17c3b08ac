"""modules.repmgr on the running pair: functions that act, with what they did undone."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.support import repmgr

RECORD = "SELECT type, active, upstream_node_id, slot_name FROM repmgr.nodes WHERE node_id = "
LOADED = "SELECT pg_conf_load_time()"


def test_a_primary_is_registered_once(command, primary):
    before = primary.sql(RECORD + "1", "repmgr")
    with pytest.raises(CommandExecutionError, match="already registered"):
        command("primary_register", primary)
    done = command("primary_register", primary, force=True)
    assert set(done) == {"changed", "command", "messages"}
    assert done["changed"] is True
    assert done["command"].endswith(f"{primary.name}.conf primary register --force")
    assert any(line.startswith("NOTICE: ") for line in done["messages"])
    assert primary.sql(RECORD + "1", "repmgr") == before


def test_a_record_that_is_wrong_is_written_anew(command, primary):
    before = primary.sql(RECORD + "1", "repmgr")
    primary.sql("UPDATE repmgr.nodes SET active = false WHERE node_id = 1", "repmgr")
    command("primary_register", primary, force=True)
    assert primary.sql(RECORD + "1", "repmgr") == before == "primary|t||repmgr_slot_1"


def test_a_standby_is_registered_with_its_upstream(command, primary, standby):
    with pytest.raises(CommandExecutionError, match="already registered"):
        command("standby_register", standby, upstream_node_id=1)
    done = command("standby_register", standby, upstream_node_id=1, force=True, wait_sync=30)
    assert done["changed"] is True
    assert primary.sql(RECORD + "2", "repmgr") == "standby|t|1|repmgr_slot_2"


def test_a_standby_is_no_primary(command, standby):
    with pytest.raises(CommandExecutionError, match="cannot be registered as a primary"):
        command("primary_register", standby)


def test_no_promotion_while_there_is_a_primary(command, standby):
    for dry_run in (True, False):
        with pytest.raises(CommandExecutionError, match=r"failed with PROMOTION_FAIL \(8\)"):
            command("standby_promote", standby, dry_run=dry_run)
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"


def test_to_follow_the_node_it_follows_fails(command, standby):
    with pytest.raises(CommandExecutionError, match=r"failed with FOLLOW_FAIL \(23\)"):
        command("standby_follow", standby, upstream_node_id=1)
    assert command("standby_follow", standby, upstream_node_id=1, dry_run=True)["changed"] is False


def test_no_switchover_without_ssh(command, primary, standby):
    with pytest.raises(CommandExecutionError, match="unable to connect via SSH"):
        command("standby_switchover", standby, dry_run=True)
    assert primary.sql("SELECT pg_is_in_recovery()") == "f"


def test_the_active_primary_is_not_unregistered(command, primary):
    for options in ({}, {"force": True}, {"dry_run": True}):
        with pytest.raises(CommandExecutionError, match="still has this node as its upstream"):
            command("primary_unregister", primary, **options)
    assert primary.sql(RECORD + "1", "repmgr") == "primary|t||repmgr_slot_1"


def test_a_running_server_does_not_rejoin(command, standby, primary):
    with pytest.raises(CommandExecutionError, match=r"REJOIN_FAIL \(24\)\nERROR: .* running"):
        command("node_rejoin", standby, conninfo=repmgr.conninfo(primary), force_rewind=True)
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"


def test_reload(command, primary):
    before = primary.sql(LOADED)
    done = command("node_service", primary, action="reload")
    assert done["changed"] is True
    primary.eventually(f"{LOADED} > '{before}'", "t")


def test_pause_and_unpause(command, primary, standby):
    def paused():
        return [node["paused"] for node in command("service_status", standby)]

    assert paused() == [False, False]
    try:
        assert command("service_pause", primary)["changed"] is True
        assert paused() == [True, True]
    finally:
        command("service_unpause", primary)
    assert paused() == [False, False]


def test_history_is_cleaned_up(command, primary):
    primary.sql(
        "INSERT INTO repmgr.monitoring_history (primary_node_id, standby_node_id,"
        " last_monitor_time, last_apply_time, last_wal_primary_location,"
        " last_wal_standby_location, replication_lag, apply_lag)"
        " SELECT 1, 2, now() - days * interval '1 day', now(), '0/0', '0/0', 0, 0"
        " FROM unnest(ARRAY[0, 10, 20]) days",
        "repmgr",
    )
    count = "SELECT count(*) FROM repmgr.monitoring_history"
    assert primary.sql(count, "repmgr") == "3"
    assert command("cluster_cleanup", primary, keep_history=15)["changed"] is True
    assert primary.sql(count, "repmgr") == "2"
    command("cluster_cleanup", primary)
    assert primary.sql(count, "repmgr") == "0"
