"""What the hosts with a PgBouncer say, and what is said of it."""

import dataclasses

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import healing
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import status
from saltext_repmgr.utils import status_text
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.facts import Guard
from saltext_repmgr.utils.facts import Router
from saltext_repmgr.utils.facts import Through
from saltext_repmgr.utils.routing import RouterStatus
from saltext_repmgr.utils.spec import PgBouncerSpec
from saltext_repmgr.utils.status import Verdict
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_survey import bare
from tests.unit.utils.test_survey import healthy

SPEC = dataclasses.replace(
    SPEC,
    pgbouncer=PgBouncerSpec(
        "secret-enough", ("app",), hosts={"node1": None, "router1": "10.0.0.60"}
    ),
)
GOOD = Router(
    "router1",
    installed=True,
    unit="active",
    daemon=Guard("active", 7, attached=True),
    hosts=("10.0.0.1",),
    points_to="node1",
    databases={"app": Through(in_recovery=False, ready=True)},
)
ABSENT = Through(error='FATAL: server login failed: FATAL database "app" does not exist')


def replies_of(replies, **changes):
    """Add what the two hosts with a PgBouncer say."""
    router = dataclasses.replace(GOOD, **changes)
    replies["node1"]["router"] = facts.to_dict(dataclasses.replace(GOOD, name="node1"))
    replies["router1"] = {"problems": [], "cluster": "foobar", "router": facts.to_dict(router)}
    return replies


def said(**changes):
    return [a.line for a in survey.ailments(SPEC, replies_of(healthy(), **changes))]


CASES = {
    "not installed": ({"installed": False}, "PgBouncer is not installed"),
    "down": ({"unit": "failed"}, "PgBouncer does not run (unit: failed)"),
    "no daemon": (
        {"daemon": Guard("inactive")},
        "repmgr-router does not run (unit: inactive): PgBouncer does not follow a new primary",
    ),
    "hangs": ({"error": "no answer"}, "PgBouncer does not answer: no answer"),
    "old primary": (
        {"points_to": "node2", "hosts": ("10.0.0.2",)},
        "PgBouncer routes clients to node2 (10.0.0.2), and node1 is the primary",
    ),
    "nowhere": (
        {"points_to": None, "hosts": ()},
        "PgBouncer routes clients to nowhere, and node1 is the primary",
    ),
    "paused": (
        {"paused": True, "databases": {}},
        "PgBouncer is paused, and does not resume by itself",
    ),
    "held": (
        {"paused": True, "held": True, "databases": {}},
        "PgBouncer holds its clients: a switchover or restart of the primary is under way",
    ),
    "read only": (
        {"databases": {"app": Through(in_recovery=True, ready=True)}},
        "app is read-only through PgBouncer",
    ),
    "refused": (
        {"databases": {"app": Through(error="no such user")}},
        "clients cannot use app through PgBouncer: no such user",
    ),
    "no function": (
        {"databases": {"app": Through(in_recovery=False, ready=False)}},
        "no client can log in to app through PgBouncer: its lookup function is missing",
    ),
}


def test_all_is_well():
    assert said() == []
    found = status.examine(SPEC, replies_of(healthy()))
    assert found.verdict is Verdict.HEALTHY
    assert found.routers == (
        RouterStatus("node1", True, "node1", False, True),
        RouterStatus("router1", True, "node1", False, True),
    )
    assert status_text.render(found).split("\n\n")[2].splitlines() == [
        "router   routes to  clients",
        "node1    node1      write",
        "router1  node1      write",
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_named_with_the_next_step(case):
    changes, words = CASES[case]
    (line,) = said(**changes)
    assert line.startswith(f"router1: {words} (")
    found = status.examine(SPEC, replies_of(healthy(), **changes))
    assert found.verdict is Verdict.DEGRADED
    (problem,) = found.problems
    assert (problem.nodes, problem.what, bool(problem.step)) == (("router1",), words, True)


def test_a_stopped_daemon_and_a_wrong_file_are_two_things():
    lines = said(daemon=Guard("inactive"), points_to="node2", hosts=("10.0.0.2",))
    assert len(lines) == 2
    assert "'salt router1 state.apply repmgr.pgbouncer'" in lines[1]


def test_a_database_that_does_not_exist_is_no_fault():
    replies = replies_of(healthy(), databases={"app": ABSENT})
    (ailment,) = survey.ailments(SPEC, replies)
    assert (ailment.note, ailment.what) == (True, "database app does not exist")
    found = status.examine(SPEC, replies)
    assert (found.verdict, found.routers[1].writable) == (Verdict.HEALTHY, None)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "its minion does not answer ('salt router1 test.ping')"),
        ("'repmgr_node.report' is not available.", "'repmgr_node.report' is not available."),
        ({"problems": ["repmgr.port: is wrong"]}, "repmgr.port: is wrong"),
        ({"problems": []}, "its own pillar lists no PgBouncer for it"),
    ],
)
def test_a_host_that_says_nothing_keeps_no_cluster_from_being_built(reply, words):
    replies = replies_of(bare())
    replies["router1"] = reply
    found = survey.survey(SPEC, replies)
    assert found.problems == ()
    assert (found.routers, found.missing) == (("node1",), {"router1": words})
    assert found.reason.endswith(f"; without router1: {words}")
    told = replies_of(healthy())
    told["router1"] = reply
    seen = status.examine(SPEC, told)
    assert (seen.routers[1], seen.verdict) == (RouterStatus("router1", False), Verdict.DEGRADED)
    assert [p.nodes for p in seen.problems] == [("router1",)]
    assert healing.curable(SPEC, told) == []


def test_those_that_answer_have_their_turn():
    assert survey.survey(SPEC, replies_of(healthy())).routers == ("node1", "router1")


def test_what_is_wrong_with_one_is_healed():
    assert healing.curable(SPEC, replies_of(healthy(), unit="failed")) != []


def test_a_facts_way_over_the_bus():
    assert facts.from_dict(Router, facts.to_dict(GOOD)) == GOOD
    assert routing.read(SPEC, replies_of(healthy()))[0]["router1"] == GOOD
