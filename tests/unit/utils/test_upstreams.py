"""Which upstream a running standby gets."""

import dataclasses

import pytest

from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.facts import Slot
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

TOP = server(
    slots=(Slot("repmgr_slot_2", "physical", True), Slot("repmgr_slot_3", "physical", True))
)
ON_2 = standby(upstream_host="10.0.0.2")
ON_3 = standby(upstream_host="10.0.0.3")
ON_STRANGER = standby(upstream_host="10.9.9.9")
DEAD_ON_2 = standby(upstream_host="10.0.0.2", receiver=None)


def spec(upstream=None, **changes):
    node = dataclasses.replace(NODES["node3"], upstream=upstream)
    return dataclasses.replace(SPEC, nodes={**NODES, "node3": node}, **changes)


def move(own, upstream=None, wanted=None, **others):
    wanted = wanted or spec(upstream)
    servers = {"node1": TOP, "node2": standby(), **others, "node3": own}
    servers = {name: found for name, found in servers.items() if found is not None}
    return upstreams.move(wanted, wanted.nodes["node3"], servers, "node1")


@pytest.mark.parametrize(
    ("own", "upstream", "others", "target", "moves", "noted"),
    [
        (standby(), None, {}, "node1", False, False),
        (ON_2, None, {}, "node2", False, False),
        (ON_2, "node2", {}, "node2", False, False),
        (standby(), "node2", {}, "node2", True, False),
        (ON_2, "node1", {}, "node1", True, False),
        (standby(), "node2", {"node2": None}, "node1", False, True),
        (standby(), "node2", {"node2": standby(receiver=None)}, "node1", False, True),
        (standby(), "node2", {"node2": ON_3}, "node1", False, True),
        (standby(), "node2", {"node2": standby(ident="7")}, "node1", False, True),
        (ON_STRANGER, None, {}, "node1", True, False),
        (ON_STRANGER, "node2", {"node2": None}, "node1", True, True),
        (standby(receiver=None, upstream_host=None), None, {}, "node1", True, False),
        (DEAD_ON_2, None, {"node2": None}, "node1", True, False),
        (ON_2, None, {"node2": None}, "node2", False, False),
    ],
    ids=[
        "on the primary",
        "a cascade made by hand stays",
        "on its upstream",
        "to its upstream",
        "back to the primary",
        "upstream down",
        "upstream without a stream",
        "a circle",
        "upstream of another cluster",
        "from a stranger",
        "from a stranger, upstream down",
        "configured for nobody",
        "its upstream is dead",
        "it streams, whatever we see",
    ],
)
def test_where_a_standby_streams_from(own, upstream, others, target, moves, noted):
    found = move(own, upstream, **others)
    assert (found.target, bool(found.reason), bool(found.note)) == (target, moves, noted)


def test_an_upstream_that_leaves_is_left():
    leaving = dataclasses.replace(NODES["node2"], absent=True)
    wanted = spec()
    wanted = dataclasses.replace(wanted, nodes={**wanted.nodes, "node2": leaving})
    assert move(ON_2, wanted=wanted).target == "node1"


@pytest.mark.parametrize(
    ("receiver", "slots", "settings", "reason"),
    [
        (None, (), {}, "its slot repmgr_slot_3 is missing on node1"),
        (None, (Slot("repmgr_slot_3", "physical", False),), {}, ""),
        ("streaming", (), {}, ""),
        (None, (), {"use_replication_slots": False}, ""),
    ],
)
def test_a_slot_that_is_missing_is_made(receiver, slots, settings, reason):
    found = move(
        standby(receiver=receiver), wanted=spec(settings=settings), node1=server(slots=slots)
    )
    assert (found.target, found.reason) == ("node1", reason)


@pytest.mark.parametrize(
    ("name", "own", "found"),
    [
        ("node3", standby(watched=1), None),
        ("node3", standby(watched=2), "node1"),
        ("node3", standby(watched=-1), "node1"),
        ("node3", standby(), None),
        ("node3", None, None),
        ("node3", standby(upstream_host="10.0.0.2", watched=2), None),
        # What it has replayed is older.
        ("node3", standby(upstream_host="10.0.0.2", watched=1), None),
        ("node3", ON_STRANGER, None),
        ("node4", server(watched=1), None),
        ("node4", server(watched=2), "node1"),
        ("node1", server(watched=-1), None),
    ],
)
def test_whom_repmgrd_does_not_watch(name, own, found):
    assert upstreams.not_watched(SPEC, NODES[name], own, "node1") == found


OWN_WORDS = {"sends_as": "node3", "passfile": "/etc/repmgr/pgpass", "slot_used": "repmgr_slot_3"}
BY_HAND = {
    "another name": ({"sends_as": "walreceiver"}, "application_name 'walreceiver', not as node3"),
    "another password file": ({"passfile": ""}, "does not name /etc/repmgr/pgpass"),
    "no slot": ({"slot_used": ""}, "it uses no slot, not repmgr_slot_3"),
    "another slot": ({"slot_used": "theirs"}, "it uses theirs, not repmgr_slot_3"),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_standby_that_others_set_up_is_known_by_its_name_afterwards(case):
    change, words = BY_HAND[case]
    found = move(standby(**{**OWN_WORDS, **change}))
    assert (found.target, words in found.reason) == ("node1", True), found


def test_one_of_ours_stays():
    assert move(standby(**OWN_WORDS)).reason == ""
    # Nothing is known of it, as by an older minion.
    assert move(standby()).reason == ""


def test_without_slots_it_gives_its_slot_up():
    without = spec(settings={"use_replication_slots": False})
    found = move(standby(**OWN_WORDS), wanted=without)
    assert "it uses repmgr_slot_3, and pillar wants none" in found.reason
    assert move(standby(**{**OWN_WORDS, "slot_used": ""}), wanted=without).reason == ""
