"""The order of rolling work: whose turn it is, and what stands against it."""

import dataclasses

import pytest

from saltext_repmgr.utils import rolling
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.rolling import Do
from saltext_repmgr.utils.rolling import Needs
from saltext_repmgr.utils.spec import PostgresSpec
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import control
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_switchover import more
from tests.unit.utils.test_switchover import said  # pylint: disable=unused-import

NAME = "max_connections"
ALL = {name: "why" for name in NODES}


def moves(said, needs, home=None, spec=SPEC):
    course = rolling.chart(spec, said, needs, home)
    assert course.problem == ""
    return [(move.do, move.node) for move in course.moves]


def change(said, name, **changes):
    said[name] = more(said[name], server=more(said[name].server, **changes))


def test_the_witness_then_standbys_then_the_primary_as_a_standby(said):
    assert moves(said, Needs(ALL)) == [
        (Do.WORK, "node4"),
        (Do.WORK, "node2"),
        (Do.WORK, "node3"),
        (Do.SWITCH, "node2"),
        (Do.WORK, "node1"),
    ]


def test_nothing_is_left(said):
    assert moves(said, Needs()) == []


def test_an_interrupted_run_goes_on(said):
    assert moves(said, Needs({"node3": "why"})) == [(Do.WORK, "node3")]
    assert moves(said, Needs({"node1": "why"})) == [(Do.SWITCH, "node2"), (Do.WORK, "node1")]


def test_back_to_where_the_primary_was(said):
    assert moves(said, Needs({"node1": "why"}), "node1")[-1] == (Do.SWITCH, "node1")
    assert moves(said, Needs({"node2": "why"}), "node1") == [(Do.WORK, "node2")]
    assert moves(said, Needs(), "node3") == [(Do.SWITCH, "node3")]
    assert moves(said, Needs({"node1": "why"}), "node3") == [
        (Do.SWITCH, "node3"),
        (Do.WORK, "node1"),
    ]


def test_a_primary_whose_archive_fails_is_not_stopped_in_place(said):
    change(said, "node1", archive_failing="000000010000000000000002")
    course = rolling.chart(SPEC, said, Needs({"node1": "less"}, in_place=True))
    assert [m.do for m in course.moves] == [Do.IN_PLACE]
    assert "archive_command fails for 000000010000000000000002," in course.problem


def test_in_place_the_primary_comes_before_those_that_wait_for_it(said):
    needs = Needs({"node1": "less", "node3": "other"}, {"node2": "less"}, in_place=True)
    assert moves(said, needs) == [
        (Do.WORK, "node3"),
        (Do.IN_PLACE, "node1"),
        (Do.WORK, "node2"),
    ]
    _, in_place, _ = rolling.chart(SPEC, said, needs).moves
    assert in_place.still == ("node2", "node3", "node4")
    said["node2"] = more(said["node2"], running=False, server=None, drained=Drained(0.0, "alice"))
    assert rolling.chart(SPEC, said, needs).moves[1].still == ("node3", "node4")


def test_leaves_of_a_cascade_come_first_and_keep_still_for_their_upstream(said):
    change(said, "node3", upstream_host="10.0.0.2")
    course = rolling.chart(SPEC, said, Needs({"node2": "why", "node3": "why"}))
    assert [(move.node, move.still) for move in course.moves] == [
        ("node3", ()),
        ("node2", ("node3",)),
    ]


def test_the_extension_is_updated_on_the_new_primary_once_all_have_its_programs(said):
    found = moves(said, Needs({"node1": "why", "node2": "why"}, extension="5.3 -> 5.5"))
    assert found[-3:] == [(Do.SWITCH, "node2"), (Do.WORK, "node1"), (Do.EXTENSION, "node2")]


def test_without_a_standby_that_could_take_over_nothing_begins(said):
    change(said, "node2", receiver=None)
    change(said, "node3", receiver=None)
    course = rolling.chart(SPEC, said, Needs(ALL))
    assert "no standby streams from the primary" in course.problem


def test_what_would_stop_the_switchover_is_said_before_the_first_move(said):
    change(said, "node1", archive_failing="000000010000000000000002")
    assert "archive_command fails" in rolling.chart(SPEC, said, Needs(ALL)).problem
    assert moves(said, Needs({"node2": "why"})) == [(Do.WORK, "node2")]


def test_a_standby_that_has_its_turn_before_may_have_less_until_then(said):
    for name, most in zip(("node1", "node2", "node3"), (60, 90, 60)):
        change(said, name, limits={NAME: most})
    due = ("node1", "node3")
    needs = Needs(dict.fromkeys(due, "why"), restarted=due)
    spec = more(SPEC, postgres=PostgresSpec(settings={NAME: 90}))
    found = [(Do.WORK, "node3"), (Do.SWITCH, "node2"), (Do.WORK, "node1")]
    assert moves(said, needs, "node2", spec) == found
    for other in (dataclasses.replace(needs, restarted=("node1",)), Needs({"node1": "why"})):
        course = rolling.chart(spec, said, other, "node2")
        assert f"{NAME} is 60 on node3 and 90 on node2" in course.problem
    # Pillar is silent about it: a restart changes nothing.
    assert NAME in rolling.chart(SPEC, said, needs, "node2").problem
    # Nobody has to be the one that others could not follow.
    assert moves(said, needs) == [*found[:1], (Do.SWITCH, "node3"), (Do.WORK, "node1")]


@pytest.mark.parametrize("recovery", [(False, False), (True, True)])
def test_there_has_to_be_one_primary(said, recovery):
    for name, value in zip(("node1", "node2"), recovery):
        change(said, name, in_recovery=value)
    course = rolling.chart(SPEC, said, Needs(ALL))
    assert (course.primary, course.moves) == (None, ())
    assert "2 nodes act as primary" in course.problem or "no node is the primary" in course.problem


@pytest.mark.parametrize(
    ("synchronous", "stopped"),
    [(0, False), (1, False), (2, True), (("node2",), True), (("node3",), False)],
)
def test_synchronous_standbys_that_are_promised_stay(said, synchronous, stopped):
    spec = dataclasses.replace(SPEC, synchronous=synchronous)
    problem = rolling.chart(spec, said, Needs({"node2": "why"})).problem
    assert ("clients could not write" in problem) == stopped


# -- who needs it -------------------------------------------------------------------------------


def running(said, *values, asked=None, **pending):
    """The same with ``max_connections`` as the data nodes run with it."""
    for name, value in zip(("node1", "node2", "node3"), values):
        change(said, name, limits={NAME: value}, pending=pending.get(name, ()))
        lies = more(control(), limits={NAME: values[0]})
        said[name] = more(said[name], data=data(control=lies, standby=name != "node1"))
    for name, seen in said.items():
        others = {n: Member(Reach.ANSWERED, server=said[n].server) for n in said if n != name}
        said[name] = more(seen, members=others)
    settings = {NAME: asked} if asked else {}
    return dataclasses.replace(SPEC, postgres=PostgresSpec(settings=settings))


def needs(said, *values, forced=None, **more_):
    spec = running(said, *values, **more_)
    found = rolling.for_restart(spec, said, forced or {})
    return sorted(found.now), sorted(found.later), found.in_place


def test_who_waits_for_a_restart(said):
    assert needs(said, 100, 100, 100, node3=("shared_buffers",)) == (["node3"], [], False)
    assert rolling.for_restart(SPEC, said, {}).now == {"node3": "shared_buffers"}


def test_who_is_asked_to(said):
    assert needs(said, 100, 100, 100, forced={"node2": "requested"}) == (["node2"], [], False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((100, 100, 100), (["node1", "node2", "node3"], [], False)),
        ((100, 200, 100), (["node1", "node3"], [], False)),
        ((100, 200, 200), (["node1"], [], False)),
        ((200, 200, 200), ([], [], False)),
        ((300, 300, 300), (["node1"], ["node2", "node3"], True)),
        ((200, 300, 300), (["node2", "node3"], [], False)),
    ],
)
def test_more_is_for_standbys_first_and_less_for_the_primary(said, values, expected):
    assert needs(said, *values, asked=200) == expected


def test_what_an_upgrade_is_for(said):
    newer = {"node2": {"postgresql-15": {"old": "15.18", "new": "15.20"}}}
    said["node3"] = more(said["node3"], replaced=("postgres",))
    found = rolling.for_upgrade(SPEC, said, newer)
    assert found == Needs(
        {
            "node2": "postgresql-15 15.18 -> 15.20",
            "node3": "postgres still runs the program from before an upgrade",
        },
        restarted=("node2", "node3"),
    )
    newer = {"node2": {"postgresql-15-repmgr": {"old": "5.3", "new": "5.5"}}}
    assert rolling.for_upgrade(SPEC, said, newer).restarted == ("node3",)


@pytest.mark.parametrize(
    ("installed", "offered", "expected"),
    [
        ("5.3", "5.5", "5.3 -> 5.5"),
        ("5.5", "5.5", ""),
        ("5.9", "5.10", "5.9 -> 5.10"),
        (None, "5.5", ""),
    ],
)
def test_the_extension_is_in_step_with_the_programs(said, installed, offered, expected):
    change(said, "node1", extension=installed, extension_offered=offered)
    assert rolling.for_upgrade(SPEC, said, {}).extension == expected
