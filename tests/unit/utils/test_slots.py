"""Which slots are out of place, and which of them are provably unused."""

import dataclasses

import pytest

from saltext_repmgr.utils import slots
from saltext_repmgr.utils.facts import Slot
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import RECORDS
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

ABSENT = {**NODES, "node3": dataclasses.replace(NODES["node3"], absent=True)}
UNKNOWN = {name: node for name, node in NODES.items() if name != "node3"}
FORGOTTEN = tuple(r for r in RECORDS if r.node_id != 3)
FED = (Slot("repmgr_slot_3", "physical", True),)


def strays(holder, name, nodes=NODES, records=RECORDS, active=False, primary="node1", **others):
    """The strays with one slot on ``holder``, beside the one that feeds node3 on node1."""
    servers = {"node1": server(nodes=records, slots=FED), "node2": standby(), "node3": standby()}
    servers |= others
    servers = {n: s for n, s in servers.items() if s is not None}
    found = servers[holder]
    more = (
        *(s for s in found.slots if s.slot_name != name),
        Slot(name, "physical", active, "0/1", 1000),
    )
    servers[holder] = dataclasses.replace(found, slots=more)
    return slots.strays(dataclasses.replace(SPEC, nodes=nodes), servers, primary)


@pytest.mark.parametrize(
    ("where", "words", "unused"),
    [
        ({"holder": "node1", "name": "repmgr_slot_9"}, "pillar has no node with the id 9", False),
        ({"holder": "node2", "name": "repmgr_slot_9"}, "pillar has no node with the id 9", False),
        ({"holder": "node1", "name": "backup"}, "does not belong to this cluster", False),
        ({"holder": "node1", "name": "repmgr_slot_1"}, "does not stream from this node", True),
        ({"holder": "node2", "name": "repmgr_slot_1"}, "node1 is the primary", True),
        ({"holder": "node1", "name": "repmgr_slot_4"}, "does not stream from this node", True),
        ({"holder": "node2", "name": "repmgr_slot_3"}, "node3 streams from node1", True),
        (
            {"holder": "node2", "name": "repmgr_slot_3", "node1": server()},
            "node3 streams from node1",
            False,
        ),
        (
            {"holder": "node1", "name": "repmgr_slot_3", "nodes": ABSENT, "records": FORGOTTEN},
            "node3 has left",
            True,
        ),
        ({"holder": "node1", "name": "repmgr_slot_3", "nodes": UNKNOWN}, "not in pillar", False),
    ],
)
def test_a_slot_out_of_place(where, words, unused):
    (found,) = strays(**where)
    assert words in found.why
    assert found.unused is unused
    assert f"{where['holder']} repmgr_pg.slot_drop {where['name']}" in found.line
    assert "keeps 1000 bytes" in found.line


@pytest.mark.parametrize(
    "where",
    [
        {"holder": "node2", "name": "repmgr_slot_9", "active": True},
        {"holder": "node1", "name": "repmgr_slot_3"},
        {"holder": "node1", "name": "repmgr_slot_3", "node3": None},
        {"holder": "node2", "name": "repmgr_slot_3", "node3": None},
        {"holder": "node2", "name": "repmgr_slot_3", "node3": standby(receiver=None)},
        {"holder": "node2", "name": "repmgr_slot_3", "node3": standby(upstream_host="10.9.9.9")},
        {"holder": "node1", "name": "repmgr_slot_3", "nodes": ABSENT},
        {"holder": "node1", "name": "repmgr_slot_9", "primary": None},
    ],
    ids=[
        "in use",
        "on its upstream",
        "its node is down",
        "its node is down, elsewhere",
        "its node does not stream",
        "its node streams from a stranger",
        "its node is about to leave",
        "no primary",
    ],
)
def test_a_slot_that_may_be_needed_is_left_in_peace(where):
    assert strays(**where) == []
