"""What the guard does about repmgrd that watches a former primary, and whom it goes by."""

import dataclasses
import os
from types import SimpleNamespace

import pytest

from saltext_repmgr.guard import config
from saltext_repmgr.guard import daemon
from saltext_repmgr.guard import rules
from saltext_repmgr.guard import store
from tests.unit.guard import test_rules
from tests.unit.guard.test_rules import member

MEMBERS = [member(2), member(3, test_rules.TestAstray.NEW)]


@pytest.fixture
def ended(monkeypatch):
    found = []
    monkeypatch.setattr(daemon.processes, "end", lambda pid, name: found.append((pid, name)))
    return found


@pytest.fixture
def guard():
    # Without the files of a host.
    made = object.__new__(daemon.Guard)
    made.told = SimpleNamespace(witness=True)
    made.local = SimpleNamespace(answer=test_rules.TestAstray.OWN)
    made.probes = {m.node_id: SimpleNamespace(member=lambda now, m=m: m) for m in MEMBERS}
    made.repmgrd, made.astray_at = (77, -60.0), None
    return made


@pytest.mark.parametrize(
    ("said", "signal", "acts"),
    [
        (None, None, False),
        (test_rules.PROMOTED, None, True),
        (test_rules.SEES_ME, "standby.signal", False),
        (test_rules.SEES_ME, "recovery.signal", False),
        # It was promoted since it answered last, and hangs.
        (test_rules.SEES_ME, None, True),
    ],
)
def test_what_a_server_is(guard, tmp_path, said, signal, acts):
    guard.told.data_directory, guard.local.answer, guard.frozen_at = tmp_path, said, None
    if signal is not None:
        (tmp_path / signal).touch()
    assert guard._is_primary(os.getpid()) is acts  # pylint: disable=protected-access


def look(guard, seconds, pid=77):
    """Look four times a second; what became of repmgrd's process."""
    guard.local.answer = dataclasses.replace(test_rules.TestAstray.OWN, repmgrd_pid=pid)
    begin, end = seconds
    now = begin
    while now < end:
        guard._lead_back(now)  # pylint: disable=protected-access
        now += rules.STEP_SECONDS


def test_it_is_ended_once_somebody_had_the_time_to_tell_it(guard, ended):
    look(guard, (0, rules.ASTRAY_SECONDS))
    assert ended == []
    look(guard, (rules.ASTRAY_SECONDS, 2))
    assert set(ended) == {(77, "repmgrd")}


def test_one_that_has_just_begun_is_given_time(guard, ended):
    look(guard, (0, 2), pid=None)
    look(guard, (2, 2 + rules.DAEMON_SECONDS), pid=78)
    assert ended == []
    look(guard, (2 + rules.DAEMON_SECONDS, 4 + rules.DAEMON_SECONDS), pid=78)
    assert set(ended) == {(78, "repmgrd")}


def test_no_other_node_does_it(guard, ended):
    guard.told.witness = False
    look(guard, (0, 30))
    assert ended == []


@pytest.mark.parametrize(
    ("starting", "pid", "saw"), [([9], 78, 9), ([8], 78, None), ([9], None, None)]
)
def test_who_is_about_to_start_again_counts_as_seen(guard, starting, pid, saw):
    """Also where repmgrd is paused."""
    said = dataclasses.replace(test_rules.GONE, repmgrd=False)
    answer = dataclasses.replace(said, starting=starting, repmgrd_pid=pid)
    guard.local = SimpleNamespace(answer=answer, saw=None)
    guard.noted, guard.probes = None, {9: SimpleNamespace(answered_question=None)}
    guard.started = (None, 0.0)
    guard._note_upstream(10.0)  # pylint: disable=protected-access
    assert guard.local.saw == saw


@pytest.mark.parametrize(
    ("seconds", "upstream", "saw"),
    [(0.1, 9, 9), (rules.STARTED_SECONDS, 9, None), (0.1, 8, None)],
)
def test_a_server_has_time_to_start_once_it_was_told(guard, seconds, upstream, saw):
    """Its start check is over before it answers."""
    answer = dataclasses.replace(test_rules.GONE, upstream=upstream, repmgrd_pid=78)
    guard.local = SimpleNamespace(answer=answer, saw=None)
    guard.noted = None
    guard.probes = {n: SimpleNamespace(answered_question=None) for n in (8, 9)}
    guard.started = (9, 10.0)
    guard._note_upstream(10.0 + seconds)  # pylint: disable=protected-access
    assert guard.local.saw == saw


@pytest.mark.parametrize(
    ("recorded", "jurors"), [("primary", ["node3"]), ("standby", ["node2", "node3"])]
)
def test_a_part_of_the_records_is_not_gone_by(guard, recorded, jurors):
    """Right after a promotion a standby that streamed from it before is recorded below it alone."""
    guard.told = SimpleNamespace(node_id=1)
    guard.acting_since, guard.frozen_at = 0.0, None
    peers = [(1, recorded, -1), (2, "standby", 9), (3, "standby", 1)]
    guard.peers = [config.Peer(n, f"node{n}", kind, up, True, "") for n, kind, up in peers]
    guard.probes = {n: SimpleNamespace(member=lambda now, n=n: member(n)) for n in (2, 3)}
    assert [m.name for m in guard._jurors(1.0)] == jurors  # pylint: disable=protected-access


class TestJudged:
    """What the guard does about a server, with its hands tied."""

    OWN = dataclasses.replace(test_rules.PROMOTED, primary_id=1, timeline=1)

    @pytest.fixture
    def judge(self, guard, monkeypatch, tmp_path):
        """Function that has the guard judge, with the answers of its electors and whether its server
        answers; it returns what was done to the server."""
        retry, done = tmp_path / "start-again", []
        monkeypatch.setattr(config, "RETRY", str(retry))
        monkeypatch.setattr(config, "STATE", str(tmp_path / "state.json"))
        for name in ("freeze", "thaw", "kill"):
            monkeypatch.setattr(
                daemon.processes, name, lambda pid, name=name: done.append((name, pid))
            )
        guard.told = SimpleNamespace(node_id=1, vote_seconds=4, data_directory=tmp_path)
        guard.acting_since, guard.frozen_at, guard.frozen_pid = -60.0, None, None
        guard.replaced, guard.state = 9, "guarding"
        guard.store, guard.retry = store.Store(daemon.log), store.Mark(str(retry))
        peers = [("primary", -1, True), ("standby", 1, True), ("standby", 9, False)]
        guard.peers = [
            config.Peer(n, f"node{n}", kind, up, active, "")
            for n, (kind, up, active) in enumerate(peers, 1)
        ]

        def look(others, hangs=False, frozen=None):
            guard.probes = {m.node_id: SimpleNamespace(member=lambda now, m=m: m) for m in others}
            itself = member(1, self.OWN, age=60.0 if hangs else 0.1)
            guard.local = SimpleNamespace(answer=self.OWN, member=lambda now: itself)
            guard.frozen_at = frozen
            guard._judge(0.0, 77)  # pylint: disable=protected-access
            return done, retry.exists()

        return look

    AWAY = [member(2, test_rules.FOLLOWS_3), member(3, test_rules.PROMOTED_3)]

    def test_one_that_hangs_is_retired_by_whoever_it_could_not_record(self, judge):
        assert judge(self.AWAY, hangs=True) == ([("kill", 77)], False)

    def test_one_that_answers_goes_by_its_records(self, judge):
        assert judge(self.AWAY) == ([], False)

    def test_one_that_has_shut_down_and_archives_is_left_alone(self, judge, tmp_path):
        control = tmp_path / "global" / "pg_control"
        control.parent.mkdir()
        control.write_bytes(bytes(16) + (1).to_bytes(4, "little") + bytes(40))
        assert judge(self.AWAY, hangs=True) == ([], False)
        control.write_bytes(bytes(16) + (6).to_bytes(4, "little") + bytes(40))
        assert judge(self.AWAY, hangs=True) == ([("kill", 77)], False)

    def test_one_that_nobody_came_back_to_is_started_again(self, judge, guard):
        guard.peers[2] = dataclasses.replace(guard.peers[2], upstream=1, active=True)
        silent = [member(n, age=60.0) for n in (2, 3)]
        assert judge(silent, frozen=-rules.FROZEN_SECONDS) == ([("kill", 77)], True)

    def test_whom_it_replaced_is_forgotten_when_all_watch_it(self, judge, guard):
        judge([member(2, test_rules.says(upstream=9))])
        assert guard.replaced == 9
        judge([member(2)])
        assert guard.replaced is None
