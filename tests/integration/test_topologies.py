"""The same loss in clusters of other shapes: the best standby takes over, all others follow it, the
metadata say so, and one orchestration later the cluster is whole."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

import pytest

from tests.failures import faults
from tests.failures import judge
from tests.failures import pillars
from tests.failures.running import Client
from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of

TAKEN_OVER_SECONDS = 60


@dataclass(frozen=True)
class Shape:
    """A cluster with so many data nodes, and what befalls its primary; ``changes`` are to the
    pillar's nodes."""

    nodes: int
    fault: faults.Fault
    witness: bool = False
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


SHAPES = {
    "two and a witness": Shape(2, faults.POWER_OFF, witness=True),
    "a cascaded standby": Shape(4, faults.KILL, changes={"node4": {"upstream": "node3"}}),
}
if LONG:
    SHAPES["five in two locations"] = Shape(
        *(5, faults.CUT),
        changes={"node4": {"location": "dc2"}, "node5": {"location": "dc2", "upstream": "node4"}},
    )


@pytest.mark.parametrize("name", SHAPES)
def test_a_primary_is_lost(wait, name):
    shape = SHAPES[name]
    options = {"nodes": shape.nodes, "witness": shape.witness, "preinstalled": True}
    with cluster_of("shape", pillar=pillars.for_client(), **options) as cluster:
        wanted = cluster.pillar["nodes"]
        cluster.publish(nodes={n: {**v, **shape.changes.get(n, {})} for n, v in wanted.items()})
        run = cluster.orchestrate()
        assert run.ok, run
        lose_the_primary(cluster, shape, wait)


def lose_the_primary(cluster, shape, wait):
    data = [f"node{n + 1}" for n in range(shape.nodes)]
    with Client(cluster.lab, data, "node1") as client:
        began = time.monotonic()
        shape.fault.strike(cluster.lab["node1"])
        row = client.wait_for_row(began, TAKEN_OVER_SECONDS, besides="node1")
        assert row, f"nobody took over within {TAKEN_OVER_SECONDS} s"
        rest = set(data) - {"node1", row.node}

        def all_follow():
            return {s for n in data if n != "node1" for s in cluster.streaming(n)} == rest

        wait(all_follow, what=f"{sorted(rest)} streaming")
        assert judge.two_writable(client.acks()) == []
    primary = "SELECT node_name FROM repmgr.nodes WHERE type = 'primary' AND active"
    for node in [*data[1:], *(["node3"] if shape.witness else [])]:
        wait(
            lambda n=node: cluster.sql(n, primary, "repmgr") == row.node,
            what=f"{node} knowing {row.node}",
        )
    shape.fault.undo(cluster.lab["node1"])
    cluster.lab.wait_for_minions()
    run = cluster.orchestrate()
    assert run.ok, run
    again = cluster.orchestrate()
    assert again.ok and again.changes == {}, again
