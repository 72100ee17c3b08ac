"""May the passwords of pillar be put in force? Each thing that stands against it, one at a time."""

import dataclasses

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import rotation
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import Passwords
from saltext_repmgr.utils.facts import Repmgrd
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_switchover import PRIMARY
from tests.unit.utils.test_switchover import STANDBY
from tests.unit.utils.test_switchover import said  # noqa: F401  pylint: disable=unused-import

NODES = ("node1", "node2", "node3", "node4")
STALE = Passwords(role=False, stale=NODES, digest="same")
DONE = Passwords(role=True, digest="same")


def more(fact, **changes):
    return dataclasses.replace(fact, **changes)


@pytest.fixture
def found():
    return {name: STALE for name in NODES}


def examine(seen, held, missing=None):
    return rotation.examine(SPEC, seen, missing or {}, held)


def test_all_is_well(said, found):  # noqa: F811  pylint: disable=redefined-outer-name
    plan = examine(said, found)
    assert (plan.primary, plan.roles, plan.nodes, plan.problems) == (
        "node1",
        ("repmgr",),
        NODES,
        (),
    )
    assert "the password of role repmgr is changed on witness node4" in plan.steps


def test_nothing_is_due(said, found):  # noqa: F811  pylint: disable=redefined-outer-name
    plan = examine(said, {name: DONE for name in NODES})
    assert (plan.roles, plan.steps) == ((), ())


@pytest.mark.parametrize(
    ("late", "roles"),
    [
        (Passwords(role=True, stale=("node1",)), ("repmgr",)),
        (Passwords(role=False), ("repmgr",)),
        (Passwords(role=None), ()),
        (Passwords(role=True, router_role=False), ("pgbouncer",)),
        (Passwords(role=True, router_role=True, router_stale=True), ("pgbouncer",)),
        (Passwords(role=False, router_role=False), ("repmgr", "pgbouncer")),
        (Passwords(role=True, router_role=True, detour=True), ("pgbouncer",)),
    ],
)
def test_one_host_is_enough(late, roles):
    assert rotation.due({"node1": DONE, "node2": late}) == roles


def test_a_change_that_was_not_ended_is_named():
    found = {"node1": more(DONE, router_role=True, detour=True), "node2": DONE}
    assert [a.line for a in rotation.ailments(found)] == [
        "role pgbouncer_detour is left over from an unfinished change of passwords ('salt-run repmgr.rotate_password'"
        " finishes it)"
    ]


def without(seen, held):
    del seen["node3"], held["node3"]
    return {"node3": "its minion does not answer"}


def another_pillar(seen, held):
    held["node2"] = more(STALE, digest="another")


def no_stream(seen, held):
    seen["node2"] = more(seen["node2"], server=more(STANDBY, receiver=None))


def no_server(seen, held):
    seen["node2"] = more(seen["node2"], running=False, server=None, member=True)
    for name in ("node1", "node3", "node4"):
        members = {k: v for k, v in seen[name].members.items() if k != "node2"}
        seen[name] = more(seen[name], members=members)


def paused(seen, held):
    seen["node3"] = more(seen["node3"], server=more(STANDBY, replay_paused=True))


def behind(seen, held):
    seen["node3"] = more(seen["node3"], server=more(STANDBY, replay_lsn="0/1"))


def no_daemon(seen, held):
    seen["node2"] = more(seen["node2"], repmgrd=Repmgrd("failed"))


def two(seen, held):
    seen["node2"] = more(seen["node2"], data=seen["node1"].data, server=PRIMARY)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (without, "node3: its minion does not answer; start it first"),
        (another_pillar, "the pillars of these hosts differ: node1 and node3 and node4; node2"),
        (no_stream, "node2 does not stream"),
        (no_server, "PostgreSQL on node2 does not answer"),
        (paused, "replay is paused on node3"),
        (behind, "bytes behind; wait"),
        (no_daemon, "repmgrd does not run on node2"),
        (two, "2 nodes act as primary"),
    ],
)
def test_it_is_refused(
    said, found, broken, words
):  # noqa: F811  pylint: disable=redefined-outer-name
    missing = broken(said, found)
    (problem,) = examine(said, found, missing).problems
    assert words in problem


def test_what_was_begun_goes_on_without_those_that_are_away(
    said, found  # noqa: F811  pylint: disable=redefined-outer-name
):
    found["node1"] = more(STALE, role=True)
    plan = examine(said, found, without(said, found))
    assert plan.problems == ()
    assert plan.nodes == ("node1", "node2", "node4")


@pytest.mark.parametrize("silent", [False, True])
def test_one_that_is_drained_is_not_waited_for(
    said, found, silent
):  # noqa: F811  pylint: disable=redefined-outer-name
    no_server(said, found)
    fact = Drained(1.0, "root", "new disk")
    said["node2"] = more(said["node2"], drained=fact)
    missing = {}
    if silent:
        del said["node2"], found["node2"]
        missing = {"node2": "its minion does not answer"}
        nodes = tuple(more(r, drained=fact) if r.node_name == "node2" else r for r in PRIMARY.nodes)
        said["node1"] = more(said["node1"], server=more(said["node1"].server, nodes=nodes))
    plan = examine(said, found, missing)
    assert (plan.nodes, plan.problems) == (("node1", "node3", "node4"), ())
    # And when the others have it, that is all.
    done = {name: STALE if name == "node2" else DONE for name in found}
    assert examine(said, done, missing).roles == ()
    assert list(rotation.ailments(done, away=["node2"])) == []


def test_one_that_is_still_to_be_made_takes_no_part(
    said, found  # noqa: F811  pylint: disable=redefined-outer-name
):
    no_server(said, found)
    said["node2"] = more(said["node2"], member=False, repmgrd=Repmgrd())
    found["node2"] = Passwords(digest="same")
    plan = examine(said, found)
    assert (plan.problems, plan.nodes) == ((), ("node1", "node3", "node4"))


def test_it_is_told_who_has_another(found):
    replies = {name: {"passwords": facts.to_dict(DONE)} for name in NODES}
    assert list(rotation.ailments(rotation.read(replies))) == []
    replies["node2"] = {"passwords": facts.to_dict(STALE)}
    (line,) = [a.line for a in rotation.ailments(rotation.read({**replies, "node3": "some error"}))]
    assert line == (
        "pillar's password of role repmgr is not in force on node2"
        " ('salt-run repmgr.rotate_password')"
    )
