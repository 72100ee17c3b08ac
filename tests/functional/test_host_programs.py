"""utils.host.ask: programs of the host, their output and their failures."""

import os
import time

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import NotInstalledError


def test_what_a_program_prints(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert host.ask(["sh", "-c", "echo $LC_ALL-$PGHOST-; echo aside >&2"]) == "C--\n"


def test_a_program_that_fails():
    with pytest.raises(CommandFailed, match=r"sh -c .* ended with 3: why$") as raised:
        host.ask(["sh", "-c", "echo why >&2; exit 3"])
    assert (raised.value.code, raised.value.stderr) == (3, "why\n")


def test_a_program_that_is_not_there():
    with pytest.raises(NotInstalledError, match="no-such-program is not installed on this host"):
        host.ask(["no-such-program"])


def test_a_program_that_hangs():
    with pytest.raises(CommandFailed, match="sleep did not answer within 0.2 s"):
        host.ask(["sleep", "60"], timeout=0.2)


def test_a_program_of_another_user():
    assert host.ask(["id", "-un"], user="postgres") == "postgres\n"
    assert host.ask(["id", "-Gn"], user="postgres") == host.ask(["id", "-Gn", "postgres"])
    with pytest.raises(NotInstalledError, match="no user no-such-user"):
        host.ask(["true"], user="no-such-user")


def test_of_another_user_none_is_left_either():
    argv = ["sleep", f"60.{os.getpid()}"]
    with pytest.raises(CommandFailed, match="sleep did not answer within 0.5 s"):
        host.ask(argv, timeout=0.5, user="postgres")
    assert host.attempt(["pgrep", "-fx", " ".join(argv)]).stdout == ""


def test_a_program_that_asks_gets_nothing():
    assert host.ask(["cat"]) == ""


def test_the_release_of_this_host():
    name, version = host.release()
    assert f"{name}-{version}" == host.ask(
        ["sh", "-c", '. /etc/os-release; printf "%s-%s" "$ID" "$VERSION_ID"']
    )


def test_text_of_a_file(tmp_path):
    path = tmp_path / "file"
    assert not host.holds(path, "")
    path.write_text("a\nb\n\n", encoding="utf-8")
    assert host.holds(path, "a\nb")
    assert not host.holds(path, "a\nb\nc")
    assert not host.holds(path, "a")


def test_whether_a_file_changed(tmp_path):
    path = tmp_path / "file"
    assert not host.changed_since(path, 0)
    path.touch()
    written = path.stat().st_mtime
    assert host.changed_since(path, written - 0.001)
    assert not host.changed_since(path, written)


def test_a_clock_that_was_set_back_says_nothing_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    later = time.time() + 3600
    # Loaded by a clock that was ahead: whether the file changed since, nobody knows.
    assert host.changed_since(path, later)
    os.utime(path, (later, later))
    host.settle_times([path, tmp_path / "absent"], 7)
    assert path.stat().st_mtime == 7
    host.settle_times([path], 5)
    assert path.stat().st_mtime == 7
