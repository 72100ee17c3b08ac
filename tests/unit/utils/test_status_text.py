"""One screen."""

import pytest

from saltext_repmgr.utils import status
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.findings import Problem
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.screen import WIDTH
from saltext_repmgr.utils.status import ClusterStatus
from saltext_repmgr.utils.status import Verdict
from saltext_repmgr.utils.status_text import render
from saltext_repmgr.utils.topology import NodeStatus
from saltext_repmgr.utils.topology import State
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_status import CASES
from tests.unit.utils.test_status import down
from tests.unit.utils.test_status import leaderless
from tests.unit.utils.test_status import two_primaries
from tests.unit.utils.test_survey import bare
from tests.unit.utils.test_survey import healthy
from tests.unit.utils.test_survey import with_server
from tests.unit.utils.test_topology import sender

SLOTS = (
    Slot("repmgr_slot_2", "physical", True, "0/4000000", 4096, "reserved", "node2"),
    Slot("repmgr_slot_3", "physical", True, "0/4000000", 64 << 20, "reserved", "node3"),
)


def screen(replies):
    return render(status.examine(SPEC, replies))


def test_a_healthy_cluster():
    top = with_server(slots=SLOTS, senders=(sender(replay_lag=0.25),), lsn="0/5001000")
    text = screen(healthy(node1=top, node3=with_server(upstream_host="10.0.0.2", replay_lsn="0/0")))
    table = """\
node         role     state      TL  lag            sync  repmgrd  slots
node1        primary  running    1   -              -     running  2: 64 MB
|- node2     standby  streaming  1   4352 B, 0.2 s  sync  running  -
|  `- node3  standby  streaming  1   80 MB, ?       -     running  -
`- node4     witness  running    -   -              -     running  -"""
    assert text.split("\n\n")[1] == table
    assert screen(healthy()).startswith("foobar: healthy, primary node1, 3 can vote for another")


def test_a_standby_that_is_down():
    summary, table, problems = screen(down("node3")).split("\n\n")
    assert summary == "foobar: degraded, primary node1, 2 can vote for another, 3 needed"
    assert table.splitlines()[3] == "|- node3  (standby)  down       -   -    -     -        -"
    assert problems == """\
degraded:
  node3: its PostgreSQL does not run, and it is active in repmgr's metadata; still to do: start (it
      is a standby of this cluster and is down)
    -> 'salt-run state.orchestrate repmgr.cluster' does it
  if node1 is lost, no standby is promoted: 3 of 4 electors are needed, and without the primary 2
      can vote
    -> bring node3 back"""


def test_each_of_two_primaries_has_its_line():
    lines = screen(two_primaries()).splitlines()
    assert lines[0] == "foobar: broken, no single primary"
    at = lines.index("  node1, node2: 2 primaries at once")
    assert lines[at + 1].startswith("    node1: primary on timeline 1 at 0/5000000")
    assert any(line.startswith("    node2: primary on timeline 2") for line in lines[at + 2 :])


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"replay_paused": True}, "replay paused"),
        ({"receiver": None}, "not streaming"),
        ({}, "streaming"),
    ],
)
def test_the_state_of_a_standby(change, state):
    row = screen(healthy(node2=with_server(**change))).splitlines()[4]
    assert row.split("  ")[2].strip() == state


def deep(count, letters):
    """A cascade with long names."""
    empty = (None,) * 2
    nodes = [
        NodeStatus(f"{letters * 60}{i:03}", i, i, True, "standby", *empty, True, State.RUNNING)
        for i in range(count)
    ]
    return ClusterStatus("foobar", Verdict.DEGRADED, nodes=tuple(nodes))


def test_long_names_keep_their_row_on_the_screen():
    lines = render(deep(4, "n")).splitlines()[2:]
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].startswith("nnn") and lines[4].startswith("      `- nnn")
    assert all("~  (standby)" in line for line in lines[1:])


def test_the_worst_comes_first():
    problems = [Problem(severity, (), severity.name, "do it") for severity in Severity]
    told = ClusterStatus("foobar", Verdict.BROKEN, problems=tuple(problems))
    assert render(told).split("\n\n")[1:] == [
        f"{severity.value}:\n  {severity.name}\n    -> do it" for severity in reversed(Severity)
    ]


def test_a_wrong_pillar():
    told = status.unknown(None, [("repmgr.password", "is missing")])
    assert render(told).splitlines() == [
        "broken, no single primary",
        "",
        "broken:",
        "  repmgr.password: is missing",
        "    -> correct the pillar",
    ]


EVERYTHING = [
    *(healthy(), two_primaries(), leaderless(), bare(), {}),
    *(case[0] for case in CASES.values()),
]


@pytest.mark.parametrize("replies", EVERYTHING)
def test_it_fits_on_a_terminal(replies):
    text = screen(replies)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not [line for line in text.splitlines() if line != line.rstrip()]
