"""The guard and the router where their state directory is full, or its file system read-only."""

import contextlib
import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from saltext_repmgr.guard import config
from saltext_repmgr.guard import daemon
from saltext_repmgr.guard import lease
from saltext_repmgr.guard import processes
from saltext_repmgr.guard import rules
from saltext_repmgr.guard import start
from saltext_repmgr.guard import store
from saltext_repmgr.router import daemon as router
from saltext_repmgr.utils import deliver
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.spec import Layout

PEERS = [config.Peer(1, "node1", "primary", -1, True, "host=192.0.2.1")]


def _full(directory):
    handle = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(handle, b"0" * 4096):
            pass
    os.close(handle)


def _read_only(directory):
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)


@pytest.fixture
def state(mount_point, monkeypatch):
    """The guard's directory, on a small file system of its own."""
    monkeypatch.setattr(config, "STATE_DIRECTORY", str(mount_point))
    for name in ("MEMBERS", "STATE", "RETRY", "ANYWAY", "PAUSED_UNTIL", "PAUSED_IN"):
        path = mount_point / os.path.basename(getattr(config, name))
        monkeypatch.setattr(config, name, str(path))
    return mount_point


@pytest.fixture(params=[_full, _read_only])
def spoil(request, state):
    """A function that leaves no way to write there."""
    yield lambda: request.param(state)
    subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(daemon, "log", lines.append)
    return lines


def _guard(data_directory, port):
    return daemon.Guard(
        config.Config(
            *(1, "node1", "192.0.2.1", port, Layout.socket_directory, str(data_directory)),
            *("postgresql@0-none", False, True, 4),
        )
    )


def _names(state):
    return {path.name for path in state.iterdir()} - {"filler"}


def test_the_guard_does_its_work(spare, state, spoil, said, monkeypatch):
    guard = _guard(spare.data, spare.port)
    pid = processes.postmaster(str(spare.data))
    before = _names(state)
    spoil()
    verdicts = []
    monkeypatch.setattr(rules, "guard", lambda *_: rules.Verdict(verdicts[-1], "as the test says"))
    guard.acting_since = 0.0
    for verdict, frozen in (
        (rules.Do.FREEZE, True),
        (rules.Do.THAW, False),
        (rules.Do.FREEZE, True),
    ):
        verdicts.append(verdict)
        guard._judge(10.0, pid)  # pylint: disable=protected-access
        assert processes.is_frozen(pid) is frozen
    # A guard that systemd started anew takes the frozen server over.
    another = _guard(spare.data, spare.port)
    assert (
        another._is_primary(pid) and another.frozen_pid == pid
    )  # pylint: disable=protected-access
    verdicts.append(rules.Do.KILL)
    guard._judge(10.0, pid)  # pylint: disable=protected-access
    assert processes.postmaster(str(spare.data)) is None
    assert guard.retry.is_set()
    guard.local.nodes = tuple(PEERS)
    guard._learn()  # pylint: disable=protected-access
    guard.say("down")
    assert guard.peers == tuple(PEERS)
    # A file of no bytes fits where nothing else does.
    assert _names(state) - {"start-again"} == before
    complaints = [line for line in said if "cannot be written" in line]
    assert len(complaints) == len(set(complaints)) == 2, said


def test_what_waits_is_written_when_there_is_room(state, said):
    _full(state)
    kept = store.Store(daemon.log)
    kept.write(config.STATE, {"state": "frozen"})
    assert kept.waits
    (state / "filler").unlink()
    kept.retry(10.0)
    assert not kept.waits
    with open(config.STATE, encoding="utf-8") as file:
        assert json.load(file) == {"state": "frozen"}
    assert said[-1] == f"{config.STATE} is written again"


def test_a_mark_that_cannot_be_removed_does_not_count(state, spoil):
    open(config.RETRY, "w", encoding="utf-8").close()  # pylint: disable=consider-using-with
    mark = store.Mark(config.RETRY)
    assert mark.is_set()
    spoil()
    mark.clear()
    assert not mark.is_set()
    mark.set()
    assert mark.is_set()
    assert state.exists()


def test_a_start_check_that_allows_is_not_stopped_by_it(state, spoil, monkeypatch, capsys):
    open(config.RETRY, "w", encoding="utf-8").close()  # pylint: disable=consider-using-with
    told = SimpleNamespace(fence=True, witness=False, name="node1", node_id=1)
    monkeypatch.setattr(start.config, "load", lambda: told)
    monkeypatch.setattr(start.sys, "argv", ["start", "/nowhere", "/nowhere"])
    verdict = rules.Verdict(rules.Start.ALLOW, "")
    monkeypatch.setattr(start, "judge", lambda *_: verdict)
    spoil()
    assert start.main() == 0
    verdict = rules.Verdict(rules.Start.WAIT, "nobody answers")
    assert start.main() == 1
    assert "does not start as a primary" in capsys.readouterr().out
    assert state.exists()


def test_a_pause_ends(state, spoil):
    with lease.held(0, str(state)):
        pass
    for path in (config.PAUSED_UNTIL, config.PAUSED_IN):
        with open(path, "w", encoding="utf-8") as file:
            file.write("0\n")
    spoil()
    with lease.held(0, str(state)):
        assert lease.is_over(lease.left())
        # A full file system can forget it, a read-only one ends it again at the next look.
        assert lease.forget() is not os.path.exists(config.PAUSED_UNTIL)


def test_the_router_leaves_no_halves(state, spoil, said):
    path = state / "databases.ini"
    path.write_text("[databases]\n")
    spoil()
    with pytest.raises(OSError):
        router.write_text(str(path), "x" * 100_000)
    kept = router.Store(daemon.log)
    for _ in range(3):
        kept.write(str(state / "state.json"), {"paused": False, "why": "x" * 5000})
    assert _names(state) == {"databases.ini"}
    assert path.read_text() == "[databases]\n"
    assert len(said) == 1


def test_events_that_could_not_be_removed_are_not_sent(state):
    (state / "1-1.event").write_text("event=standby_promote\n\n")
    _read_only(state)
    with pytest.raises(CommandFailed, match="read-only file system; nothing was sent"):
        deliver.deliver({}, str(state))
    subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
    assert _names(state) == {"1-1.event"}
