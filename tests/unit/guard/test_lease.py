"""The pause of repmgrd, which the guard ends and Salt begins."""

import os
import stat
import threading
from types import SimpleNamespace

import pytest

from saltext_repmgr.guard import config
from saltext_repmgr.guard import daemon
from saltext_repmgr.guard import lease

NOW = 1000.0


@pytest.fixture(name="write")
def fixture_write(monkeypatch, tmp_path):
    """A function that writes what a pause leaves in the guard's directory."""
    monkeypatch.setattr(lease.time, "time", lambda: NOW)
    monkeypatch.setattr(config, "STATE_DIRECTORY", str(tmp_path))
    for name in ("PAUSED_UNTIL", "PAUSED_IN", "BOOT_ID"):
        monkeypatch.setattr(config, name, str(tmp_path / name))
    (tmp_path / "BOOT_ID").write_text("this")

    def write(until, boot=None):
        for name, text in (("PAUSED_UNTIL", until), ("PAUSED_IN", boot)):
            if text is not None:
                (tmp_path / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("until", "boot", "left"),
    [
        (None, None, None),
        ("1060", None, 60),
        ("940", None, -60),
        ("1060", "this", 60),
        ("1060", "former", 0),
        ("940", "this", -60),
        # The disk was full.
        ("", "this", 0),
    ],
)
def test_how_long_a_pause_is(write, until, boot, left):
    write(until, boot)
    assert lease.left() == left
    assert lease.is_over(lease.left()) == (left is not None and left <= 0)


def test_one_at_a_time(write, tmp_path):
    del write
    with lease.held(0):
        with pytest.raises(TimeoutError, match=str(tmp_path)):
            with lease.held(0.1):
                pass
    with lease.held(0):
        pass


def test_nobody_else_may_hold_it(write, tmp_path):
    del write
    with lease.held(0):
        assert stat.S_IMODE((tmp_path / "pause.lock").stat().st_mode) == 0o600


def test_a_child_does_not_keep_it(write):
    del write
    ready, over = os.pipe(), os.pipe()
    with lease.held(0):
        child = os.fork()
        if child == 0:
            os.write(ready[1], b"+")
            os.close(over[1])
            os.read(over[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    with lease.held(0):
        pass
    os.close(over[1])
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("name", ["PAUSED_UNTIL", "PAUSED_IN"])
def test_what_cannot_be_read_keeps_no_pause_up(write, tmp_path, name):
    write("1060", "this")
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert lease.left() == (0 if name == "PAUSED_UNTIL" else 60)


def test_who_waits_gets_its_turn(write):
    del write
    began, got = threading.Event(), []

    def other():
        began.set()
        with lease.held(20):
            got.append("other")

    with lease.held(0):
        thread = threading.Thread(target=other)
        thread.start()
        assert began.wait(20)
        got.append("first")
    thread.join(20)
    assert got == ["first", "other"]


class TestTheGuard:
    @pytest.fixture
    def told(self):
        return []

    def unpause(self, told):
        daemon._unpause(SimpleNamespace(execute=told.append))  # pylint: disable=protected-access

    def test_ends_a_pause_that_is_over(self, write, told, tmp_path):
        write("940", "this")
        self.unpause(told)
        assert told == ["SELECT repmgr.repmgrd_pause(false)"]
        assert not (tmp_path / "PAUSED_UNTIL").exists() and not (tmp_path / "PAUSED_IN").exists()

    def test_leaves_one_that_began_since_it_looked(self, write, told, tmp_path):
        write("1060")
        self.unpause(told)
        assert told == []
        assert (tmp_path / "PAUSED_UNTIL").exists()

    def test_does_nothing_while_one_begins(self, write, told, tmp_path):
        write("940")
        with lease.held(0), pytest.raises(TimeoutError):
            self.unpause(told)
        assert told == []
        assert (tmp_path / "PAUSED_UNTIL").exists()
