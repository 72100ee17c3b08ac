"""repmgr_pg.status and in_recovery: what servers say of themselves."""

import pytest
from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import lsn

OTHERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
FIELDS = {
    *("system_identifier", "in_recovery", "timeline", "lsn", "started", "version", "clients"),
    *("next_xid", "user_objects", "receiver", "upstream_host", "upstream_port", "senders"),
    *("slots", "nodes"),
}


def identifier_of(cluster):
    return cluster.sql("SELECT system_identifier FROM pg_control_system()")


def test_the_primary(repmgr_pg, primary, standby):
    before = primary.sql("SELECT pg_current_wal_lsn()")
    found = repmgr_pg.status()
    after = primary.sql("SELECT pg_current_wal_lsn()")
    assert set(found) == FIELDS
    assert found["system_identifier"] == identifier_of(primary)
    assert (found["in_recovery"], found["timeline"]) == (False, 1)
    assert lsn.parse(before) <= lsn.parse(found["lsn"]) <= lsn.parse(after)
    assert found["version"] == int(primary.sql("SHOW server_version_num"))
    assert found["started"] == primary.sql(
        "SET timezone = 'UTC';"
        'SELECT to_char(pg_postmaster_start_time(), \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'
    )
    assert (found["receiver"], found["upstream_host"], found["upstream_port"]) == (None,) * 3
    assert [sender["application_name"] for sender in found["senders"]] == [standby.name]
    assert [(node["node_id"], node["type"]) for node in found["nodes"]] == [
        (primary.number, "primary"),
        (standby.number, "standby"),
    ]


def test_the_standby(repmgr_pg, primary, standby):
    found = repmgr_pg.status(port=standby.port)
    assert set(found) == FIELDS
    assert found["system_identifier"] == identifier_of(primary)
    assert (found["in_recovery"], found["timeline"]) == (True, 1)
    assert found["receiver"] == "streaming"
    assert (found["upstream_host"], found["upstream_port"]) == ("127.0.0.1", primary.port)
    assert found["senders"] == []
    upstream = {node["node_id"]: node["upstream_node_id"] for node in found["nodes"]}
    assert upstream == {primary.number: None, standby.number: primary.number}


@pytest.mark.parametrize("name", ["primary", "standby"])
def test_the_role_of_repmgr_learns_as_much_as_the_superuser(repmgr_pg, pair, name):
    port = getattr(pair, name).port
    local = repmgr_pg.status(port=port)
    remote = repmgr_pg.status(host="127.0.0.1", port=port)
    varying = {"clients", "lsn", "senders", "next_xid"}
    assert {k: v for k, v in remote.items() if k not in varying} == {
        k: v for k, v in local.items() if k not in varying
    }
    for one, other in zip(remote["senders"], local["senders"], strict=True):
        assert {k: bool(v) for k, v in one.items()} == {k: bool(v) for k, v in other.items()}


def test_clients_are_the_sessions_of_others(repmgr_pg, primary):
    primary.eventually(OTHERS, "0")
    assert repmgr_pg.status()["clients"] == 0
    with primary.connect(), primary.connect():
        assert repmgr_pg.status()["clients"] == 2


def test_a_server_without_repmgrs_database(repmgr_pg, spare):
    found = repmgr_pg.status(port=spare.port)
    assert found["system_identifier"] == identifier_of(spare)
    assert found["nodes"] is None


def test_a_server_elsewhere_without_repmgrs_database_raises(repmgr_pg, spare):
    with pytest.raises(CommandExecutionError, match="authentication failed"):
        repmgr_pg.status(host="127.0.0.1", port=spare.port)


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_who_is_in_recovery(repmgr_pg, primary, standby, host):
    assert repmgr_pg.in_recovery(host=host, port=primary.port) is False
    assert repmgr_pg.in_recovery(host=host, port=standby.port) is True
