"""Command lines, and what becomes of what a command ended with."""

import pytest

from saltext_repmgr.utils import command
from saltext_repmgr.utils import errcodes
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import UsageError
from tests.unit import recorded

PROGRAM = command.Program("/usr/lib/postgresql/15/bin/repmgr", "/etc/repmgr.conf", "postgres", {})
VERSIONS = pytest.mark.parametrize("version", recorded.VERSIONS)


class Runner:
    """Stands in for cmd.run_all: answers with a recording, keeps how it was called."""

    def __init__(self, recording):
        self.recording = recording
        self.argv = self.kwargs = None

    def __call__(self, argv, **kwargs):
        self.argv, self.kwargs = argv, kwargs
        r = self.recording
        return {"pid": 1, "retcode": r.code, "stdout": r.stdout, "stderr": r.stderr}


def run(recording, **kwargs):
    return command.run(Runner(recording), PROGRAM, recording.arguments.split(), **kwargs)


# --- words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action, options, expected",
    [
        ("cluster show", {"csv": True}, ["cluster", "show", "--csv"]),
        ("service pause", {}, ["service", "pause"]),
        (
            "standby register",
            {"force": False, "upstream_node_id": 1, "wait_sync": 30, "wait_start": None},
            ["standby", "register", "--upstream-node-id=1", "--wait-sync=30"],
        ),
        ("node service", {"action": "stop"}, ["node", "service", "--action=stop"]),
        ("node rejoin", {"force_rewind": True}, ["node", "rejoin", "--force-rewind"]),
        (
            "node rejoin",
            {"force_rewind": "/bin/pg_rewind --config-file=/x"},
            ["node", "rejoin", "--force-rewind=/bin/pg_rewind --config-file=/x"],
        ),
        (
            "standby clone",
            {"dbname": "host=a passfile=/etc/p"},
            ["standby", "clone", "--dbname=host=a passfile=/etc/p"],
        ),
        # Zero days and an empty value are values.
        ("cluster cleanup", {"keep_history": 0}, ["cluster", "cleanup", "--keep-history=0"]),
    ],
)
def test_words(action, options, expected):
    assert command.words(action, **options) == expected


@pytest.mark.parametrize(
    "action",
    sorted(set(command.ACTIONS) - command.DRY_RUN_EXECUTES - command.READING),
)
def test_dry_run(action):
    assert command.words(action, dry_run=True) == [*action.split(), "--dry-run"]


@pytest.mark.parametrize("action", ["standby unregister", "cluster cleanup"])
def test_what_executes_in_spite_of_dry_run_is_never_built_with_it(action):
    with pytest.raises(UsageError, match="executes for real"):
        command.words(action, dry_run=True)
    assert "--dry-run" not in command.words(action)


@pytest.mark.parametrize(
    "action, options, message",
    [
        ("cluster explode", {}, "no action"),
        ("cluster show", {"verbose": True}, "does not take verbose"),
        ("standby unregister", {"force": True}, "does not take force"),
        ("cluster show", {"dry_run": True}, "no dry run"),
        ("node rejoin", {"dbname": "host=a password=secret"}, "holds a password"),
        ("node rejoin", {"dbname": "postgresql://repmgr:secret@a/repmgr"}, "holds a password"),
    ],
)
def test_what_is_never_built(action, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        command.words(action, **options)
    assert "secret" not in str(caught.value)


# --- which program -------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path):
    for version in ("9.6", "13", "15", "17"):
        bindir = tmp_path / version / "bin"
        bindir.mkdir(parents=True)
        # 17 is there without repmgr, as after a half-done upgrade.
        (bindir / ("repmgr" if version != "17" else "psql")).touch()
    return str(tmp_path)


def test_the_newest_with_repmgr_is_taken(programs):
    assert command.locate(programs=programs) == (15, f"{programs}/15/bin/repmgr")


@pytest.mark.parametrize("version", [13, "13"])
def test_a_version_can_be_named(programs, version):
    assert command.locate(version, programs) == (13, f"{programs}/13/bin/repmgr")


def test_a_missing_program_names_its_package(programs):
    with pytest.raises(NotInstalledError, match="install the package postgresql-17-repmgr"):
        command.locate(17, programs)


@pytest.mark.parametrize("directory", ["", "/nowhere"])
def test_no_program_at_all(tmp_path, directory):
    with pytest.raises(NotInstalledError, match="postgresql-<version>-repmgr"):
        command.locate(programs=f"{tmp_path}{directory}")


@pytest.mark.parametrize("version", ["fifteen", "15.2", "../../tmp", [15]])
def test_a_version_is_a_number(programs, version):
    with pytest.raises(UsageError, match="major version"):
        command.locate(version, programs)


def test_the_configuration_file_must_be_absolute():
    with pytest.raises(UsageError, match="absolute"):
        command.program("/bin/repmgr", "repmgr.conf")
    assert command.program("/bin/repmgr").config == "/etc/repmgr.conf"


def test_the_password_file_is_passed_where_it_exists(tmp_path):
    passfile = tmp_path / "pgpass"
    assert "PGPASSFILE" not in command.program("/bin/repmgr", passfile=str(passfile)).env
    passfile.touch()
    env = command.program("/bin/repmgr", passfile=str(passfile)).env
    assert env["PGPASSFILE"] == str(passfile)
    assert env["LC_ALL"] == "C"


# --- run -----------------------------------------------------------------------------------


def test_how_it_is_run():
    runner = Runner(recorded.one(recorded.VERSIONS[0], "healthy", "rec1", "cluster show --csv"))
    command.run(runner, PROGRAM, ["cluster", "show", "--csv"])
    assert runner.argv == [
        "/usr/lib/postgresql/15/bin/repmgr",
        "-f",
        "/etc/repmgr.conf",
        "cluster",
        "show",
        "--csv",
    ]
    assert runner.kwargs["runas"] == "postgres"
    assert runner.kwargs["python_shell"] is False
    assert runner.kwargs["ignore_retcode"] is True
    assert runner.kwargs["output_loglevel"] == "quiet"
    assert runner.kwargs["cwd"] == "/"


@VERSIONS
def test_an_answer_is_returned(version):
    recording = recorded.one(version, "detached", "rec1", "cluster show --csv")
    output = run(recording, answers=errcodes.answers("cluster show"))
    assert (output.code, output.stdout) == (25, recording.stdout)


@VERSIONS
def test_a_failure_says_what_and_why(version):
    recording = recorded.one(version, "offline", "rec1", "cluster show --csv")
    with pytest.raises(CommandFailed) as caught:
        run(recording, answers=errcodes.answers("cluster show"))
    assert (caught.value.code, caught.value.name) == (6, "DB_CONN")
    first, *reasons = str(caught.value).splitlines()
    assert first == "repmgr cluster show failed with DB_CONN (6)"
    assert reasons[0] == "ERROR: connection to database failed"
    assert reasons[-1].startswith("Next: ")
    assert "Connection refused" in str(caught.value)


@VERSIONS
def test_a_failure_without_an_error_line(version):
    recording = recorded.one(version, "offline", "rec1", "cluster show --no-such-option")
    with pytest.raises(CommandFailed, match="unrecognized option '--no-such-option'") as caught:
        run(recording)
    assert caught.value.name == "BAD_CONFIG"


def test_a_failure_without_any_output():
    recording = recorded.Recording("", "", "rec1", "standby clone", -9, "", "")
    with pytest.raises(CommandFailed) as caught:
        run(recording)
    assert str(caught.value) == "repmgr standby clone failed with UNKNOWN (-9)"


@VERSIONS
def test_25_is_a_failure_where_it_answers_nothing(version):
    recording = recorded.one(version, "detached", "rec1", "cluster show --csv")
    with pytest.raises(CommandFailed, match="NODE_STATUS"):
        run(recording)


@VERSIONS
def test_passwords_are_in_neither_output_nor_error(version):
    recording = recorded.one(version, "bad_config", "rec1-leaky", "node status --csv")
    assert "leaked" in recording.stderr
    with pytest.raises(CommandFailed) as caught:
        run(recording)
    assert "leaked" not in str(caught.value) and "leaked" not in caught.value.stderr
    swapped = recording._replace(stdout=recording.stderr, stderr="", code=0)
    assert "leaked" not in run(swapped).stdout


def test_known_secrets_are_taken_out():
    recording = recorded.Recording("", "", "rec1", "node status", 0, "a s3cr3t", "b s3cr3t")
    output = run(recording, secrets=["s3cr3t"])
    assert "s3cr3t" not in output.stdout + output.stderr


def test_the_command_as_one_would_type_it():
    typed = command.line(PROGRAM, ["node", "rejoin", "--dbname=host=a user=b"])
    assert typed == (
        "/usr/lib/postgresql/15/bin/repmgr -f /etc/repmgr.conf"
        " node rejoin '--dbname=host=a user=b'"
    )
