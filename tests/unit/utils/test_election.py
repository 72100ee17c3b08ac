"""Who can be promoted, and how many standbys have to confirm a commit."""

import itertools
from collections import namedtuple

import pytest

from saltext_repmgr.utils import election
from saltext_repmgr.utils import pillar
from tests.malformed.base import GOOD
from tests.malformed.base import changed

Voter = namedtuple("Voter", "location priority")


@pytest.mark.parametrize(
    ("voters", "why"),
    [
        ([], "no standby"),
        ([Voter("a", 0)], "has a priority above 0"),
        ([Voter("b", 100)], "no other node is at its location, a"),
        ([Voter("b", 100), Voter("c", 100)], "no other node is at its location, a"),
        # A witness at the primary's location is enough to see that it is not cut off with it.
        ([Voter("b", 100), Voter("a", 0)], ""),
        ([Voter("a", 1)], ""),
    ],
)
def test_why_nobody_is_promoted(voters, why):
    found = election.obstacle("a", voters)
    assert why in found and bool(found) == bool(why)


def test_each_node_of_a_pillar_that_may_be_the_primary():
    spec = pillar.read(changed({"nodes:node2:location": "dc2", "nodes:node1:priority": 0}))
    assert {n: bool(why) for n, why in election.obstacles(spec.members).items()} == {
        "node1": False,
        "node2": False,
        "node3": False,
    }
    # node4, the witness, is where node1 is; node3 is alone at its place.
    spec = pillar.read(changed({"nodes:node3:location": "dc3"}))
    found = election.obstacles(spec.members)
    assert [name for name, why in found.items() if why] == ["node3"]


def test_a_standby_below_another_one_has_no_vote():
    away = {"nodes:node1:location": "dc2", "nodes:node4:location": "dc4"}
    assert not election.obstacles(pillar.read(changed(away)).members)["node1"]
    # node3, the only other one at dc2, is below node2 now.
    spec = pillar.read(changed({**away, "nodes:node3:upstream": "node2"}))
    assert "location, dc2" in election.obstacles(spec.members)["node1"]


def test_nobody_need_be_promotable_where_nobody_is_promoted():
    locations = {f"nodes:node{n}:location": f"dc{n}" for n in (1, 2, 3, 4)}
    assert pillar.read(changed({**locations, "settings:failover": "manual"}))


def test_one_data_node_has_nobody_to_promote():
    nodes = {name: GOOD["nodes"][name] for name in ("node1", "node4")}
    assert pillar.read({**GOOD, "nodes": nodes})


@pytest.mark.parametrize("electors", range(1, 10))
def test_so_many_confirmations_that_every_majority_has_one(electors):
    """By all ways in which the electors besides the primary can be lost."""
    others, majority = range(1, electors), electors // 2 + 1

    def safe(confirming):
        groups = itertools.combinations(others, majority)
        return all(set(group) & set(range(1, confirming + 1)) for group in groups)

    needed = election.confirmations(electors)
    assert safe(needed)
    assert needed == 0 or not safe(needed - 1)


def test_the_table_in_the_documentation():
    assert [election.confirmations(n) for n in (3, 4, 5, 6, 7, 8)] == [1, 1, 2, 2, 3, 3]
