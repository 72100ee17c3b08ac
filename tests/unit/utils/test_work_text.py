"""What a planned change looks like on one screen."""

import pytest

from saltext_repmgr.utils import screen
from saltext_repmgr.utils.work_text import render

CHECKS = (
    {"name": "one primary", "finding": "node1, on timeline 1", "problem": ""},
    {"name": "candidate replays", "finding": "not paused", "problem": ""},
)
PAUSED = {"name": "candidate replays", "finding": "paused", "problem": "replay is paused; end that"}
STEPS = ["checkpoint on node1", "node2 is promoted as soon as it has received all WAL of node1"]


def told(**more):
    return {"cluster": "foobar", "changed": False, "result": "it could be now", **more}


def test_a_dry_run():
    assert render(told(checks=CHECKS, steps=STEPS, nodes={})) == """\
checks:
  ok  one primary: node1, on timeline 1
  ok  candidate replays: not paused

steps:
  - checkpoint on node1
  - node2 is promoted as soon as it has received all WAL of node1

it could be now"""


def test_what_is_refused_has_no_steps():
    result = "candidate replays: replay is paused; end that"
    assert render(told(checks=(CHECKS[0], PAUSED), steps=STEPS, result=result)) == """\
checks:
  ok  one primary: node1, on timeline 1
  NO  candidate replays: paused

candidate replays: replay is paused; end that"""


def test_what_became_of_it():
    nodes = {"node1": "a standby of node2", "node2": "the primary"}
    text = render(told(changed=True, checks=(), steps=STEPS[:1], nodes=nodes, result="done in 5 s"))
    assert text == """\
steps:
  - checkpoint on node1

nodes:
  node1: a standby of node2
  node2: the primary

done in 5 s"""


def test_rolling_work_that_stopped():
    text = render(
        told(
            changed=True,
            done=["node2: restarted"],
            plan=["switchover to node2"],
            result="node3: does not stream\nstopped after 1 move; mend that",
        )
    )
    assert text == """\
done:
  - node2: restarted

to do:
  - switchover to node2

node3: does not stream
stopped after 1 move; mend that"""


@pytest.mark.parametrize("part", ["result", "done", "steps", "nodes", "checks"])
def test_no_line_is_wider_than_the_screen(part):
    words = "a word and another " * 30
    values = {
        "nodes": {"node1": words},
        "checks": [{"name": "one", "finding": words, "problem": ""}],
        "result": words,
    }
    lines = render(told(**{part: values.get(part, [words])})).splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= screen.WIDTH
