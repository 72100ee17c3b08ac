"""What this extension writes into repmgr.conf is what the real repmgr reads from it."""

import pathlib
import subprocess
import tempfile

import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import parse
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import GOOD
from tests.malformed.base import changed

PACKAGED = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/repmgr"))
# repmgr knows these only since 5.4.
SINCE_5_4 = {name for name in PARAMETERS if name.startswith("pg_backupapi_")}
NASTY = (
    "it's",
    "'",
    "''quoted''",
    "back\\slash",
    "ends with \\",
    r"\n is no line break, nor is \061 a one",
    'double "quotes"',
    "100% %n %% %p",
    "  blanks around  ",
    "# no comment",
    "a = b, c; d | e & f $g `h` !",
    "grüße ↔ 数据",
    "two\nlines",
    "x" * 1023,
)


@pytest.fixture
def readable_directory():
    """A directory that the user postgres can enter."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def repmgr():
    assert PACKAGED, "no repmgr below /usr/lib/postgresql: install postgresql-<version>-repmgr"
    return PACKAGED[-1]


@pytest.fixture
def dump(repmgr, readable_directory):
    """Let repmgr read the settings; returns ``(exit code, {name: value}, messages)``."""

    def run(settings):
        path = readable_directory / "repmgr.conf"
        path.write_text(repmgr_conf.render(settings), encoding="utf-8")
        path.chmod(0o644)
        done = subprocess.run(
            ["runuser", "-u", "postgres", "--", repmgr, "-f", path, "--dump-config"],
            capture_output=True,
            encoding="utf-8",
            check=False,
            cwd="/",
        )
        read = parse.dump_config(done.stdout) if done.stdout else {}
        return done.returncode, read, done.stderr

    return run


def settings_of(value=GOOD, name="node2"):
    spec = pillar.read(value)
    return repmgr_conf.node_settings(spec, spec.nodes[name], Layout(15))


def as_dumped(value):
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@pytest.mark.parametrize("name", ["node1", "node2", "node3", "node4"])
def test_repmgr_reads_the_settings_of_each_node(dump, name):
    settings = settings_of(name=name)
    code, read, messages = dump(settings)
    assert (code, messages) == (0, "")
    assert {key: read[key] for key in settings} == {
        key: as_dumped(value) for key, value in settings.items()
    }


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:20])
@pytest.mark.parametrize("name", ["location", "promote_command", "ssh_options"])
def test_nasty_strings_arrive_as_they_are(dump, name, text):
    code, read, messages = dump({**settings_of(), name: text})
    assert (code, messages) == (0, "")
    assert read[name] == text


def test_nasty_conninfo_values_arrive(dump):
    spec = pillar.read(GOOD)
    conninfo = repmgr_conf.conninfo(
        spec, spec.nodes["node1"], Layout(15), application_name=r"it's \ a \'name'", options=""
    )
    code, read, messages = dump({**settings_of(), "conninfo": conninfo})
    assert (code, messages) == (0, "")
    assert read["conninfo"] == conninfo


def test_repeated_lines_arrive(dump):
    code, read, messages = dump(
        settings_of(changed({"settings:tablespace_mapping": ["/a b=/c", "/d=/e'f"]}))
    )
    assert (code, messages) == (0, "")
    assert read["tablespace_mapping"] == "/a b=/c,/d=/e'f"


def test_the_table_of_parameters_is_that_of_repmgr(dump):
    _, read, _ = dump(settings_of())
    assert list(read) == [name for name in PARAMETERS if name not in SINCE_5_4 or name in read]


def test_the_table_has_the_defaults_of_repmgr(dump):
    required = {name: settings_of()[name] for name in ("node_id", "node_name", "conninfo")}
    required["data_directory"] = "/x"
    _, read, _ = dump(required)
    # An empty one is INFO and standard error, which the dump does not say.
    unsaid = {"log_level", "log_facility", *required}
    assert {name: value for name, value in read.items() if name not in unsaid} == {
        name: as_dumped(parameter.default)
        for name, parameter in PARAMETERS.items()
        if name in read and name not in unsaid
    }


@pytest.mark.parametrize(
    "name", [name for name, parameter in PARAMETERS.items() if parameter.kind == "int"]
)
def test_the_table_has_the_minimum_of_repmgr(dump, name):
    minimum = PARAMETERS[name].minimum
    below = dump({**settings_of(), name: minimum - 1})
    assert below[0] == 1
    assert f'"{name}": must be' in below[2]
    at_minimum = dump({**settings_of(), name: minimum})
    assert f'"{name}": must be' not in at_minimum[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, choice)
        for name, parameter in PARAMETERS.items()
        if parameter.kind == "enum"
        for choice in parameter.choices
    ],
)
def test_every_choice_is_one_of_repmgr(dump, name, value):
    code, read, messages = dump({**settings_of(), name: value})
    assert (code, messages) == (0, "")
    assert read[name] == value


@pytest.mark.parametrize(
    "settings",
    [
        {"monitoring_history": "t"},
        {"failover": "automtic"},
        {"connection_check_type": "pong"},
        {"recovery_min_apply_delay": "1.5h"},
        {"tablespace_mapping": "/old"},
        {"archive_ready_critical": 16},
        {"replication_lag_warning": 600},
        {"node_rejoin_timeout": 61},
        {"barman_host": "backup"},
        {"barman_server": "main"},
        {"promote_command": "x" * 1025},
    ],
    ids=lambda settings: str(settings)[:60],
)
def test_what_the_reader_refuses_repmgr_refuses_too(dump, settings):
    with pytest.raises(errors.PillarError):
        pillar.read({**GOOD, "settings": settings})
    assert dump({**settings_of(), **settings})[0] == 1


def test_repmgr_takes_one_byte_more_than_the_reader_and_misreads_it(dump):
    code, read, messages = dump({**settings_of(), "promote_command": "x" * 1024})
    assert (code, messages) == (0, "")
    assert read["promote_command"] != "x" * 1024


@pytest.mark.parametrize(
    "settings",
    [
        {"recovery_min_apply_delay": "5min"},
        {"recovery_min_apply_delay": 5},
        {"node_rejoin_timeout": 60},
        {"event_notifications": ["standby_promote", "repmgrd_failover_promote"]},
        {"barman_host": "backup", "barman_server": "main"},
        {"promote_command": "x" * 1023},
        {"monitoring_history": "YES"},
    ],
    ids=lambda settings: str(settings)[:60],
)
def test_what_the_reader_takes_repmgr_takes_too(dump, settings):
    taken = pillar.read({**GOOD, "settings": settings}).settings
    code, read, messages = dump({**settings_of(), **taken})
    assert (code, messages) == (0, "")
    assert {name: read[name] for name in taken} == {
        name: as_dumped(value) for name, value in taken.items()
    }


def test_effective_values_are_those_repmgr_ends_up_with(dump):
    given = settings_of()
    _, read, _ = dump(given)
    final = effective(given)
    assert {name: as_dumped(final[name]) for name in read if name != "log_facility"} == {
        name: value for name, value in read.items() if name != "log_facility"
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ""),
        ({"log_file": "/tmp/no-such-directory/repmgr.log"}, "unable to open specified log file"),
        ({"log_file": "/proc/repmgr.log"}, "unable to open specified log file"),
    ],
)
def test_repmgr_reads_the_file_before_it_counts(readable_directory, repmgr, settings, words):
    spec = pillar.read({**GOOD, "settings": settings})
    layout = Layout(int(repmgr.parts[4]))
    path = readable_directory / "repmgr.conf"
    path.write_text(
        repmgr_conf.render(repmgr_conf.node_settings(spec, spec.nodes["node2"], layout))
    )
    path.chmod(0o644)
    command = wanted.repmgr_conf_check(spec, layout)
    # As Salt's check_cmd does it.
    done = subprocess.run(
        f"{command} {path}", shell=True, capture_output=True, encoding="utf-8", check=False, cwd="/"
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (not words), said
    assert words in said
    assert ("correct repmgr.settings in pillar" in said) == bool(words)


def test_a_broken_file_does_not_count(readable_directory, repmgr):
    path = readable_directory / "repmgr.conf"
    path.write_text("node_id = 0\nfailover = 'sometimes'\n")
    path.chmod(0o644)
    command = wanted.repmgr_conf_check(pillar.read(GOOD), Layout(int(repmgr.parts[4])))
    assert subprocess.run(f"{command} {path}", shell=True, check=False, cwd="/").returncode == 1
