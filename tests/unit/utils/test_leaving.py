"""Who may leave, and when."""

import dataclasses

import pytest

from saltext_repmgr.utils import leaving
from saltext_repmgr.utils import plan
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.plan import Step
from tests.unit.utils.test_plan import BARE
from tests.unit.utils.test_plan import FOREIGN
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import RECORDS
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import record
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby
from tests.unit.utils.test_plan import steps

ALL = {"node1": server(), "node2": standby(), "node3": standby(), "node4": server(ident=FOREIGN)}
SERVING = {"node1", "node2", "node3", "node4"}


def spec(*absent):
    nodes = {n: dataclasses.replace(s, absent=n in absent) for n, s in NODES.items()}
    return dataclasses.replace(SPEC, nodes=nodes)


def objection(*absent, up=SERVING, **others):
    servers = {n: s for n, s in {**ALL, **others}.items() if s is not None}
    return leaving.objection(spec(*absent), servers, absent, up)


def test_electors_are_the_primary_and_the_active_nodes_below_it():
    records = (
        record("node1", "primary"),
        record("node2", "standby", 1),
        record("node3", "standby", 2),
        record("node4", "witness", 1, active=False),
    )
    assert [r.node_name for r in leaving.electors(records)] == ["node1", "node2"]
    assert leaving.electors(records[1:]) == ()


@pytest.mark.parametrize("absent", [("node2",), ("node4",), ("node2", "node3"), ("node3", "node4")])
def test_members_that_are_not_needed_may_leave(absent):
    assert objection(*absent) == ""


def test_a_primary_names_who_takes_over():
    said = objection("node1")
    assert "run 'salt-run repmgr.switchover node2'" in said


def test_a_primary_that_cannot_be_asked_is_known_by_who_streams_from_it():
    assert "repmgr.switchover" in objection("node1", node1=None)
    off = standby(receiver=None)
    assert objection("node1", node1=None, node2=off, node3=off) == ""


def test_a_lone_primary_needs_a_standby_first():
    assert "no standby" in objection("node1", node2=None, node3=None)


def test_of_two_primaries_none_leaves():
    said = objection("node2", node2=server(timeline=2))
    assert "node1 and node2 act as primary" in said


@pytest.mark.parametrize(
    ("absent", "up", "refused"),
    [
        (("node2",), {"node1", "node2", "node3"}, False),
        (("node2",), {"node1", "node2"}, True),
        (("node2",), {"node1", "node4"}, False),
        (("node2",), {"node1"}, False),
        (("node2", "node3", "node4"), {"node1", "node2"}, False),
        (("node2", "node3"), {"node1", "node2"}, True),
    ],
)
def test_the_rest_keeps_a_majority(absent, up, refused):
    said = objection(*absent, up=up)
    assert bool(said) is refused
    if refused:
        assert "state.apply repmgr'" in said and "'ensure: absent' as well" in said


def decide(lies, own=None, member=True, name="node3", **members):
    wanted = spec(name)
    return plan.decide(wanted, wanted.nodes[name], seen(name, lies, own, member, **members))


LIVE = {"node1": server(), "node2": standby()}


def test_a_member_leaves_running_or_not():
    lies = data(standby=True)
    assert steps(decide(lies, standby(), **LIVE)) == [Step.LEAVE]
    assert steps(decide(lies, **LIVE)) == [Step.LEAVE]


def test_what_is_no_member_is_left_alone():
    stranger = server(nodes=None, ident=FOREIGN, user_objects=True)
    assert decide(data(), stranger, member=False, **LIVE).actions == ()
    assert decide(BARE, member=False, **LIVE).actions == ()


def test_a_witness_leaves():
    own = server(ident=FOREIGN, nodes=RECORDS)
    live = {**LIVE, "node3": standby()}
    assert steps(decide(data(), own, name="node4", **live)) == [Step.LEAVE]


@pytest.mark.parametrize(
    ("own", "members", "words"),
    [
        (server(), {"node2": standby(upstream_host="10.0.0.3")}, "repmgr.switchover"),
        (
            standby(senders=(Sender("node2", "streaming", None, None, None),)),
            LIVE,
            "node2 would lose the upstream",
        ),
        (server(nodes=None, user_objects=True), LIVE, "accepts writes and has no repmgr metadata"),
    ],
    ids=["primary", "upstream", "stranger"],
)
def test_a_member_that_is_needed_stays(own, members, words):
    decided = decide(data(), own, **members)
    assert decided.actions == ()
    assert words in decided.refusal
