"""May the primary be moved? Each thing that stands against it, one at a time."""

import dataclasses

import pytest

from saltext_repmgr.utils import switchover
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.spec import PgBouncerSpec
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import control
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

ROOM = {"max_wal_senders": 10, "max_replication_slots": 10}
LIES = data(standby=True, control=control(state="in archive recovery"))


def sender(name, replay="0/5000000"):
    return Sender(name, "streaming", replay, replay, "async")


DRAINED = Drained(0.0, "alice")
PRIMARY = server(senders=(sender("node2"), sender("node3")), **ROOM)
STANDBY = standby(replay_paused=False, **ROOM)


def more(fact, **changes):
    return dataclasses.replace(fact, **changes)


@pytest.fixture
def said():
    servers = {
        "node1": (data(), PRIMARY),
        "node2": (LIES, STANDBY),
        "node3": (LIES, STANDBY),
        "node4": (data(), server(ident="7")),
    }
    daemon = Repmgrd("active", 100, 1.0, True, False)
    return {n: more(seen(n, lies, own), repmgrd=daemon) for n, (lies, own) in servers.items()}


def examine(said, target="node2", spec=SPEC, missing=None):
    return switchover.examine(spec, said, missing or {}, target)


def test_all_is_well(said):
    found = examine(said)
    assert (found.primary, found.target, found.done, found.problems) == (
        "node1",
        "node2",
        False,
        (),
    )
    assert "node3, node4 follow node2" in found.steps
    assert "PgBouncer" not in " ".join(found.steps)


@pytest.mark.parametrize(
    ("wanted", "away", "words"),
    [
        (1, (), ""),
        (("node2", "node3"), (), ""),
        (
            ("node2", "node3"),
            ("node3",),
            "wait for 1 of node3, and after the switchover none of them would stream from node2",
        ),
        (
            2,
            ("node3",),
            "wait for 2 of node1, node3, and after the switchover only node1 would stream",
        ),
    ],
)
def test_a_commit_on_the_new_primary_has_somebody_to_wait_for(said, wanted, away, words):
    for name in away:
        said[name] = more(said[name], drained=DRAINED)
    told = examine(said, spec=more(SPEC, synchronous=wanted))
    (check,) = [c for c in told.checks if c.name == "synchronous standbys"]
    assert words in check.problem and bool(words) is bool(check.problem)


def test_who_streams_from_the_candidate_already_confirms_its_commits(said):
    spec = more(SPEC, synchronous=("node2", "node3"))
    said["node3"] = more(said["node3"], server=more(STANDBY, upstream_host="10.0.0.2"))
    assert examine(said, spec=spec).problems == ()


def test_who_goes_back_below_the_old_primary_does_not_confirm(said):
    nodes = {**SPEC.nodes, "node3": more(SPEC.nodes["node3"], upstream="node1")}
    spec = more(SPEC, synchronous=("node2", "node3"), nodes=nodes)
    (problem,) = examine(said, spec=spec).problems
    assert "wait for 1 of node3, and after the switchover none of them" in problem


def test_a_candidate_that_is_restarted_before_may_lag_and_have_no_room(said):
    lagging = more(PRIMARY, senders=(sender("node2", "0/1000000"), sender("node3")))
    said["node1"] = more(said["node1"], server=lagging)
    said["node2"] = more(said["node2"], server=more(STANDBY, replay_paused=True, max_wal_senders=1))
    assert len(examine(said).problems) == 3
    assert switchover.examine(SPEC, said, {}, "node2", due=["node2"]).problems == ()


def test_a_standby_with_less_than_the_candidate_would_stop_replaying(said):
    for name, most in (("node1", 100), ("node2", 200), ("node3", 100)):
        own = more(said[name].server, limits={"max_connections": most})
        said[name] = more(said[name], server=own)
    assert examine(said).problems == (
        "limits of the others: max_connections is 100 on node3 and 200 on node2. A standby with a"
        " lower value stops replaying: set one value for all nodes in 'postgres: settings' and run"
        " 'salt-run repmgr.restart' first",
    )
    assert examine(said, target="node3").problems == ()


def test_a_dry_run_names_the_routers(said):
    pgbouncer = PgBouncerSpec("secret-enough", ("app",), hosts={"router1": "10.0.0.60"})
    line = (
        "PgBouncer on router1 routes new connections to node2; with pool_mode session clients lose"
        " their present connection"
    )
    assert line in examine(said, spec=more(SPEC, pgbouncer=pgbouncer)).steps
    pooled = more(pgbouncer, settings={"pool_mode": "transaction"})
    line = "PgBouncer on router1 holds its clients, then routes them to node2"
    assert line in examine(said, spec=more(SPEC, pgbouncer=pooled)).steps


def test_one_that_is_drained_is_not_moved_to_and_does_not_follow(said):
    said["node3"] = more(said["node3"], running=False, server=None, drained=DRAINED)
    assert examine(said).problems == ()
    assert "node4 follows node2" in examine(said).steps
    assert "is drained" in examine(said, "node3").problems[0]


def test_a_primary_with_the_mark_of_one_that_is_drained_is_in_service(said):
    said["node1"] = more(said["node1"], drained=DRAINED)
    assert (examine(said).primary, examine(said).problems) == ("node1", ())


def test_it_is_the_primary_already(said):
    found = examine(said, "node1")
    assert found.done and not found.problems and not found.steps


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "node2"),
        ({"node2": {"replay_paused": True}}, "node3"),
        ({"node2": {"apply_delay": 300000}}, "node3"),
        ({"node3": {"lsn": "0/6000000"}}, "node3"),
        ({"node2": {"receiver": None}}, "node3"),
    ],
)
def test_without_a_name_the_fittest_is_taken(said, changes, expected):
    for name, change in changes.items():
        said[name] = more(said[name], server=more(said[name].server, **change))
    assert examine(said, None).target == expected


def test_priority_comes_first_and_zero_is_never_taken(said):
    nodes = {**NODES, "node3": more(NODES["node3"], priority=200)}
    assert examine(said, None, more(SPEC, nodes=nodes)).target == "node3"
    nodes = {n: more(node, priority=0) for n, node in NODES.items()}
    found = examine(said, None, more(SPEC, nodes=nodes))
    assert "no standby streams from the primary" in found.problems[0]


FULL = tuple(Slot(f"other_{n}", "physical", True) for n in range(9))
PROBLEMS = {
    "witness": ("node4", {}, "node4 is the witness"),
    "unknown": ("nodeX", {}, "nodeX is no node of foobar; choose one of node1, node2, node3"),
    "not streaming": ("node2", {"node2": {"receiver": None}}, "node2 does not stream"),
    "cascaded": ("node2", {"node2": {"upstream_host": "10.0.0.3"}}, "node2 streams from node3"),
    "timeline": ("node2", {"node2": {"timeline": 2}}, "node2 is on timeline 2, node1 on 1"),
    "lag": (
        "node2",
        {"node1": {"senders": (sender("node2", "0/1000000"),)}},
        "node2 is 67108864 bytes behind",
    ),
    "unknown lag": (
        "node2",
        {"node1": {"senders": (sender("other"),)}},
        "node1 does not say how far node2 is",
    ),
    "lag of a stream that only begins": (
        "node2",
        {"node1": {"senders": (sender("node2", None),)}},
        "node1 does not say how far node2 is",
    ),
    "replay paused": ("node2", {"node2": {"replay_paused": True}}, "replay is paused"),
    "delayed": (
        "node2",
        {"node2": {"apply_delay": 300000}},
        "recovery_min_apply_delay is set on node2: clients could not write until node2 has replayed",
    ),
    "archive fails": (
        "node2",
        {"node1": {"archive_failing": "000000010000000000000002"}},
        "archive_command fails for 000000010000000000000002,",
    ),
    "archive is behind": ("node2", {"node1": {"archive_waiting": 9}}, "9 WAL files wait"),
    "senders": ("node2", {"node2": {"max_wal_senders": 1}}, "max_wal_senders leaves 1 free"),
    "slots": ("node2", {"node2": {"slots": FULL}}, "max_replication_slots leaves 1 free"),
    "sibling": ("node2", {"node3": {"receiver": None}}, "node3 does not stream"),
    "two primaries": (
        "node2",
        {"node3": {"in_recovery": False, "timeline": 2}},
        "2 nodes act as primary, nothing was changed",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_stands_against_it(said, case):
    target, changes, words = PROBLEMS[case]
    for name, change in changes.items():
        said[name] = more(said[name], server=more(said[name].server, **change))
    found = examine(said, target)
    assert any(words in problem for problem in found.problems), found.problems


def test_replay_that_is_paused_for_want_of_limits_is_not_resumed(said):
    for name, most in (("node1", 90), ("node2", 60), ("node3", 90)):
        own = more(
            said[name].server, limits={"max_connections": most}, replay_paused=name == "node2"
        )
        said[name] = more(said[name], server=own)
    assert examine(said, target="node2").problems == (
        "candidate replays: replay is paused on node2; max_connections is 60 there and 90 on"
        " node1. Run 'salt-run repmgr.restart', which raises that; do not resume replay before:"
        " PostgreSQL would shut down",
    )
    found = switchover.examine(SPEC, said, {}, "node2", due=["node2"])
    assert found.problems == ()


@pytest.mark.parametrize("name", ["node2", "node3", "node4"])
def test_a_server_that_does_not_answer(said, name):
    said[name] = more(said[name], server=None)
    assert any(name in problem for problem in examine(said).problems)


def test_a_minion_that_does_not_answer(said):
    del said["node3"]
    found = examine(said, missing={"node3": "its minion does not answer"})
    assert found.problems[0].startswith("every member answers: node3: its minion does not answer")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attached": False}, "repmgrd on node3 does not run"),
        ({"paused": True}, "repmgrd on node3 is paused, perhaps for maintenance"),
    ],
)
def test_daemons(said, change, words):
    said["node3"] = more(said["node3"], repmgrd=more(said["node3"].repmgrd, **change))
    (problem,) = examine(said).problems
    assert words in problem


def test_guards(said):
    said["node3"] = more(said["node3"], guard=more(said["node3"].guard, attached=False))
    (problem,) = examine(said).problems
    assert "the guard on node3 does not run; run 'salt node3 state.apply repmgr.daemon'" in problem


def test_no_primary(said):
    said["node1"] = more(said["node1"], server=None)
    (problem,) = examine(said).problems
    assert problem.startswith("one primary: no node is the primary; run 'salt-run state.orch")


def test_a_cascaded_standby_stays_where_it_is(said):
    said["node3"] = more(said["node3"], server=more(STANDBY, upstream_host="10.0.0.2"))
    assert not any("node3" in step for step in examine(said).steps)
