"""repmgr_pg where a server cannot be asked: always an error, never an empty answer."""

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.support.clusters import free_ports

ASKING = ("status", "in_recovery", "timeline", "replication_status", "slots", "settings")


@pytest.fixture
def closed(primary):  # pylint: disable=unused-argument
    """A port that nothing listens on, now that the servers have theirs."""
    return free_ports(1)[0]


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
@pytest.mark.parametrize("function", ASKING)
def test_a_server_that_is_down_raises(repmgr_pg, closed, function, host):
    with pytest.raises(CommandExecutionError, match=f"port {closed}|PGSQL.{closed}"):
        getattr(repmgr_pg, function)(host=host, port=closed)


@pytest.mark.parametrize("function", ASKING)
def test_a_server_that_rejects_raises(repmgr_pg, minion, monkeypatch, function):
    monkeypatch.setitem(minion.pillar["repmgr"], "password", "another-secret")
    with pytest.raises(CommandExecutionError, match="authentication failed") as raised:
        getattr(repmgr_pg, function)(host="127.0.0.1")
    assert "another-secret" not in str(raised.value)


def test_the_rules_of_a_server_that_is_down_raise(repmgr_pg, minion, monkeypatch, closed):
    monkeypatch.setitem(minion.pillar["repmgr"]["postgres"], "port", closed)
    with pytest.raises(CommandExecutionError, match=f"PGSQL.{closed}"):
        repmgr_pg.hba_rules()


@pytest.mark.parametrize("function", ["control_data", "system_identifier"])
def test_a_data_directory_that_is_not_there_raises(repmgr_pg, tmp_path, function):
    with pytest.raises(CommandExecutionError, match="pg_controldata.*No such file"):
        getattr(repmgr_pg, function)(data_directory=str(tmp_path))


@pytest.mark.parametrize("function", ["control_data", "system_identifier"])
def test_a_postgresql_that_is_not_installed_raises(repmgr_pg, function):
    with pytest.raises(CommandExecutionError, match="9/bin/pg_controldata is not installed"):
        getattr(repmgr_pg, function)(version=9)
