"""The parsers, against what repmgr 5.2, 5.3 and 5.5 really printed."""

import pytest

from saltext_repmgr.utils import parse
from saltext_repmgr.utils.errcodes import NagiosCode
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.records import Check
from saltext_repmgr.utils.records import Event
from saltext_repmgr.utils.records import NodeReach
from saltext_repmgr.utils.records import Shutdown
from saltext_repmgr.utils.records import ShutdownState
from tests.unit import recorded

VERSIONS = pytest.mark.parametrize("version", recorded.VERSIONS)


def test_there_are_recordings_of_every_supported_major_version():
    assert {v.rpartition(".")[0] for v in recorded.VERSIONS} >= {"5.2", "5.3", "5.5"}


# --- all recordings of a command can be read -----------------------------------------------


@pytest.mark.parametrize(
    "arguments, read",
    [
        ("cluster show --csv", parse.cluster_show_csv),
        ("cluster show", parse.cluster_show),
        ("cluster event --csv", parse.cluster_event_csv),
        ("service status --csv", parse.service_status_csv),
        ("node status --csv", parse.node_status_csv),
        ("node check --csv", parse.node_check_csv),
        ("node check", parse.node_check),
        ("node status --is-shutdown-cleanly", parse.shutdown_state),
    ],
)
def test_every_recording_is_understood(arguments, read):
    answers = recorded.every_answer(arguments)
    assert len(answers) > 20
    for recording in answers:
        assert read(recording.stdout) is not None, recording


def test_every_single_check_is_understood_and_agrees_with_its_exit_code():
    found = [
        r
        for r in recorded.every()
        if r.arguments.startswith("node check --")
        and r.arguments != "node check --csv"
        and r.stdout
    ]
    assert len(found) > 500
    for recording in found:
        optformat = recording.arguments.endswith("--optformat")
        read = parse.single_check_optformat if optformat else parse.single_check
        check = read(recording.stdout)
        if check is None:
            not_made = {("--error=DB_CONNECTION", 6), ('Try "repmgr --help"', 1)}
            assert (recording.stdout.partition(" or ")[0].strip(), recording.code) in not_made
        else:
            assert check.status == recording.code, recording


def test_the_overview_is_worse_than_ok_where_repmgr_ends_with_25():
    overviews = recorded.every_answer("node check")
    for recording in overviews:
        status = parse.node_check(recording.stdout).status
        assert (status is NagiosCode.OK) == (recording.code == 0), recording
    assert {r.code for r in overviews} == {0, 25}


# --- cluster show --------------------------------------------------------------------------


@VERSIONS
def test_cluster_show_csv(version):
    shown = recorded.one(version, "healthy", "rec1", "cluster show --csv")
    assert parse.cluster_show_csv(shown.stdout) == [
        NodeReach(1, True, False),
        NodeReach(2, True, True),
        NodeReach(3, True, False),
    ]
    shown = recorded.one(version, "standby_down", "rec1", "cluster show --csv")
    assert shown.code == 25
    assert parse.cluster_show_csv(shown.stdout)[1] == NodeReach(2, False, None)


@pytest.mark.parametrize(
    "scenario, node, role, status, upstream",
    [
        ("healthy", 1, "primary", "* running", None),
        ("healthy", 2, "standby", "running", "rec1"),
        ("healthy", 3, "witness", "* running", "rec1"),
        ("detached", 2, "standby", "running", "! rec1"),
        ("rejecting", 2, "standby", "? running", "? rec1"),
        ("standby_down", 2, "standby", "? unreachable", "? rec1"),
        ("standby_down_inactive", 2, "standby", "- failed", "? rec1"),
        ("standby_inactive", 2, "standby", "! running", "rec1"),
        ("split_brain", 1, "primary", "* running", None),
        ("split_brain", 2, "standby", "! running as primary", None),
    ],
)
@VERSIONS
def test_cluster_show(version, scenario, node, role, status, upstream):
    shown = recorded.one(version, scenario, "rec1", "cluster show")
    found = {n.node_id: n for n in parse.cluster_show(shown.stdout)}[node]
    assert (found.role, found.status, found.upstream) == (role, status, upstream)


@VERSIONS
def test_cluster_show_other_columns(version):
    shown = recorded.one(version, "healthy", "rec1", "cluster show")
    primary, standby, witness = parse.cluster_show(shown.stdout)
    assert (primary.node_id, primary.name, primary.location) == (1, "rec1", "default")
    assert (primary.priority, primary.timeline) == (100, 1)
    assert (witness.priority, witness.timeline) == (0, None)
    assert standby.conninfo.startswith("host=127.0.0.1 port=")


def test_a_conninfo_may_hold_the_separator():
    text = " ID | Name \n----+----\n 1 | a | primary | * running | | x | 5 | ? | password=a|b\n"
    (node,) = parse.cluster_show(text)
    assert (node.conninfo, node.timeline) == ("password=a|b", None)


# --- cluster event, service status ---------------------------------------------------------


@VERSIONS
def test_cluster_event(version):
    events = recorded.one(version, "healthy", "rec1", "cluster event --csv --limit=2")
    assert len(parse.cluster_event_csv(events.stdout)) == 2
    everything = recorded.one(version, "detached", "rec1", "cluster event --csv")
    found = parse.cluster_event_csv(everything.stdout)
    failed = [event for event in found if not event.successful]
    assert [(e.node_id, e.node_name, e.event) for e in failed] == [(2, "rec2", "standby_follow")]
    assert isinstance(found[-1], Event) and found[-1].event == "primary_register"


@VERSIONS
def test_no_events(version):
    none = recorded.one(version, "healthy", "rec1", "cluster event --csv --event=no_such_event")
    assert none.stdout.strip() == parse.NO_EVENTS
    assert parse.cluster_event_csv(none.stdout) == []


@VERSIONS
def test_service_status(version):
    def states(scenario, node="rec1"):
        done = recorded.one(version, scenario, node, "service status --csv")
        return {s.node_id: s for s in parse.service_status_csv(done.stdout)}

    healthy = states("healthy")
    assert [(s.node_name, s.type) for s in healthy.values()] == [
        ("rec1", "primary"),
        ("rec2", "standby"),
        ("rec3", "witness"),
    ]
    assert all(s.postgres_running and s.repmgrd_running and not s.paused for s in healthy.values())
    assert healthy[1].repmgrd_pid > 1
    # A primary has no upstream to see.
    assert healthy[1].upstream_last_seen is None
    assert healthy[2].upstream_last_seen >= 0
    assert all(s.paused is True for s in states("paused").values())
    stopped = states("repmgrd_down")[1]
    assert (stopped.repmgrd_running, stopped.repmgrd_pid, stopped.paused) == (False, None, False)
    down = states("standby_down")[2]
    assert (down.postgres_running, down.repmgrd_running, down.paused) == (False, None, None)


# --- node status ---------------------------------------------------------------------------


@VERSIONS
def test_node_status_of_a_standby(version):
    done = recorded.one(version, "healthy", "rec2", "node status --csv")
    status = parse.node_status_csv(done.stdout)
    assert (status.node_name, status.node_id, status.role) == ("rec2", 2, "standby")
    assert (status.upstream, status.upstream_id) == ("rec1", 1)
    assert status.replication_lag == 0
    assert status.received_lsn == status.replayed_lsn
    assert '"archive_mode" must be set to "always"' in status.archiving
    assert (status.archive_command, status.archive_pending) == ("/bin/true", 0)
    assert (status.max_wal_senders, status.max_replication_slots) == (10, 10)


@VERSIONS
def test_node_status_of_a_primary(version):
    done = recorded.one(version, "healthy", "rec1", "node status --csv")
    status = parse.node_status_csv(done.stdout)
    assert (status.upstream, status.upstream_id, status.replication_lag) == (None, None, None)
    assert (status.received_lsn, status.replayed_lsn) == (None, None)
    assert (status.occupied_wal_senders, status.active_replication_slots) == (1, 1)
    assert status.inactive_replication_slots == status.missing_replication_slots == ()


@VERSIONS
def test_node_status_names_the_slots(version):
    done = recorded.one(version, "detached", "rec1", "node status --csv")
    assert done.code == 25
    status = parse.node_status_csv(done.stdout)
    assert status.inactive_replication_slots == ("repmgr_slot_2",)
    done = recorded.one(version, "missing_slot", "rec1", "node status --csv")
    status = parse.node_status_csv(done.stdout)
    assert status.missing_replication_slots == ("repmgr_slot_2",)


def test_node_status_with_fewer_slots_than_announced():
    done = recorded.one(recorded.VERSIONS[0], "detached", "rec1", "node status --csv")
    announced = '"inactive_replication_slots",1,'
    assert announced in done.stdout
    with pytest.raises(ParseError, match="inactive_replication_slots"):
        parse.node_status_csv(done.stdout.replace(announced, '"inactive_replication_slots",2,'))


@VERSIONS
def test_node_status_counts_files_to_archive(version):
    done = recorded.one(version, "archive_failing_longer", "rec1", "node status --csv")
    assert parse.node_status_csv(done.stdout).archive_pending > 3


@VERSIONS
@pytest.mark.parametrize(
    "scenario, node, state",
    [
        ("offline", "rec1", ShutdownState.SHUTDOWN),
        ("healthy", "rec1", ShutdownState.UP),
        ("standby_down", "rec2", ShutdownState.SHUTDOWN),
        ("standby_crashed", "rec2", ShutdownState.UNCLEAN_SHUTDOWN),
    ],
)
def test_shutdown_state(version, scenario, node, state):
    done = recorded.one(version, scenario, node, "node status --is-shutdown-cleanly")
    shutdown = parse.shutdown_state(done.stdout)
    assert shutdown.state is state
    assert (shutdown.last_checkpoint_lsn is not None) == (state is ShutdownState.SHUTDOWN)


def test_shutdown_state_of_an_unusable_data_directory():
    assert parse.shutdown_state("--state=UNKNOWN\n") == Shutdown(ShutdownState.UNKNOWN)


# --- node check ----------------------------------------------------------------------------


@VERSIONS
def test_node_check_csv_leaves_the_upstream_out(version):
    done = recorded.one(version, "detached", "rec2", "node check --csv")
    overview = parse.node_check_csv(done.stdout)
    # All is OK, and yet repmgr ends with 25.
    assert (overview.status, done.code) == (NagiosCode.OK, 25)
    assert (overview.node_name, overview.node_id) == ("rec2", 2)
    assert "Upstream connection" not in overview.checks
    assert overview.checks["Replication lag"] == Check(NagiosCode.OK, None)
    details = overview.checks["Configured data directory"].details
    assert details.startswith('configured "data_directory" is "/') and details.endswith('rec2"')


@VERSIONS
def test_node_check(version):
    done = recorded.one(version, "detached", "rec2", "node check")
    overview = parse.node_check(done.stdout)
    assert overview.node_name == "rec2"
    assert overview.status is NagiosCode.CRITICAL
    assert overview.checks["Upstream connection"] == Check(
        NagiosCode.CRITICAL,
        'node "rec2" (ID: 2) is not attached to expected upstream node "rec1" (ID: 1)',
    )
    assert overview.checks["Replication lag"] == Check(NagiosCode.OK, "0 seconds")


@VERSIONS
@pytest.mark.parametrize(
    "scenario, node, check, status, details",
    [
        ("healthy", "rec1", "role", "OK", "node is primary"),
        ("healthy", "rec1", "db-connection", "OK", None),
        ("detached", "rec1", "downstream", "CRITICAL", "1 of 1 downstream nodes not attached; missing: rec2 (ID: 2)"),
        ("missing_slot", "rec1", "missing-slots", "CRITICAL", "1 physical replication slots are missing: repmgr_slot_2"),
        ("split_brain", "rec1", "role", "OK", "node is primary"),
        ("split_brain", "rec2", "role", "OK", "node is primary"),
        ("archive_failing", "rec1", "archive-ready", "WARNING", None),
        ("archive_failing_longer", "rec1", "archive-ready", "CRITICAL", None),
        ("lagging", "rec2", "replication-lag", "WARNING", None),
        ("lagging_critically", "rec2", "replication-lag", "CRITICAL", None),
    ],
)  # fmt: skip
def test_single_check(version, scenario, node, check, status, details):
    done = recorded.one(version, scenario, node, f"node check --{check}")
    found = parse.single_check(done.stdout)
    assert found.status.name == status
    if details or status == "OK":
        assert found.details == details


@VERSIONS
def test_the_bracket_too_many(version):
    done = recorded.one(version, "lagging", "rec2", "node check --replication-lag")
    assert done.stdout.rstrip().endswith("))")
    assert parse.single_check(done.stdout).details.endswith("warning threshold: 1")


@pytest.mark.parametrize(
    "line, details",
    [
        ("REPMGR_SERVER_ROLE OK: node is primary", "node is primary"),
        ("REPMGR_REPLICATION_LAG OK: 0 seconds | lag=0;300;600", "0 seconds"),
        # 5.2 leaves the separator behind.
        ("REPMGR_UPSTREAM_SERVER OK: N/A - node is primary | ", "N/A - node is primary"),
        ("REPMGRD OK: repmgrd running", "repmgrd running"),
    ],
)
def test_nagios_lines(line, details):
    assert any(line in r.stdout for r in recorded.every())
    assert parse.single_check(line + "\n") == Check(NagiosCode.OK, details)


@VERSIONS
def test_a_check_that_was_not_made(version):
    done = recorded.one(version, "offline", "rec1", "node check --role")
    assert done.code == 6
    assert parse.single_check(done.stdout) is None
    done = recorded.one(version, "healthy", "rec1", "node check --replication-config-owner")
    # 1 is BAD_CONFIG here, not Nagios' WARNING.
    assert (done.code, parse.single_check(done.stdout)) == (1, None)


@VERSIONS
def test_optformat(version):
    done = recorded.one(version, "lagging", "rec2", "node check --replication-lag --optformat")
    check = parse.single_check_optformat(done.stdout)
    assert check.status is NagiosCode.WARNING
    assert check.details.startswith("lag=") and check.details.endswith("threshold=1")
    done = recorded.one(
        version, "healthy", "rec1", "node check --replication-config-owner --optformat"
    )
    assert parse.single_check_optformat(done.stdout) == Check(NagiosCode.OK, None)
    # repmgr knows this form for some checks only, and prints nothing for the rest.
    done = recorded.one(version, "detached", "rec1", "node check --downstream --optformat")
    assert (done.code, parse.single_check_optformat(done.stdout)) == (2, None)


# --- the rest ------------------------------------------------------------------------------


@VERSIONS
def test_service_actions(version):
    done = recorded.one(version, "offline", "rec1", "node service --list-actions")
    actions = parse.service_actions(done.stdout)
    assert list(actions) == ["start", "stop", "restart", "reload", "promote"]
    assert actions["stop"].startswith("/usr/bin/pg_ctlcluster ")
    assert actions["stop"].endswith(" rec1 stop -m fast")


@VERSIONS
def test_dump_config(version):
    done = recorded.one(version, "offline", "rec1", "--dump-config")
    settings = parse.dump_config(done.stdout)
    assert settings["node_name"] == "rec1"
    assert settings["conninfo"].endswith(" passfile=/etc/repmgr-rec/pgpass")
    assert settings["service_promote_command"] == ""
    assert settings["ssh_options"] == "-q -o ConnectTimeout=10"
    assert len(settings) > 70


@VERSIONS
def test_version(version):
    text = recorded.one(version, "offline", "rec1", "--version").stdout
    assert parse.version(text) == version
    number = parse.version_number(
        recorded.one(version, "offline", "rec1", "--version-number").stdout
    )
    major, minor, patch = (int(part) for part in version.split("."))
    assert number == major * 10000 + minor * 100 + patch


# --- what is not known ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "read, text",
    [
        (parse.cluster_show_csv, "1,0,2"),
        (parse.cluster_show_csv, "1,0"),
        (parse.cluster_show_csv, "INFO: looking for configuration file"),
        (parse.cluster_show, "1,0,0"),
        (parse.cluster_show, " ID | Name\n----+----\n 1 | a"),
        (parse.cluster_event_csv, "1,a,standby_promote,x,2026-01-01 00:00:00"),
        (parse.service_status_csv, "1,a,primary,-1,1,5,0,100,-1,default"),
        (parse.service_status_csv, "1,a,primary,1,1,5,0,100,-1"),
        (parse.node_status_csv, '"Node name","a"'),
        (parse.node_status_csv, '"Weather","fine"'),
        (parse.node_status_csv, '"inactive_replication_slots",2,"a"'),
        (parse.node_check_csv, '"Node name","a"\n"Server role","SPLENDID"'),
        (parse.node_check_csv, '"Node name","a"'),
        (parse.node_check, 'Node "a":\n\tServer role: SPLENDID (yes)'),
        (parse.node_check, ""),
        (parse.single_check, "SPLENDID (yes)"),
        (parse.single_check, "REPMGR_SERVER_ROLE SPLENDID: yes"),
        (parse.single_check_optformat, "--status=SPLENDID"),
        (parse.single_check_optformat, "status=OK"),
        (parse.shutdown_state, "--state=ASLEEP"),
        (parse.shutdown_state, ""),
        (parse.service_actions, "Following commands would be executed for each action:"),
        (parse.service_actions, "header\n start: /bin/true"),
        (parse.dump_config, "node_id=1"),
        (parse.dump_config, ""),
        (parse.version, "pg_ctl (PostgreSQL) 15"),
        (parse.version_number, "5.3.3"),
    ],
)
def test_the_unknown_is_an_error(read, text):
    with pytest.raises(ParseError) as caught:
        read(text)
    # It shows what was not understood.
    last = text.splitlines()[-1] if text else ""
    assert last.strip() in str(caught.value) or "not complete" in str(caught.value)
