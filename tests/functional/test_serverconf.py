"""utils.serverconf: whether a running server's configuration is the one in its files."""

import os
import time

import pytest

from saltext_repmgr.utils import serverconf
from saltext_repmgr.utils.serverconf import Pending

NOTHING = Pending("", "", "")


@pytest.fixture
def ask(fresh):
    """Ask a server that nobody used."""

    def run(function=serverconf.pending):
        with fresh.connect() as connection:
            return function(connection)

    assert run() == NOTHING
    return run


@pytest.mark.parametrize("name", ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"])
def test_a_file_that_changed(fresh, ask, name):
    path = fresh.etc / name
    os.utime(path)
    assert ask() == Pending(str(path), "", "")
    assert ask(serverconf.reload) == NOTHING


def test_included_files_that_changed(fresh, ask):
    fresh.configure(work_mem="5MB")
    fresh.sql("ALTER SYSTEM SET work_mem = '6MB'")
    both = f"{fresh.conf}, {fresh.data}/postgresql.auto.conf"
    assert ask() == Pending(both, "", "")
    assert ask(serverconf.reload) == NOTHING
    assert fresh.sql("SHOW work_mem") == "6MB"


def test_a_file_older_than_the_start_is_not_stale(fresh, ask):
    os.utime(fresh.conf)
    fresh.stop().start()
    assert ask() == NOTHING


def test_a_new_file_beside_the_others(fresh, ask):
    path = fresh.etc / "conf.d/zz-new.conf"
    path.write_text("work_mem = '7MB'\n")
    try:
        assert ask().stale_files == str(path)
        assert ask(serverconf.reload) == NOTHING
        assert fresh.sql("SHOW work_mem") == "7MB"
    finally:
        path.unlink()


def test_a_setting_that_needs_a_restart(fresh, ask):
    fresh.configure(max_worker_processes=11, max_wal_senders=11)
    waiting = "max_wal_senders, max_worker_processes"
    # Reading its files the server notices that they want a restart.
    assert ask() == Pending(str(fresh.conf), "", waiting)
    assert ask(serverconf.reload) == Pending("", "", waiting)
    assert ask() == Pending("", "", waiting)
    fresh.stop().start()
    assert ask() == NOTHING


def test_a_broken_line_of_pg_hba(fresh, ask):
    lines = fresh.hba.read_text().count("\n")
    with fresh.hba.open("a") as handle:
        handle.write("host all all 10.0.0.0/8 no-such-method\n")
    error = f'{fresh.hba} line {lines + 1}: invalid authentication method "no-such-method"'
    assert ask() == Pending(str(fresh.hba), error, "")
    # Everything else was loaded.
    assert ask(serverconf.reload) == Pending("", error, "")


MISTAKES = {
    "no_such_setting = 1": "no_such_setting: unrecognized configuration parameter",
    "work_mem": "syntax error",
    "include 'no-such.conf'": "could not open file",
}
WRONG_VALUES = ("work_mem = 'lots'", "max_wal_senders = 'many'", "wal_level = 'nonsense'")


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_in_the_settings(fresh, ask, line):
    number = fresh.conf.read_text().count("\n") + 1
    with fresh.conf.open("a") as handle:
        handle.write(line + "\n")
    found = ask()
    assert (found.stale_files, found.restart) == (str(fresh.conf), "")
    assert found.errors.startswith(f"{fresh.conf} line {number}: ")
    assert MISTAKES[line] in found.errors


@pytest.mark.xfail(strict=True, reason="pending() takes a wrong value for a wanted restart")
@pytest.mark.parametrize("line", WRONG_VALUES)
def test_a_wrong_value_is_a_mistake(fresh, ask, line):
    # The server runs on with the old value, and will not start with this one.
    with fresh.conf.open("a") as handle:
        handle.write(line + "\n")
    assert line.partition(" ")[0] in ask().errors


@pytest.mark.xfail(strict=True, reason="reload() waits for a moment that does not come")
def test_a_reload_that_cannot_succeed_is_not_waited_for(fresh, ask, monkeypatch):
    monkeypatch.setattr(serverconf, "_RELOAD_TIMEOUT", 2)
    fresh.configure(no_such_setting=1)
    started = time.monotonic()
    assert "no_such_setting" in ask(serverconf.reload).errors
    assert time.monotonic() - started < 1.5
