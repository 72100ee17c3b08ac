"""When a cluster is healed: the turns of several callers, and what is worth a run."""

import dataclasses
import fcntl
import threading
import time

import pytest

from saltext_repmgr.modules import repmgr_node
from saltext_repmgr.utils import healing
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_survey import healthy

CALM = {"node1": [], "node2": [{"fun": "test.ping"}]}
BUSY = {"node1": [{"fun": "state.sls"}], "node2": "Minion did not return", "node3": []}
PLANNED = {"node1": [], "node2": [{"fun": "repmgr_node.switch_over"}]}


def test_of_many_callers_one_goes_and_one_waits(tmp_path):
    directory = str(tmp_path / "locks")
    first = healing.await_turn(directory, "foobar", settle=0)
    turns = []
    waiter = threading.Thread(
        target=lambda: turns.append(healing.await_turn(directory, "foobar", settle=0))
    )
    waiter.start()
    deadline = time.monotonic() + 10
    while (third := healing.await_turn(directory, "other", settle=0)) and not _taken(directory):
        third.close()
        assert time.monotonic() < deadline
    third.close()
    assert healing.await_turn(directory, "foobar", settle=0) is None
    assert turns == []
    first.close()
    waiter.join(timeout=10)
    (second,) = turns
    assert second is not None
    second.close()
    with healing.await_turn(directory, "foobar", settle=0) as last:
        assert last is not None


def _taken(directory):
    """Whether somebody waits for the turn of foobar, told without waiting for it."""
    with open(f"{directory}/foobar.waits", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (CALM, []),
        (BUSY, ["node1: state.sls"]),
        (PLANNED, ["node2: repmgr_node.switch_over"]),
        ({}, []),
    ],
)
def test_state_runs_and_planned_changes_are_waited_for(replies, expected):
    assert healing.busy(replies) == expected


def test_what_counts_as_planned_exists():
    functions = vars(repmgr_node)
    assert all(name.partition(".")[2] in functions for name in healing.PLANNED)


def test_calm_is_twice_in_a_row():
    answers = iter([CALM, BUSY, CALM, CALM])
    assert healing.await_calm(lambda: next(answers), pause=0) == ""
    with pytest.raises(StopIteration):
        next(answers)


def test_patience_ends():
    assert "node1: state.sls" in healing.await_calm(lambda: BUSY, patience=0, pause=0)


def test_a_healthy_cluster_needs_nothing():
    assert healing.curable(SPEC, healthy()) == []


def test_a_node_that_does_not_answer_is_no_reason_to_begin():
    replies = healthy()
    del replies["node3"]
    assert healing.curable(SPEC, replies) == []


def test_a_node_that_answers_and_is_not_well_is_one():
    replies = healthy(node2=lambda seen: dataclasses.replace(seen, server=None, running=False))
    del replies["node3"]
    (line,) = healing.curable(SPEC, replies)
    assert line.startswith("node2: still to do: start")
