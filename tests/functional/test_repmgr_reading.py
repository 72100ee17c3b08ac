"""modules.repmgr on a healthy cluster: what the reading functions return."""

import re

import pytest

from tests.functional.support import repmgr

CHECKS_OF_A_STANDBY = (
    *("archive_ready", "data_directory_config", "db_connection", "downstream", "missing_slots"),
    *("replication_config_owner", "replication_lag", "role", "slots", "upstream"),
)
NODE_STATUS = {
    *("healthy", "node_name", "node_id", "postgres_version", "size", "conninfo", "role"),
    *("archiving", "archive_command", "archive_pending", "upstream", "upstream_id"),
    *("replication_lag", "received_lsn", "replayed_lsn", "max_wal_senders"),
    *("occupied_wal_senders", "max_replication_slots", "active_replication_slots"),
    *("inactive_replication_slots", "missing_replication_slots"),
}
LSN = re.compile(r"[0-9A-F]+/[0-9A-F]+")


def test_version(command, primary):
    found = command("version", primary)
    assert set(found) == {"version", "number", "binary"}
    assert found["binary"] == primary.bin("repmgr")
    assert repmgr.repmgr(primary, "--version") == f"repmgr {found['version']}"
    major, minor, patch = re.match(r"(\d+)\.(\d+)\.?(\d*)", found["version"]).groups()
    assert found["number"] == int(major) * 10000 + int(minor) * 100 + int(patch or 0)


def test_the_version_of_the_pillar_is_the_default(minion, primary):
    assert minion.modules.repmgr.version()["binary"] == primary.bin("repmgr")


def test_dump_config(command, primary):
    found = command("dump_config", primary)
    assert {
        name: found[name]
        for name in ("node_id", "node_name", "conninfo", "data_directory", "passfile", "failover")
    } == {
        "node_id": "1",
        "node_name": primary.name,
        "conninfo": repmgr.conninfo(primary),
        "data_directory": str(primary.data),
        "passfile": str(repmgr.PASSFILE),
        "failover": "manual",
    }


@pytest.mark.parametrize("name", ["primary", "standby"])
def test_cluster_show(command, pair, name):
    assert command("cluster_show", getattr(pair, name)) == {
        "healthy": True,
        "nodes": [
            {"node_id": 1, "reachable": True, "in_recovery": False},
            {"node_id": 2, "reachable": True, "in_recovery": True},
        ],
        "issues": [],
    }


def test_cluster_show_for_people(command, primary, standby):
    assert command("cluster_show", standby, detail=True) == {
        "healthy": True,
        "nodes": [
            {
                "node_id": 1,
                "name": primary.name,
                "role": "primary",
                "status": "* running",
                "upstream": None,
                "location": "default",
                "priority": 100,
                "timeline": 1,
                "conninfo": repmgr.conninfo(primary),
            },
            {
                "node_id": 2,
                "name": standby.name,
                "role": "standby",
                "status": "running",
                "upstream": primary.name,
                "location": "default",
                "priority": 100,
                "timeline": 1,
                "conninfo": repmgr.conninfo(standby),
            },
        ],
        "issues": [],
    }


def test_cluster_event(command, primary, standby):
    found = command("cluster_event", standby)
    assert all(
        set(event) == {"node_id", "node_name", "event", "successful", "timestamp"}
        for event in found
    )
    times = [event["timestamp"] for event in found]
    assert times == sorted(times, reverse=True)
    (registered,) = command("cluster_event", primary, event="standby_register", node_id=2)[:1]
    assert registered.pop("timestamp")
    assert registered == {
        "node_id": 2,
        "node_name": standby.name,
        "event": "standby_register",
        "successful": True,
    }


def test_cluster_event_limits(command, primary):
    everything = command("cluster_event", primary, all_events=True)
    count = int(primary.sql("SELECT count(*) FROM repmgr.events", "repmgr"))
    assert len(everything) == count >= 3
    assert command("cluster_event", primary, limit=2) == everything[:2]
    assert command("cluster_event", primary, event="no_such_event") == []
    of_one = command("cluster_event", primary, node_id=2)
    assert {event["node_id"] for event in of_one} == {2}


def test_node_status_of_the_primary(command, primary, version):
    found = command("node_status", primary)
    assert set(found) == NODE_STATUS
    assert found["healthy"] is True
    assert (found["node_name"], found["node_id"]) == (primary.name, 1)
    assert found["postgres_version"].startswith(f"{version}.")
    assert found["conninfo"] == repmgr.conninfo(primary)
    assert (found["role"], found["upstream"], found["upstream_id"]) == ("primary", None, None)
    assert (found["max_wal_senders"], found["occupied_wal_senders"]) == (10, 1)
    assert (found["max_replication_slots"], found["active_replication_slots"]) == (10, 1)
    assert (found["inactive_replication_slots"], found["missing_replication_slots"]) == ([], [])
    assert found["replication_lag"] is None


def test_node_status_of_the_standby(command, primary, standby):
    found = command("node_status", standby)
    assert set(found) == NODE_STATUS
    assert (found["healthy"], found["role"]) == (True, "standby")
    assert (found["upstream"], found["upstream_id"]) == (primary.name, 1)
    assert isinstance(found["replication_lag"], int)
    assert LSN.fullmatch(found["received_lsn"])
    assert LSN.fullmatch(found["replayed_lsn"])


def test_node_status_names_a_slot_nobody_uses(command, primary):
    primary.sql("SELECT pg_create_physical_replication_slot('idle', true)")
    try:
        found = command("node_status", primary)
        assert found["inactive_replication_slots"] == ["idle"]
    finally:
        primary.sql("SELECT pg_drop_replication_slot('idle')")


@pytest.mark.parametrize("name", ["primary", "standby"])
def test_node_check(command, pair, name):
    found = command("node_check", getattr(pair, name))
    assert set(found) == {"status", "code", "checks"}
    assert (found["status"], found["code"]) == ("OK", 0)
    assert len(found["checks"]) >= 6
    assert all(set(check) == {"status", "details"} for check in found["checks"].values())


@pytest.mark.parametrize("check", CHECKS_OF_A_STANDBY)
def test_one_node_check(command, standby, check):
    found = command("node_check", standby, check)
    assert set(found) == {"status", "code", "details"}
    assert (found["status"], found["code"]) == ("OK", 0)


def test_a_node_check_that_finds_something(command, standby):
    # The server does not run repmgrd.
    found = command("node_check", standby, "repmgrd")
    assert (found["status"], found["code"]) == ("CRITICAL", 2)


def test_node_shutdown_state(command, primary):
    assert command("node_shutdown_state", primary) == {
        "state": "UP",
        "last_checkpoint_lsn": None,
    }


def test_node_service_names_the_commands(command, primary):
    found = command("node_service", primary)
    assert set(found) == {"start", "stop", "restart", "reload", "promote"}
    assert found["reload"].endswith(" reload")


def test_service_status(command, primary, standby):
    common = {
        "postgres_running": True,
        "repmgrd_running": False,
        "repmgrd_pid": None,
        "paused": False,
        "priority": 100,
        "upstream_last_seen": None,
        "location": "default",
    }
    assert command("service_status", primary) == [
        {"node_id": 1, "node_name": primary.name, "type": "primary", **common},
        {"node_id": 2, "node_name": standby.name, "type": "standby", **common},
    ]
