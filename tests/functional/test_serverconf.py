"""utils.serverconf: whether a running server's configuration is the one in its files."""

import os
import pathlib
import time

import pytest

from saltext_repmgr.utils import act
from saltext_repmgr.utils import serverconf
from saltext_repmgr.utils.serverconf import Pending

NOTHING = Pending("", "", "")
DEFAULT = "SELECT boot_val FROM pg_settings WHERE name = '{}'"


@pytest.fixture
def ask(spare):
    """Ask a server that nobody used."""

    def run(function=serverconf.pending):
        with spare.connect() as connection:
            return function(connection)

    assert run() == NOTHING
    return run


@pytest.mark.parametrize("name", ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"])
def test_a_file_that_changed(spare, ask, name):
    path = spare.etc / name
    os.utime(path)
    assert ask() == Pending(str(path), "", "")
    assert ask(serverconf.reload) == NOTHING


@pytest.mark.parametrize("name", ["postgresql.conf", "pg_hba.conf", "conf.d"])
def test_a_file_from_the_future_is_read_once(spare, ask, name):
    path = spare.conf if name == "conf.d" else spare.etc / name
    os.utime(path, (time.time() + 86400,) * 2)
    assert ask().stale_files == str(path)
    assert ask(serverconf.reload) == NOTHING
    assert ask() == NOTHING
    # A change is noticed as ever.
    os.utime(path)
    assert ask().stale_files == str(path)
    assert ask(serverconf.reload) == NOTHING


def test_a_link_from_the_future_is_left_alone(spare, ask, tmp_path):
    """Whoever owns the directory may put one there."""
    other = tmp_path / "somebody-else-s"
    other.write_text("")
    future = time.time() + 86400
    os.utime(other, (future, future))
    (spare.etc / "conf.d/zz-link.conf").symlink_to(other)
    tmp_path.chmod(0o755)
    ask(serverconf.reload)
    assert other.stat().st_mtime == pytest.approx(future)


def test_included_files_that_changed(spare, ask):
    spare.configure(work_mem="5MB")
    spare.sql("ALTER SYSTEM SET work_mem = '6MB'")
    both = f"{spare.conf}, {spare.data}/postgresql.auto.conf"
    assert ask() == Pending(both, "", "")
    assert ask(serverconf.reload) == NOTHING
    assert spare.sql("SHOW work_mem") == "6MB"


def test_a_file_older_than_the_start_is_not_stale(spare, ask):
    os.utime(spare.conf)
    spare.stop().start()
    assert ask() == NOTHING


def test_a_new_file_beside_the_others(spare, ask):
    path = spare.etc / "conf.d/zz-new.conf"
    path.write_text("work_mem = '7MB'\n")
    assert ask().stale_files == str(path)
    assert ask(serverconf.reload) == NOTHING
    assert spare.sql("SHOW work_mem") == "7MB"


def test_a_setting_that_needs_a_restart(spare, ask):
    spare.configure(max_worker_processes=11, max_wal_senders=11)
    waiting = "max_wal_senders, max_worker_processes"
    # Reading its files the server notices that they want a restart.
    assert ask() == Pending(str(spare.conf), "", waiting)
    assert ask(serverconf.reload) == Pending("", "", waiting)
    assert ask() == Pending("", "", waiting)
    spare.stop().start()
    assert ask() == NOTHING


def test_a_setting_that_was_removed_and_needs_a_restart(spare, ask):
    # PostgreSQL's row about it has neither a name nor a file.
    with spare.conf.open("a") as handle:
        handle.write("track_commit_timestamp = on\n")
    spare.stop().start()
    text = spare.conf.read_text()
    spare.conf.write_text(text.replace("track_commit_timestamp = on\n", ""))
    assert ask().errors == ""
    assert ask(serverconf.reload) == Pending("", "", "track_commit_timestamp")
    assert ask() == Pending("", "", "track_commit_timestamp")
    spare.stop().start()
    assert ask() == NOTHING


def test_another_spelling_of_the_data_directory_waits_for_nothing(spare, ask):
    path = spare.etc / "postgresql.conf"
    spelled = f"data_directory '{spare.data}/'\n".encode()
    path.write_bytes(path.read_bytes() + b"# f\xfcr\n" + spelled)
    assert ask() == Pending(str(path), "", "")
    assert ask(serverconf.reload) == NOTHING
    assert act.configured_data_directory(spare.layout) == str(spare.data)


def test_what_outranks_our_file_is_told(spare, ask):
    ours = spare.etc / "conf.d/90-ours.conf"
    ours.write_text("work_mem = '7MB'\nwal_log_hints = on\nmax_wal_senders = 7\n")
    last = spare.etc / "conf.d/zz-theirs.conf"
    last.write_text("max_wal_senders = 9\nwal_log_hints = true\n")
    spare.sql("ALTER SYSTEM SET work_mem = '6MB'")
    found = ask(lambda connection: serverconf.configuration(connection, str(ours)))
    overrides = {(o.name, o.value, o.file, o.line) for o in found.overrides}
    automatic = f"{spare.data}/postgresql.auto.conf"
    assert overrides == {
        ("work_mem", "6MB", automatic, 3),
        ("max_wal_senders", "9", str(last), 1),
    }
    assert found.included is True
    assert found.others["max_wal_senders"] == "9"


def test_a_file_that_is_not_included_is_told(spare, ask):
    ours = spare.etc / "conf.d/90-ours.conf"
    ours.write_text("work_mem = '7MB'\n")
    path = spare.etc / "postgresql.conf"
    path.write_text(path.read_text().replace("include_dir", "#include_dir"))
    found = ask(lambda connection: serverconf.configuration(connection, str(ours)))
    assert found.included is False


def test_what_will_need_a_restart_is_known_before(spare, ask):
    before = spare.sql("SHOW shared_preload_libraries")
    settings = {
        **{"shared_preload_libraries": before, "shared_buffers": "16MB", "hot_standby": True},
        **{"max_wal_senders": 11, "wal_level": "logical", "work_mem": "9MB"},
    }
    found = ask(lambda c: serverconf.restarted_for(c, spare.layout, settings))
    assert found == ["max_wal_senders", "wal_level"]


def test_what_our_file_loses_is_known_before(spare, ask):
    ours = pathlib.Path(spare.layout.settings_file)
    ours.write_text("track_commit_timestamp = on\nmax_locks_per_transaction = 70\n")
    theirs = ours.with_name("50-theirs.conf")
    theirs.write_text("max_locks_per_transaction = 70\n")
    spare.stop().start()
    found = ask(lambda c: serverconf.restarted_for(c, spare.layout, {}))
    # The other one stays as it is, by the other file.
    assert found == ["track_commit_timestamp"]
    ours.unlink()
    theirs.unlink()
    spare.stop().start()


def test_a_broken_line_of_pg_hba(spare, ask):
    lines = spare.hba.read_text().count("\n")
    with spare.hba.open("a") as handle:
        handle.write("host all all 10.0.0.0/8 no-such-method\n")
    error = f'{spare.hba} line {lines + 1}: invalid authentication method "no-such-method"'
    assert ask() == Pending(str(spare.hba), error, "")
    # Everything else was loaded.
    assert ask(serverconf.reload) == Pending("", error, "")


MISTAKES = {
    "no_such_setting = 1": "no_such_setting: unrecognized configuration parameter",
    "work_mem": "syntax error",
    "include 'no-such.conf'": "could not open file",
}
WRONG_VALUES = ("work_mem = 'lots'", "max_wal_senders = 'many'", "wal_level = 'nonsense'")


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_in_the_settings(spare, ask, line):
    number = spare.conf.read_text().count("\n") + 1
    with spare.conf.open("a") as handle:
        handle.write(line + "\n")
    found = ask()
    assert (found.stale_files, found.restart) == (str(spare.conf), "")
    assert found.errors.startswith(f"{spare.conf} line {number}: ")
    assert MISTAKES[line] in found.errors


@pytest.mark.parametrize("line", WRONG_VALUES)
def test_a_wrong_value_is_a_mistake(spare, ask, line):
    # The server runs on with the old value, and will not start with this one.
    with spare.conf.open("a") as handle:
        handle.write(line + "\n")
    assert line.partition(" ")[0] in ask().errors


def test_a_reload_that_cannot_succeed_is_not_waited_for(spare, ask, monkeypatch):
    monkeypatch.setattr(serverconf, "_RELOAD_TIMEOUT", 60)
    spare.configure(no_such_setting=1)
    started = time.monotonic()
    assert "no_such_setting" in ask(serverconf.reload).errors
    assert time.monotonic() - started < 30


def test_what_would_be_so_without_one_of_the_files(spare, ask):
    ours = spare.etc / "conf.d/90-ours.conf"
    ours.write_text("max_connections = 33\nmax_wal_senders = 7\n")
    spare.configure(max_connections=44)
    names = ("max_connections", "max_wal_senders")
    found = ask(lambda connection: serverconf.otherwise(connection, names, str(ours)))
    assert found == {
        "max_connections": 44,
        "max_wal_senders": int(spare.sql(DEFAULT.format("max_wal_senders"))),
    }
