"""Wrong pillars, on real hosts: each is refused with its key named, and nothing changes."""

import pytest

from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of
from tests.malformed_pillars import CASES

# Every case runs as a unit test; on real hosts a part of them does, evenly spread over
# the table, so that every kind is among them. A long run takes all.
SAMPLE = 48


def test_malformed_pillars_are_refused():
    cases = CASES if LONG else CASES[:: max(1, len(CASES) // SAMPLE)]
    assert len(cases) >= 40
    with cluster_of("malformed", nodes=2) as hosts:
        names = [host.name for host in hosts.nodes]
        before = {name: hosts.fingerprint(name) for name in names}
        wrong = {}
        for case in cases:
            hosts.lab.set_pillar_files({"repmgr": {"repmgr": case.pillar}}, refresh=False)
            run = hosts.orchestrate()
            comment = run.step("preflight")["comment"]
            missing = [key for key in case.keys if f"{key}: " not in comment]
            if run.ok or run.steps != ["preflight"] or missing:
                wrong[case.name] = comment
        assert wrong == {}
        assert {name: hosts.fingerprint(name) for name in names} == before


def test_a_node_refuses_a_wrong_pillar_by_itself():
    with cluster_of("refusal", nodes=1) as hosts:
        before = hosts.fingerprint("node1")
        hosts.publish(subnet="10.77.0.0/33", password="x")
        states = hosts.apply("node1")
        assert [s["result"] for s in states.values()] == [False]
        (comment,) = [s["comment"] for s in states.values()]
        assert "repmgr.subnet" in comment and "repmgr.password" in comment
        hosts.lab.set_pillar_files({"repmgr": {}})
        (state,) = hosts.apply("node1").values()
        assert "there is no such key in this pillar" in state["comment"]
        assert hosts.fingerprint("node1") == before
