"""modules.repmgr where it fails: Salt's two errors, with a name and what to do next."""

import pathlib

import pytest
import salt.minion
from salt.exceptions import CommandExecutionError
from salt.exceptions import SaltInvocationError

from saltext_repmgr.utils import client
from tests.functional.support import repmgr
from tests.functional.support.repmgr import PASSWORD

NODES = "SELECT string_agg(node_id || ' ' || active, ', ' ORDER BY node_id) FROM repmgr.nodes"
# What a minion makes of the arguments of a job.
parsed = salt.minion.load_args_and_kwargs


@pytest.fixture
def idle(primary, servers):  # pylint: disable=unused-argument
    """A server that is down, with a repmgr.conf that has never been used."""
    repmgr.configure(servers[4])
    servers[4].kill()
    return servers[4]


@pytest.mark.parametrize(
    "function",
    ["cluster_show", "cluster_event", "node_status", "node_check", "service_status"],
)
def test_a_server_that_is_down(command, idle, function):
    with pytest.raises(CommandExecutionError) as raised:
        command(function, idle)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"repmgr {function.replace('_', ' ')} failed with DB_CONN (6)"
    assert any("Connection refused" in line for line in lines)
    assert lines[-1] == "Next: see whether PostgreSQL runs there and lets the repmgr role in"


def test_a_server_that_does_not_answer(command, primary, monkeypatch):
    monkeypatch.setattr(client, "_REGISTER_SECONDS", 2)
    with primary.connect("repmgr") as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE repmgr.nodes")
        with pytest.raises(CommandExecutionError, match="register was ended after 2 s") as raised:
            command("primary_register", primary, force=True)
        assert "a server that it connects to does not answer" in str(raised.value)


def test_the_rights_are_missing(command, primary):
    primary.sql("REVOKE ALL ON repmgr.events FROM repmgr", "repmgr")
    try:
        with pytest.raises(CommandExecutionError) as raised:
            command("cluster_event", primary)
        text = str(raised.value)
        assert "failed with DB_QUERY (7)" in text
        assert "permission denied for table events" in text
        assert text.endswith(
            "Next: see whether the repmgr role has its rights on the schema repmgr"
        )
    finally:
        primary.sql("GRANT ALL ON repmgr.events TO repmgr", "repmgr")


def test_a_password_in_the_configuration_is_in_no_error(command, primary):
    path = pathlib.Path(repmgr.conf(primary))
    before = path.read_text(encoding="utf-8")
    leaky = before.replace(f"passfile={repmgr.PASSFILE}'", "password=hunter2secret'")
    assert leaky != before
    path.write_text(leaky.replace(f"passfile='{repmgr.PASSFILE}'", ""), encoding="utf-8")
    try:
        with pytest.raises(CommandExecutionError) as raised:
            command("node_status", primary)
        assert "hunter2secret" not in str(raised.value)
        assert "hunter2secret" not in str(command("dump_config", primary))
    finally:
        path.write_text(before, encoding="utf-8")


def test_mistakes_in_the_configuration(command, idle):
    repmgr.configure(idle, priority="-1", failover="sometimes")
    with pytest.raises(CommandExecutionError, match=r"failed with BAD_CONFIG \(1\)") as raised:
        command("dump_config", idle)
    assert "priority" in str(raised.value)
    assert "failover" in str(raised.value)


def test_a_configuration_that_is_not_there(minion):
    with pytest.raises(CommandExecutionError, match="/nowhere.conf"):
        minion.modules.repmgr.dump_config(config="/nowhere.conf")
    with pytest.raises(SaltInvocationError, match="config must be an absolute path"):
        minion.modules.repmgr.dump_config(config="repmgr.conf")


def test_a_repmgr_that_is_not_installed(minion):
    with pytest.raises(CommandExecutionError, match="install the package postgresql-9-repmgr"):
        minion.modules.repmgr.version(version=9)
    with pytest.raises(SaltInvocationError, match="major version of PostgreSQL"):
        minion.modules.repmgr.version(version="fifteen")


def test_a_check_that_does_not_exist(command, primary):
    with pytest.raises(SaltInvocationError, match="there is no check 'nonsense'; there are: arch"):
        command("node_check", primary, "nonsense")


def test_a_node_of_another_cluster(command, primary):
    with pytest.raises(SaltInvocationError, match="'elsewhere' is not in repmgr:nodes"):
        command("standby_clone", primary, upstream="elsewhere")
    with pytest.raises(SaltInvocationError, match="pass either conninfo or upstream"):
        command("standby_clone", primary)


def test_a_password_as_an_argument_is_refused(command, idle, primary):
    conninfo = f"host=127.0.0.1 port={primary.port} user=repmgr password={PASSWORD}"
    with pytest.raises(SaltInvocationError, match="process list; use passfile= instead") as raised:
        command("standby_clone", idle, conninfo=conninfo)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("standby_unregister", {"node_id": 2}), ("cluster_cleanup", {})],
)
def test_a_dry_run_that_repmgr_would_execute_is_refused(minion, primary, function, arguments):
    # repmgr takes --dry-run here and deletes all the same.
    before = primary.sql(NODES, "repmgr")
    given = [{"__kwarg__": True, "dry_run": True, **arguments}]
    with pytest.raises(SaltInvocationError, match="dry_run"):
        parsed(minion.modules[f"repmgr.{function}"], given)
    with pytest.raises(TypeError, match="dry_run"):
        minion.modules[f"repmgr.{function}"](dry_run=True, config=repmgr.conf(primary), **arguments)
    assert primary.sql(NODES, "repmgr") == before == "1 true, 2 true"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("primary_register", {"force": True}),
        ("service_pause", {}),
        ("service_unpause", {}),
        ("node_service", {"action": "stop"}),
    ],
)
def test_a_dry_run_changes_nothing(command, primary, function, arguments):
    def everything():
        events = "SELECT count(*) FROM repmgr.events"
        state = "SELECT pg_postmaster_start_time(), repmgr.repmgrd_is_paused()"
        return [primary.sql(query, "repmgr") for query in (NODES, events, state)]

    before = everything()
    done = command(function, primary, dry_run=True, **arguments)
    assert (done["changed"], done["command"].endswith(" --dry-run")) == (False, True)
    assert everything() == before


def test_a_record_of_another_type_is_not_deleted(command, primary):
    before = primary.sql(NODES, "repmgr")
    with pytest.raises(CommandExecutionError, match="is not a witness node"):
        command("witness_unregister", primary, node_id=2, force=True)
    with pytest.raises(CommandExecutionError, match="is not a standby|not registered as a standby"):
        command("standby_unregister", primary, node_id=1)
    assert primary.sql(NODES, "repmgr") == before
