"""The execution module, on a fake cmd.run_all that answers with recordings."""

import inspect
import json
import re

import pytest
from salt.exceptions import CommandExecutionError
from salt.exceptions import SaltInvocationError

from saltext_repmgr.modules import repmgr
from saltext_repmgr.utils import client
from saltext_repmgr.utils import command
from tests.unit import recorded

FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(repmgr, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == repmgr.__name__
}
PILLAR = {
    "repmgr": {
        "cluster": "rec",
        "subnet": "192.168.1.0/24",
        "password": "example-password",
        "nodes": {
            "rec1": {"id": 1, "host": "192.168.1.10", "role": "primary"},
            "rec2": {"id": 2, "host": "192.168.1.20"},
        },
        "postgres": {"version": 15},
    }
}


class Host:
    """A minion whose repmgr prints what was recorded; remembers the commands."""

    def __init__(self, version):
        self.version = version
        self.scenario = "healthy"
        self.node = "rec1"
        self.commands = []
        # repmgr takes its options in any order and by short names, the recordings have one.
        self.spelling = {}
        self.config = {}

    def is_in(self, scenario, node="rec1", **spelling):
        self.scenario, self.node, self.spelling = scenario, node, spelling

    def run_all(self, argv, **_):
        self.commands.append(argv)
        arguments = " ".join(argv[3:])
        done = recorded.one(
            self.version, self.scenario, self.node, self.spelling.get("recorded_as") or arguments
        )
        return {"pid": 1, "retcode": done.code, "stdout": done.stdout, "stderr": done.stderr}

    @property
    def arguments(self):
        return self.commands[-1][3:]


@pytest.fixture(params=recorded.VERSIONS)
def host(request, monkeypatch, tmp_path):
    host = Host(request.param)
    for version in (13, 15):
        (tmp_path / f"{version}/bin").mkdir(parents=True)
        (tmp_path / f"{version}/bin/repmgr").touch()
    locate = command.locate
    monkeypatch.setattr(command, "locate", lambda version=None: locate(version, str(tmp_path)))
    monkeypatch.setattr(
        repmgr,
        "__salt__",
        {"cmd.run_all": host.run_all, "config.get": lambda key: host.config.get(key, "")},
        raising=False,
    )
    monkeypatch.setattr(repmgr, "__pillar__", PILLAR, raising=False)
    monkeypatch.setattr(repmgr, "__opts__", {"id": "rec2", "test": False}, raising=False)
    return host


def source(host, node):
    """How the recordings spell the connection to a node."""
    (arguments,) = {
        a for _, a in recorded.scenario(host.version, "build") if a.startswith("witness register")
    } - {a for _, a in recorded.scenario(host.version, "build") if a.endswith("--dry-run")}
    first = int(re.search(r"port=(\d+)", arguments)[1])
    return arguments.removeprefix("witness register -d ").replace(
        f"port={first}", f"port={first + node - 1}"
    )


# --- which repmgr --------------------------------------------------------------------------


def test_the_newest_repmgr_is_run_by_default(host):
    repmgr.service_status()
    (argv,) = host.commands
    assert argv[0].endswith("/15/bin/repmgr")
    assert argv[1:3] == ["-f", "/etc/repmgr.conf"]


def test_the_configured_version_is_run(host):
    host.config["repmgr:postgres:version"] = 13
    repmgr.service_status()
    assert host.commands[-1][0].endswith("/13/bin/repmgr")
    repmgr.service_status(version=15, config="/etc/other.conf")
    assert host.commands[-1][0].endswith("/15/bin/repmgr")
    assert host.commands[-1][2] == "/etc/other.conf"


def test_a_missing_repmgr_names_its_package(host):
    with pytest.raises(CommandExecutionError, match="install the package postgresql-17-repmgr"):
        repmgr.service_status(version=17)
    assert host.commands == []


# --- reading -------------------------------------------------------------------------------


def test_version(host):
    host.is_in("offline")
    found = repmgr.version()
    assert found["version"] == host.version
    assert found["number"] // 10000 == 5


def test_dump_config(host):
    host.is_in("offline")
    assert repmgr.dump_config()["node_id"] == "1"
    host.is_in("bad_config", "rec1-bad")
    with pytest.raises(CommandExecutionError, match='"priority": must be 0 or greater'):
        repmgr.dump_config()


def test_cluster_show(host):
    host.is_in("standby_down")
    found = repmgr.cluster_show()
    assert found["healthy"] is False
    assert found["nodes"][1] == {"node_id": 2, "reachable": False, "in_recovery": None}
    found = repmgr.cluster_show(detail=True)
    assert found["nodes"][1]["status"] == "? unreachable"
    assert 'unable to connect to node "rec2" (ID: 2)' in found["issues"]
    host.is_in("healthy")
    assert repmgr.cluster_show()["healthy"] is True


def test_cluster_show_without_a_server(host):
    host.is_in("offline")
    with pytest.raises(CommandExecutionError, match="DB_CONN"):
        repmgr.cluster_show()


def test_cluster_event(host):
    host.is_in("healthy", recorded_as="cluster event --csv --limit=2")
    assert [event["successful"] for event in repmgr.cluster_event(limit=2)] == [True, True]
    assert host.arguments == ["cluster", "event", "--csv", "--limit=2"]
    host.is_in("healthy", recorded_as="cluster event --csv --event=no_such_event")
    assert repmgr.cluster_event(event="no_such_event", all_events=True) == []
    assert host.arguments == ["cluster", "event", "--csv", "--all", "--event=no_such_event"]


def test_node_status(host):
    host.is_in("missing_slot")
    found = repmgr.node_status()
    assert found["healthy"] is False
    assert found["missing_replication_slots"] == ["repmgr_slot_2"]


def test_node_check_of_everything(host):
    host.is_in("detached", "rec2")
    found = repmgr.node_check()
    assert (found["status"], found["code"]) == ("CRITICAL", 2)
    assert found["checks"]["Upstream connection"]["status"] == "CRITICAL"
    assert found["checks"]["Server role"] == {"status": "OK", "details": "node is standby"}


@pytest.mark.parametrize("check", ["replication_lag", "replication-lag"])
def test_one_node_check_does_not_raise_for_trouble(host, check):
    host.is_in("lagging_critically", "rec2")
    found = repmgr.node_check(check)
    assert (found["status"], found["code"]) == ("CRITICAL", 2)
    assert "critical threshold: 2" in found["details"]


@pytest.mark.parametrize("check", [c for c in client.CHECKS if c != "repmgrd"])
def test_every_check_works_on_a_healthy_node(host, check):
    assert repmgr.node_check(check)["status"] == "OK"


def test_the_check_of_repmgrd(host):
    if host.version.startswith("5.2."):
        with pytest.raises(CommandExecutionError, match="ambiguous"):
            repmgr.node_check("repmgrd")
    else:
        assert repmgr.node_check("repmgrd")["status"] == "OK"
        host.is_in("paused")
        assert repmgr.node_check("repmgrd")["code"] == 1


def test_a_check_that_cannot_be_made_raises(host):
    host.is_in("primary_down", "rec2")
    for check in (None, "upstream"):
        with pytest.raises(CommandExecutionError, match="DB_CONN"):
            repmgr.node_check(check)


def test_an_unknown_check(host):
    with pytest.raises(SaltInvocationError, match="there are: archive_ready,"):
        repmgr.node_check("weather")
    assert host.commands == []


def test_node_shutdown_state(host):
    host.is_in("standby_crashed", "rec2")
    assert repmgr.node_shutdown_state() == {
        "state": "UNCLEAN_SHUTDOWN",
        "last_checkpoint_lsn": None,
    }


def test_node_service(host):
    host.is_in("offline")
    assert repmgr.node_service()["start"].endswith(" rec1 start")
    host.is_in("rejoin")
    assert repmgr.node_service("reload")["changed"] is True
    assert host.arguments == ["node", "service", "--action=reload"]


def test_service_status(host):
    states = repmgr.service_status()
    assert [state["repmgrd_running"] for state in states] == [True, True, True]


def test_all_that_is_read_is_plain_data(host):
    for found in (
        repmgr.cluster_show(),
        repmgr.cluster_show(detail=True),
        repmgr.node_status(),
        repmgr.node_check(),
        repmgr.node_check("role"),
        repmgr.node_shutdown_state(),
        repmgr.service_status(),
    ):
        assert json.loads(json.dumps(found)) == found
        assert_plain(found)


def assert_plain(value):
    """No subclass either: what is a str to JSON can be an unknown object to YAML."""
    if type(value) is dict:
        for key, item in value.items():
            assert type(key) is str
            assert_plain(item)
    elif type(value) is list:
        for item in value:
            assert_plain(item)
    else:
        assert value is None or type(value) in (str, int, bool)


# --- changing ------------------------------------------------------------------------------


def test_primary_register(host):
    host.is_in("build")
    assert repmgr.primary_register(dry_run=True)["changed"] is False
    assert host.arguments == ["primary", "register", "--dry-run"]
    done = repmgr.primary_register(force=True)
    assert done["changed"] is True
    assert done["command"].endswith("repmgr -f /etc/repmgr.conf primary register --force")
    assert done["messages"] == ["NOTICE: primary node record (ID: 1) updated"]
    host.is_in("build", recorded_as="primary register --terse")
    with pytest.raises(CommandExecutionError, match="this node is already registered"):
        repmgr.primary_register()


def test_standby_clone(host):
    conninfo = source(host, 1)
    host.is_in("build", "rec2", recorded_as=f"standby clone -d {conninfo} --fast-checkpoint")
    done = repmgr.standby_clone(conninfo=conninfo)
    assert host.arguments == ["standby", "clone", f"--dbname={conninfo}", "--fast-checkpoint"]
    assert "NOTICE: standby clone (using pg_basebackup) complete" in done["messages"]
    host.spelling["recorded_as"] += " --dry-run"
    planned = repmgr.standby_clone(conninfo=conninfo, dry_run=True)
    assert planned["changed"] is False
    assert 'INFO: all prerequisites for "standby clone" are met' in planned["messages"]


def test_a_node_of_the_pillar_can_be_named(host):
    host.is_in("build", "rec2", recorded_as=f"standby clone -d {source(host, 1)} --fast-checkpoint")
    repmgr.standby_clone(upstream="rec1")
    assert host.arguments[2] == (
        "--dbname=host=192.168.1.10 port=5432 user=repmgr dbname=repmgr connect_timeout=2"
        " tcp_user_timeout=1000"
        " passfile=/etc/repmgr/pgpass"
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "either conninfo or upstream"),
        ({"upstream": "rec1", "conninfo": "host=a"}, "either conninfo or upstream"),
        ({"upstream": "rec9"}, "'rec9' is not in repmgr:nodes"),
        ({"conninfo": "host=a password=secret"}, "holds a password"),
    ],
)
@pytest.mark.parametrize("function", ["standby_clone", "node_rejoin", "witness_register"])
def test_wrong_sources(host, function, arguments, message):
    with pytest.raises(SaltInvocationError, match=message) as caught:
        FUNCTIONS[function](**arguments)
    assert "secret" not in str(caught.value)
    assert host.commands == []


def test_standby_register(host):
    host.is_in("build", "rec2")
    done = repmgr.standby_register(upstream_node_id=1, wait_sync=30)
    assert done["messages"] == ['NOTICE: standby node "rec2" (ID: 2) successfully registered']


def test_standby_unregister(host):
    host.is_in("teardown")
    assert repmgr.standby_unregister()["messages"] == ["NOTICE: unregistering node 1"]
    with pytest.raises(CommandExecutionError, match="node 1 .* not found"):
        repmgr.standby_unregister(node_id=1)


@pytest.mark.parametrize("function", ["standby_unregister", "cluster_cleanup"])
def test_no_dry_run_where_repmgr_has_none(function):
    assert "dry_run" not in inspect.signature(FUNCTIONS[function]).parameters


def test_standby_promote(host):
    host.is_in("healthy", "rec2")
    with pytest.raises(CommandExecutionError, match=r"PROMOTION_FAIL \(8\)"):
        repmgr.standby_promote(dry_run=True)
    host.is_in("failed_over", "rec2")
    assert "NOTICE: STANDBY PROMOTE successful" in repmgr.standby_promote()["messages"]


def test_standby_follow(host):
    host.is_in("healthy", "rec2")
    assert repmgr.standby_follow(upstream_node_id=1, dry_run=True)["changed"] is False
    with pytest.raises(CommandExecutionError, match="already exists as an active slot"):
        repmgr.standby_follow(upstream_node_id=1)


def test_node_rejoin(host):
    conninfo = source(host, 2)
    host.is_in("rejoin", recorded_as=f"node rejoin -d {conninfo} --dry-run")
    with pytest.raises(CommandExecutionError, match="use --force-rewind") as caught:
        repmgr.node_rejoin(conninfo=conninfo, dry_run=True)
    assert "REJOIN_FAIL (24)" in str(caught.value)
    host.is_in("rejoin", recorded_as=f"node rejoin -d {conninfo} --force-rewind")
    done = repmgr.node_rejoin(conninfo=conninfo, force_rewind=True)
    assert "NOTICE: NODE REJOIN successful" in done["messages"]


@pytest.mark.parametrize(
    "version, there, expected",
    [
        (
            15,
            True,
            "--force-rewind=/usr/lib/postgresql/15/bin/pg_rewind"
            " --config-file=/etc/postgresql/15/main/postgresql.conf",
        ),
        (15, False, "--force-rewind"),
        (13, True, "--force-rewind"),
    ],
)
def test_pg_rewind_is_told_where_debian_keeps_the_configuration(
    host, monkeypatch, tmp_path, version, there, expected
):
    settings = f"/etc/postgresql/{version}/main/postgresql.conf"
    isfile = repmgr.os.path.isfile
    monkeypatch.setattr(repmgr.os.path, "isfile", lambda p: there if p == settings else isfile(p))
    conninfo = source(host, 2)
    host.is_in("rejoin", recorded_as=f"node rejoin -d {conninfo} --force-rewind")
    repmgr.node_rejoin(conninfo=conninfo, force_rewind=True, version=version)
    assert host.arguments[-1] == expected


def test_rewinding_is_never_the_default(host):
    host.is_in("rejoin", recorded_as=f"node rejoin -d {source(host, 2)} --force-rewind")
    repmgr.node_rejoin(conninfo="host=a")
    assert host.arguments == ["node", "rejoin", "--dbname=host=a"]


def test_witness(host):
    conninfo = source(host, 1)
    host.is_in("build", "rec3", recorded_as=f"witness register -d {conninfo}")
    done = repmgr.witness_register(conninfo=conninfo, force=True)
    assert host.arguments == ["witness", "register", f"--dbname={conninfo}", "--force"]
    assert done["messages"] == ['NOTICE: witness node "rec3" (ID: 3) successfully registered']
    host.is_in("teardown", "rec3")
    assert repmgr.witness_unregister(dry_run=True)["changed"] is False
    assert repmgr.witness_unregister()["changed"] is True


def test_primary_unregister(host):
    host.is_in("teardown", "rec2")
    with pytest.raises(CommandExecutionError, match="still has this node as its upstream"):
        repmgr.primary_unregister()
    assert repmgr.primary_unregister(force=True)["changed"] is True


def test_pausing(host):
    assert repmgr.service_pause(dry_run=True)["messages"] == [
        f"INFO: would pause node {n} (rec{n})" for n in (1, 2, 3)
    ]
    host.is_in("paused")
    assert repmgr.service_pause()["changed"] is True
    host.is_in("unpaused")
    assert repmgr.service_unpause()["changed"] is True
    host.is_in("standby_down")
    with pytest.raises(CommandExecutionError, match="the other nodes were changed"):
        repmgr.service_pause()


def test_cluster_cleanup(host):
    host.is_in("teardown", "rec2", recorded_as="cluster cleanup")
    repmgr.cluster_cleanup(keep_history=0)
    assert host.arguments == ["cluster", "cleanup", "--keep-history=0"]


def test_standby_switchover_is_passed_on(host):
    # Not recorded, as it needs SSH: only the command line is looked at.
    host.is_in("teardown", "rec2", recorded_as="cluster cleanup")
    repmgr.standby_switchover(siblings_follow=True, force_rewind=True, dry_run=True)
    assert host.arguments == [
        "standby",
        "switchover",
        "--siblings-follow",
        "--force-rewind",
        "--dry-run",
    ]


# --- conventions ---------------------------------------------------------------------------


def test_there_is_a_function_for_each_action():
    named = {action.replace(" ", "_") for action in command.ACTIONS}
    assert set(FUNCTIONS) == named | {"version", "dump_config", "node_shutdown_state"}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_documentation(function):
    text = inspect.getdoc(function)
    assert "CLI Example:\n\n.. code-block:: bash\n\n    salt " in text
    assert f"repmgr.{function.__name__}" in text.partition("CLI Example:")[2]
    described = set(re.findall(r"^([a-z_]+(?:, [a-z_]+)*)\n    ", text, re.MULTILINE))
    described = {name for names in described for name in names.split(", ")}
    assert described == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_nothing_dangerous_is_a_default(function):
    parameters = inspect.signature(function).parameters
    for name in ("force", "force_rewind", "always_promote", "no_wait"):
        assert name not in parameters or parameters[name].default is False
