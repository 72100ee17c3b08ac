"""repmgr_pg.status and in_recovery: what servers say of themselves."""

import pytest
from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils.facts import LIMITS
from tests.functional.support.repmgr import slot
from tests.lab.process import wait_until

OTHERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
WRITTEN = "SELECT pg_current_wal_lsn()"
FIELDS = {
    *("system_identifier", "in_recovery", "timeline", "lsn", "started", "version", "clients"),
    *("next_xid", "user_objects", "receiver", "upstream_host", "upstream_port", "senders"),
    *("nodes", "slots", "replay_lsn", "replay_age", "replay_paused", "apply_delay"),
    *("oldest_wal", "has_archive", "repmgrd_pid", "repmgrd_paused", "watched"),
    *("max_wal_senders", "max_replication_slots", "max_slot_wal", "archive_failing"),
    "archive_waiting",
    *("limits", "other_limits", "pending", "extension", "extension_offered"),
    *("sends_as", "passfile", "slot_used", "synchronous", "kept", "configuration", "collations"),
}


def identifier_of(cluster):
    return cluster.sql("SELECT system_identifier FROM pg_control_system()")


def test_the_primary(repmgr_pg, primary, standby):
    before = primary.sql(WRITTEN)
    found = repmgr_pg.status()
    after = primary.sql(WRITTEN)
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
    assert found["limits"] == {name: int(primary.sql(f"SHOW {name}")) for name in LIMITS}
    assert (found["pending"], found["extension"]) == ([], found["extension_offered"])
    assert [sender["application_name"] for sender in found["senders"]] == [standby.name]
    assert (found["replay_lsn"], found["replay_age"], found["replay_paused"]) == (None,) * 3
    assert [(one["slot_name"], one["application_name"]) for one in found["slots"]] == [
        (slot(standby), standby.name)
    ]
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
    varying = {"clients", "lsn", "senders", "next_xid", "slots", "replay_lsn", "replay_age"}
    assert {k: v for k, v in remote.items() if k not in varying} == {
        k: v for k, v in local.items() if k not in varying
    }
    measured = {"write_lag", "flush_lag", "replay_lag", "retained_bytes"}
    for rows in ("senders", "slots"):
        for one, other in zip(remote[rows], local[rows], strict=True):
            known = [
                {k: bool(v) for k, v in row.items() if k not in measured} for row in (one, other)
            ]
            assert known[0] == known[1]


def test_what_a_standby_replayed(repmgr_pg, primary, standby):
    primary.sql("CREATE TABLE replayed (); DROP TABLE replayed")
    standby.eventually(f"SELECT pg_last_wal_replay_lsn() >= '{primary.sql(WRITTEN)}'", "t")
    found = repmgr_pg.status(host="127.0.0.1", port=standby.port)
    assert isinstance(found["replay_age"], float) and 0 <= found["replay_age"] < 60
    assert lsn.diff(found["lsn"], found["replay_lsn"]) >= 0
    assert found["replay_paused"] is False
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        assert repmgr_pg.status(host="127.0.0.1", port=standby.port)["replay_paused"] is True
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")


def test_a_password_in_the_metadata_stays_there(repmgr_pg, primary):
    primary.sql(
        "INSERT INTO repmgr.nodes SELECT 99, upstream_node_id, false, 'by-hand', 'standby', location,"
        " 0, 'host=h password=hush user=u', repluser, slot_name, config_file"
        " FROM repmgr.nodes LIMIT 1",
        "repmgr",
    )
    try:
        (found,) = [node for node in repmgr_pg.status()["nodes"] if node["node_id"] == 99]
    finally:
        primary.sql("DELETE FROM repmgr.nodes WHERE node_id = 99", "repmgr")
    assert found["conninfo"] == "host=h password=******** user=u"


def test_who_is_drained_is_told_until_it_is_registered_again(repmgr_pg, primary, standby):
    event = "INSERT INTO repmgr.events (node_id, event, successful, details) VALUES"
    fact = drained.note("alice", "new disk", 1795413600)

    def told():
        return {n["node_id"]: n["drained"] for n in repmgr_pg.status()["nodes"]}

    nobody = {primary.number: None, standby.number: None}
    assert told() == nobody
    number, text = standby.number, drained.to_json(fact)
    primary.sql(f"{event} ({number}, '{drained.EVENT}', true, '{text}')", "repmgr")
    assert told() == {**nobody, number: facts.to_dict(fact)}
    primary.sql(f"{event} ({number}, 'standby_disconnect', true, '')", "repmgr")
    assert told()[number] is not None
    primary.sql(f"{event} ({number}, 'standby_register', true, '')", "repmgr")
    assert told() == nobody


def test_clients_are_the_sessions_of_others(repmgr_pg, primary):
    def clients():
        return repmgr_pg.status()["clients"]

    # On a busy machine a session outlives whoever had it.
    primary.eventually(OTHERS, "0")
    assert wait_until(lambda: clients() == 0, 20)
    primary.eventually(OTHERS, "0")
    with primary.connect(), primary.connect():
        assert wait_until(lambda: clients() == 2, 20)


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
