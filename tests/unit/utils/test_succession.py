"""Who takes the place of a new primary that was lost at once, and by whose word."""

import dataclasses
from types import SimpleNamespace

import pytest

from saltext_repmgr.utils import succession
from saltext_repmgr.utils.succession import Change
from saltext_repmgr.utils.succession import Elector
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import record

OLD, HEIR = 1, 2
STANDBY = Elector("node3", 3, 100, False, True, 2, 500, "77 12:00")
FORMER = dataclasses.replace(STANDBY, name="node1", node_id=1, timeline=1)
WITNESS = Elector("node4", 4, 0, True, False, 1, 9000, "78 12:00")
WHAT = Change(NODES["node1"], NODES["node2"], 1, (NODES["node1"], NODES["node3"], NODES["node4"]))

BEFORE = (
    record("node1", "primary"),
    record("node2", "standby", 1),
    record("node3", "standby", 1),
    record("node4", "witness", 1),
)
# The new primary wrote them down as below itself.
AFTER = (
    record("node1", "standby", 2),
    record("node2", "primary"),
    record("node3", "standby", 2),
    record("node4", "witness", 2),
)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (BEFORE, {1, 3, 4}),
        (AFTER, {1, 3, 4}),
        (BEFORE[:2], {1}),
        # Of a cascade those below the new primary count, as it goes by them; others do not.
        ((*BEFORE[:2], record("node3", "standby", 2), BEFORE[3]), {1, 3, 4}),
        ((*BEFORE[:3], record("node4", "standby", 3)), {1, 3}),
        ((*BEFORE[:3], record("node4", "witness", 1, active=False)), {1, 3}),
        ((), {1}),
    ],
    ids=["before", "after", "two nodes", "below the new one", "cascade", "inactive", "no records"],
)
def test_all_but_the_new_primary_have_a_word(records, expected):
    assert succession.electors(records, OLD, HEIR) == expected


@pytest.mark.parametrize(
    ("records", "names", "feeds", "strangers"),
    [
        (BEFORE, ["node1", "node3", "node4"], False, False),
        ((*BEFORE[:2], record("node3", "standby", 2)), ["node1", "node3"], True, False),
        ((*BEFORE[:3], dataclasses.replace(BEFORE[2], node_id=9)), ["node1", "node3"], False, True),
        (None, ["node1"], False, False),
    ],
    ids=["all are known", "it feeds one", "one is not in pillar", "no records"],
)
def test_what_a_node_knows_of_it(records, names, feeds, strangers):
    server = SimpleNamespace(nodes=records, timeline=1)
    found = succession.change(SPEC, NODES["node1"], NODES["node2"], server)
    assert [n.name for n in found.electors] == names
    assert (found.feeds, found.strangers) == (feeds, strangers)


def those(**more):
    return dataclasses.replace(STANDBY, **more)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([FORMER, STANDBY, WITNESS], "node3"),
        # It is no question of bytes alone: the former primary is on the old timeline.
        ([dataclasses.replace(FORMER, lsn=900), STANDBY], "node3"),
        ([dataclasses.replace(FORMER, timeline=2), STANDBY], "node1"),
        ([dataclasses.replace(FORMER, timeline=2), those(lsn=501)], "node3"),
        ([dataclasses.replace(FORMER, timeline=2), those(priority=101)], "node3"),
        ([FORMER, those(priority=0)], None),
        ([dataclasses.replace(FORMER, timeline=2, lsn=499), those(whole=False)], "node1"),
        ([FORMER, those(whole=False)], None),
        ([FORMER, those(timeline=1)], None),
        ([WITNESS], None),
        ([], None),
    ],
    ids=[
        "who has followed",
        "later timeline",
        "both have",
        "more WAL",
        "priority",
        "no candidate",
        "a torso",
        "nothing but a torso",
        "nobody has",
        "witness",
        "nobody",
    ],
)
def test_who_takes_its_place(found, expected):
    assert succession.successor(found, 1) == expected


def claims(*found):
    return succession.claims(found, WHAT)


def test_all_have_to_say_so_and_each_break_is_seen():
    everybody = claims(FORMER, STANDBY, WITNESS)
    assert everybody is not None
    assert claims(FORMER, STANDBY) is None
    assert claims(FORMER, those(claim=None), WITNESS) is None
    assert claims(FORMER, those(claim="79 12:01"), WITNESS) not in (None, everybody)


def test_a_witness_is_no_primary():
    assert not WITNESS.is_primary and not STANDBY.is_primary
    assert those(in_recovery=False).is_primary
