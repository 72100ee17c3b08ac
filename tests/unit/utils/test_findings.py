"""What an election would come to, as the status tells it."""

import dataclasses

import pytest

from saltext_repmgr.utils import findings
from saltext_repmgr.utils import topology
from saltext_repmgr.utils.findings import Electors
from saltext_repmgr.utils.findings import Severity
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_survey import healthy

NAMES = ("node1", "node2", "node3", "node4")
ALL = Electors(NAMES, NAMES[1:], 3)


def told(elect=ALL, spec=SPEC, **records):
    """What is said of the next election; the records count as they are given."""
    seen = topology.view(SPEC, healthy())
    changed = {
        name: dataclasses.replace(record, **records.get(name, {}))
        for name, record in seen.records.items()
    }
    seen = dataclasses.replace(seen, spec=spec, records=changed)
    return [(p.severity, p.what, p.step) for p in findings._majority(seen, elect)]


def test_nothing_to_say_of_a_cluster_that_fails_over():
    assert told() == []


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ({"node1": {"location": "a"}}, "no other node is at its location, a"),
        (
            {"node1": {"location": "a"}, "node2": {"location": "b"}, "node3": {"location": "c"}},
            "no other node is at its location, a",
        ),
        # All but the primary, as the live records have it.
        ({"node2": {"priority": 0}, "node3": {"priority": 0}}, "has a priority above 0"),
    ],
)
def test_nobody_would_be_promoted(records, why):
    ((severity, what, step),) = told(**records)
    assert severity is Severity.DEGRADED
    assert what.startswith("if node1 is lost, nobody is promoted: ") and why in what
    assert "'priority' or 'location' in pillar" in step
    manual = dataclasses.replace(SPEC, settings={"failover": "manual"})
    assert told(spec=manual, **records) == []


def test_only_who_can_vote_now_counts():
    place = {"location": "a"}
    assert told(node1=place, node2=place) == []
    # Four electors of five answer; the only one beside the primary is not among them.
    four = Electors((*NAMES, "node5"), ("node3", "node4", "node3"), 3)
    ((_, what, _),) = told(four, node1=place, node2=place)
    assert "no other node is at its location" in what


def test_two_data_nodes_of_which_one_is_never_promoted():
    two = dataclasses.replace(SPEC, nodes={n: NODES[n] for n in ("node1", "node2")})
    elect = Electors(("node1", "node2"), ("node2",), 2)
    assert [severity for severity, *_ in told(elect, two)] == [Severity.NOTE]
    found = told(elect, two, node2={"priority": 0})
    assert [severity for severity, *_ in found] == [Severity.NOTE, Severity.DEGRADED]


def test_a_witness_has_nothing_to_elect_beside_one_data_node():
    one = dataclasses.replace(SPEC, nodes={n: NODES[n] for n in ("node1", "node4")})
    ((severity, what, step),) = told(Electors(("node1", "node4"), ("node4",), 2), one)
    assert severity is Severity.NOTE and "the only data node" in what
    assert step == "add a standby to pillar"


@pytest.mark.parametrize(
    ("electors", "synchronous", "advice"),
    [
        (4, 1, None),
        (5, 0, None),
        (5, 1, "write 'synchronous: 2' in pillar"),
        (5, 2, None),
        (5, ("node2",), "write 'synchronous: 2' in pillar"),
        (7, 2, "write 'synchronous: 3' in pillar"),
    ],
)
def test_a_majority_without_the_standby_that_confirmed(electors, synchronous, advice):
    names = (*NAMES, "node5", "node6", "node7")[:electors]
    elect = Electors(names, NAMES[1:], electors // 2 + 1)
    if len(elect.ready) < elect.needed:
        elect = dataclasses.replace(elect, ready=("node2", "node3", "node4", "node2"))
    found = told(elect, dataclasses.replace(SPEC, synchronous=synchronous))
    assert [step for *_, step in found] == ([advice] if advice else [])
    assert all(severity is Severity.NOTE for severity, *_ in found)
