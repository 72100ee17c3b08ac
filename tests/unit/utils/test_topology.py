"""The tree of a cluster, put together from what everybody saw."""

import dataclasses

import pytest

from saltext_repmgr.utils import topology
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.topology import State
from tests.unit.utils.test_plan import BARE
from tests.unit.utils.test_plan import FOREIGN
from tests.unit.utils.test_plan import RECORDS
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import record
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby
from tests.unit.utils.test_survey import healthy
from tests.unit.utils.test_survey import replaced
from tests.unit.utils.test_survey import report
from tests.unit.utils.test_survey import with_server


def nodes(replies):
    found = topology.tree(topology.view(SPEC, replies))
    return {node.name: node for node in found}


def shape(replies):
    return [(name, node.depth) for name, node in nodes(replies).items()]


def without(name):
    return {n: reply for n, reply in healthy().items() if n != name}


def test_all_hang_on_the_primary():
    assert shape(healthy()) == [("node1", 0), ("node2", 1), ("node3", 1), ("node4", 1)]
    roles = [node.role for node in nodes(healthy()).values()]
    assert roles == ["primary", "standby", "standby", "witness"]


def test_a_cascade_is_what_streams_and_not_what_is_registered():
    replies = healthy(node3=with_server(upstream_host="10.0.0.2"))
    assert shape(replies) == [("node1", 0), ("node2", 1), ("node3", 2), ("node4", 1)]
    node = nodes(replies)["node3"]
    assert (node.upstream, node.registered_upstream) == ("node2", "node1")


def test_after_a_failover_the_new_primary_is_the_root():
    records = (
        record("node1", "primary", active=False),
        record("node2", "primary"),
        record("node3", "standby", 2),
        record("node4", "witness", 2),
    )
    top = server(timeline=2, nodes=records)
    replies = {
        "node1": report(seen("node1", data(), node2=top)),
        "node2": report(seen("node2", data(), top)),
    }
    assert shape(replies) == [("node2", 0), ("node1", 1), ("node3", 1), ("node4", 1)]
    assert [node.registered for node in nodes(replies).values()][:2] == ["primary", "primary"]
    assert nodes(replies)["node1"].active is False


def test_below_a_dead_primary_they_stay_where_they_are_registered():
    replies = {n: report(seen(n, BARE, standby(receiver=None))) for n in ("node2", "node3")}
    for name in replies:
        lost = seen(name, BARE, standby(receiver=None, upstream_host=None))
        replies[name] = report(lost)
    assert shape(replies) == [("node1", 0), ("node2", 1), ("node3", 1), ("node4", 1)]


def test_a_circle_hides_nobody():
    replies = {
        "node1": report(seen("node1")),
        "node2": report(seen("node2", BARE, standby(upstream_host="10.0.0.3"))),
        "node3": report(seen("node3", BARE, standby(upstream_host="10.0.0.2"))),
    }
    found = nodes(replies)
    assert set(found) == set(SPEC.nodes)
    assert (found["node2"].upstream, found["node3"].upstream) == ("node3", "node2")


def test_who_is_registered_and_not_in_pillar_is_shown():
    stranger = dataclasses.replace(RECORDS[2], node_id=9, node_name="old")
    records = (*RECORDS, stranger)
    found = nodes(healthy(node1=with_server(nodes=records)))
    assert (found["old"].in_pillar, found["old"].id, found["old"].depth) == (False, 9, 1)
    assert found["old"].state is State.UNKNOWN
    assert found["node3"].in_pillar


def test_who_is_silent_is_seen_by_the_others():
    found = nodes(without("node2"))["node2"]
    assert (found.minion, found.state, found.role) == (False, State.RUNNING, "standby")
    assert found.repmgrd == "down"
    daemon = {"repmgrd_pid": 7, "repmgrd_paused": True}
    replies = without("node2")
    down = standby(**daemon)
    replies["node1"] = report(seen("node1", data(), server(), node2=down))
    assert nodes({"node1": replies["node1"]})["node2"].repmgrd == "paused"


@pytest.mark.parametrize(
    ("reaches", "state"),
    [
        ((Reach.UNREACHABLE, Reach.REFUSED), State.DOWN),
        ((Reach.UNREACHABLE, Reach.UNREACHABLE), State.UNREACHABLE),
        ((Reach.REJECTED, Reach.UNREACHABLE), State.REJECTING),
        ((Reach.REJECTED, server()), State.RUNNING),
    ],
)
def test_who_got_the_furthest_knows_most(reaches, state):
    replies = {
        "node2": report(seen("node2", BARE, node1=reaches[0])),
        "node3": report(seen("node3", BARE, node1=reaches[1])),
    }
    assert nodes(replies)["node1"].state is state


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (replaced(server=None), State.STUCK),
        (replaced(server=None, running=False), State.DOWN),
    ],
)
def test_a_server_that_its_own_minion_cannot_ask(change, state):
    replies = {"node2": healthy(node2=change)["node2"]}
    assert nodes(replies)["node2"].state is state


def sender(name="node2", **more):
    known = {"state": "streaming", "sent_lsn": "0/5000000", "sync_state": "sync", **more}
    return Sender(name, replay_lsn=known.pop("replay_lsn", "0/4FFFF00"), **known)


@pytest.mark.parametrize(
    ("top", "down", "lag"),
    [
        # The primary's row counts, and what it measured.
        ({"senders": (sender(replay_lag=0.25),)}, {"replay_age": 90.0}, (256, 0.25)),
        # It forgets its measurements when nothing is written.
        ({"senders": (sender(),)}, {"replay_age": 90.0}, (256, 90.0)),
        ({"senders": (sender(replay_lsn="0/5000000"),)}, {"replay_age": 90.0}, (0, 0.0)),
        # It has no row for those who stream from another node, or not at all.
        ({}, {"replay_lsn": "0/4FFFFF0", "replay_age": 1.5}, (16, 1.5)),
        # What was replayed may have been written since the primary was asked.
        ({}, {"replay_lsn": "0/5000010", "replay_age": 1.5}, (0, 0.0)),
        ({}, {"replay_lsn": None}, (None, None)),
        ({"lsn": "0/6000000"}, {"replay_lsn": "0/5000000"}, (1 << 24, None)),
    ],
)
def test_the_lag_is_behind_the_primary(top, down, lag):
    changes = {"node1": with_server(**top), "node2": with_server(**down)}
    found = nodes(healthy(**changes))["node2"]
    assert (found.lag_bytes, found.lag_seconds) == lag
    assert found.sync_state == ("sync" if top.get("senders") else None)


def test_data_of_another_cluster_have_no_lag():
    down = with_server(replay_lsn="0/1", system_identifier=FOREIGN)
    assert nodes(healthy(node2=down))["node2"].lag_bytes is None


def test_a_primary_and_a_witness_have_no_lag():
    found = nodes(healthy())
    assert (found["node1"].lag_bytes, found["node4"].lag_bytes) == (None, None)


def test_slots_are_those_of_the_server():
    slot = Slot("repmgr_slot_2", "physical", True, "0/4000000", 4096, "reserved", "node2")
    assert nodes(healthy(node1=with_server(slots=(slot,))))["node1"].slots == (slot,)


def test_of_two_primaries_both_are_roots():
    replies = {
        "node1": report(seen("node1", data(), server())),
        "node2": report(seen("node2", data(), server(timeline=2))),
        "node3": report(seen("node3", BARE, standby(upstream_host="10.0.0.2"))),
    }
    assert shape(replies) == [("node1", 0), ("node4", 1), ("node2", 0), ("node3", 1)]
