"""repmgr_pg.replication_status, slots and lsn_diff."""

import pytest
from salt.exceptions import CommandExecutionError
from salt.exceptions import SaltInvocationError

from saltext_repmgr.utils import lsn
from tests.functional.support.repmgr import await_streaming
from tests.functional.support.repmgr import slot
from tests.lab.process import wait_until

WRITE = "SELECT pg_logical_emit_message(true, 'functional', repeat('x', 200000))"


@pytest.fixture
def idle_slots(primary):
    """A slot that keeps WAL for nobody, and one that was never used."""
    primary.sql("SELECT pg_create_physical_replication_slot('idle', true)")
    primary.sql("SELECT pg_create_physical_replication_slot('unused')")
    yield
    primary.sql("SELECT pg_drop_replication_slot('idle'), pg_drop_replication_slot('unused')")


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_who_streams_from_the_primary(repmgr_pg, standby, host):
    (found,) = repmgr_pg.replication_status(host=host)
    assert set(found) == {
        *("application_name", "state", "sync_state", "lag_bytes"),
        *("sent_lsn", "write_lsn", "flush_lsn", "replay_lsn"),
        *("write_lag", "flush_lag", "replay_lag"),
    }
    assert found["application_name"] == standby.name
    assert (found["state"], found["sync_state"]) == ("streaming", "async")


def test_nobody_streams_from_the_standby(repmgr_pg, standby):
    assert repmgr_pg.replication_status(port=standby.port) == []


def test_the_lag_is_what_is_sent_and_not_replayed(repmgr_pg, primary, standby):
    received = "SELECT sent_lsn = pg_current_wal_lsn() FROM pg_stat_replication"
    caught_up = "SELECT replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication"
    primary.eventually(caught_up, "t")
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        standby.eventually("SELECT pg_get_wal_replay_pause_state()", "paused")
        primary.sql(WRITE)
        primary.eventually(received, "t")
        (found,) = repmgr_pg.replication_status()
        assert found["lag_bytes"] == repmgr_pg.lsn_diff(found["sent_lsn"], found["replay_lsn"])
        assert found["lag_bytes"] >= 200000
        assert lsn.diff(found["write_lsn"], found["replay_lsn"]) >= 200000
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    primary.eventually(caught_up, "t")


@pytest.mark.usefixtures("idle_slots")
def test_slots(repmgr_pg, primary, standby):
    before = {found["slot_name"]: found for found in repmgr_pg.slots()}
    assert sorted(before) == ["idle", slot(standby), "unused"]
    primary.sql(WRITE)
    after = {found["slot_name"]: found for found in repmgr_pg.slots()}
    assert {name: (found["slot_type"], found["active"]) for name, found in after.items()} == {
        "idle": ("physical", False),
        slot(standby): ("physical", True),
        "unused": ("physical", False),
    }
    grown = after["idle"]["retained_bytes"] - before["idle"]["retained_bytes"]
    assert 200000 <= grown < 300000
    assert after["idle"]["restart_lsn"] == before["idle"]["restart_lsn"]
    assert (after["unused"]["restart_lsn"], after["unused"]["retained_bytes"]) == (None, None)
    assert {
        name: (found["wal_status"], found["application_name"]) for name, found in after.items()
    } == {
        "idle": ("reserved", None),
        slot(standby): ("reserved", standby.name),
        "unused": (None, None),
    }


def test_a_temporary_slot_is_none(repmgr_pg, primary):
    with primary.connect() as session:
        with session.cursor() as cursor:
            cursor.execute("SELECT pg_create_physical_replication_slot('brief', true, true)")
        assert primary.sql("SELECT count(*) FROM pg_replication_slots WHERE temporary") == "1"
        assert "brief" not in {found["slot_name"] for found in repmgr_pg.slots()}


@pytest.mark.usefixtures("idle_slots")
def test_slots_as_the_role_of_repmgr(repmgr_pg):
    local, remote = repmgr_pg.slots(), repmgr_pg.slots(host="127.0.0.1")
    assert [found["slot_name"] for found in remote] == [found["slot_name"] for found in local]


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_lags_are_seconds(repmgr_pg, primary, standby, host):
    lags = []

    def measured():
        # It is measured when WAL arrives, and forgotten some seconds after.
        primary.sql(WRITE)
        (found,) = repmgr_pg.replication_status(host=host)
        lags[:] = [found[f"{step}_lag"] for step in ("write", "flush", "replay")]
        return None not in lags

    assert wait_until(measured, 30), lags
    assert [type(lag) for lag in lags] == [float] * 3
    assert 0 < min(lags) and max(lags) < 60


def test_slots_of_a_standby(repmgr_pg, standby):
    assert repmgr_pg.slots(port=standby.port) == []
    standby.sql("SELECT pg_create_physical_replication_slot('cascade', true)")
    try:
        (found,) = repmgr_pg.slots(port=standby.port)
        assert (found["slot_name"], found["active"]) == ("cascade", False)
        assert found["retained_bytes"] >= 0
    finally:
        standby.sql("SELECT pg_drop_replication_slot('cascade')")


@pytest.mark.parametrize(
    ("one", "other"),
    [("0/3000148", "0/3000060"), ("0/0", "1/0"), ("A/FFFFFFFF", "B/0"), ("ff/1", "FF/1")],
)
def test_lsn_diff_is_that_of_the_server(repmgr_pg, primary, one, other):
    said = int(primary.sql(f"SELECT pg_wal_lsn_diff('{one}', '{other}')"))
    assert repmgr_pg.lsn_diff(one, other) == said


@pytest.mark.parametrize("wrong", ["", "0", "0/", "/0", "0/G", "0/123456789", "0/0/0", None, 5])
def test_lsn_diff_refuses_what_is_no_lsn(repmgr_pg, wrong):
    with pytest.raises(SaltInvocationError, match="not an LSN"):
        repmgr_pg.lsn_diff("0/0", wrong)


def test_a_slot_is_dropped_unless_somebody_streams_from_it(repmgr_pg, primary, standby):
    primary.sql("SELECT pg_create_physical_replication_slot('orphan', true)")
    assert repmgr_pg.slot_drop("orphan") is True
    assert repmgr_pg.slot_drop("orphan") is False
    with pytest.raises(CommandExecutionError, match="is active for PID"):
        repmgr_pg.slot_drop(slot(standby))
    assert [found["slot_name"] for found in repmgr_pg.slots()] == [slot(standby)]


def test_a_standby_without_a_stream_still_tells_its_upstream(repmgr_pg, primary, standby):
    streaming = repmgr_pg.status(port=standby.port)
    assert streaming["receiver"] == "streaming"
    conninfo = standby.sql("SHOW primary_conninfo").replace("'", "''")
    standby.sql("ALTER SYSTEM SET primary_conninfo = 'host=''192.0.2.7'' user=nobody port=1'")
    standby.sql("SELECT pg_reload_conf()")
    try:
        standby.eventually(
            "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0"
        )
        cut = repmgr_pg.status(port=standby.port)
        assert (cut["receiver"], cut["upstream_host"]) != ("streaming", streaming["upstream_host"])
        assert cut["upstream_host"] == "192.0.2.7"
    finally:
        standby.sql(f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
        standby.sql("SELECT pg_reload_conf()")
        await_streaming(primary, standby)


def test_a_primary_tells_its_physical_slots(repmgr_pg, standby):
    (found,) = repmgr_pg.status()["slots"]
    assert (found["slot_name"], found["active"]) == (slot(standby), True)
    assert repmgr_pg.status(port=standby.port)["slots"] == []
