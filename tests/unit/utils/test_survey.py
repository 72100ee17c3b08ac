"""What all nodes said, taken together."""

import dataclasses

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Slot
from tests.unit.utils.test_plan import BARE
from tests.unit.utils.test_plan import FOREIGN
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import control
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

SLOTS = (Slot("repmgr_slot_2", "physical", True), Slot("repmgr_slot_3", "physical", True))
ATTACHED = Repmgrd("active", 100, 1.0, True, False)


def report(observation, **changes):
    """What a minion returns for repmgr_node.report."""
    return {
        "problems": [],
        "cluster": SPEC.cluster,
        "version": 15,
        "resolution": {name: node.host for name, node in NODES.items()},
        "observation": facts.to_dict(observation),
        **changes,
    }


def bare(**changes):
    replies = {name: report(seen(name)) for name in NODES}
    replies.update(changes)
    return {name: reply for name, reply in replies.items() if reply is not None}


def healthy(**changes):
    """A cluster as it should be; changes are to the observations."""
    top, down = server(slots=SLOTS), standby()
    lies = data(standby=True, control=control(state="in archive recovery"))
    witness = data(control=control(FOREIGN))
    all_seen = {
        "node1": seen("node1", data(), top, node2=down, node3=down),
        "node2": seen("node2", lies, down, node1=top, node3=down),
        "node3": seen("node3", lies, down, node1=top, node2=down),
        "node4": seen("node4", witness, server(ident=FOREIGN), node1=top, node2=down, node3=down),
    }
    for name, change in changes.items():
        all_seen[name] = change(all_seen[name])
    return {
        name: report(dataclasses.replace(o, repmgrd=ATTACHED) if o.repmgrd == Repmgrd() else o)
        for name, o in all_seen.items()
    }


def lines(replies, **options):
    return [ailment.line for ailment in survey.ailments(SPEC, replies, **options)]


def test_a_first_build():
    found = survey.survey(SPEC, bare())
    assert found.problems == ()
    assert (found.primary, found.run["new"]) == ("node1", True)
    assert found.waves == (("node1",), ("node2", "node3"))
    assert found.witnesses == ("node4",)
    assert found.order == "node1, then node2 and node3, then node4"


def test_waves_follow_the_upstreams_of_the_live_cluster():
    nodes = {**NODES, "node3": dataclasses.replace(NODES["node3"], upstream="node2")}
    spec = dataclasses.replace(SPEC, nodes=nodes)
    assert survey.order(spec, "node1") == [["node1"], ["node2"], ["node3"]]
    # After a failover to node2, its downstream is on the second wave.
    assert survey.order(spec, "node2") == [["node2"], ["node1", "node3"]]
    assert survey.order(spec, "node3") == [["node3"], ["node1", "node2"]]


def test_a_primary_whose_minion_is_silent_is_no_primary_that_is_down():
    replies = {n: r for n, r in healthy().items() if n != "node1"}
    found = survey.survey(SPEC, replies)
    assert (found.problems, found.primary, found.asleep) == ((), "node1", ())
    assert found.missing == {"node1": "its minion does not answer ('salt node1 test.ping')"}


def test_others_that_are_down_are_started_before_a_primary_that_is():
    lies = data(standby=True, control=control(state="shut down in recovery"))
    own = {
        "node1": seen("node1", data()),
        "node2": seen("node2", lies, member=True),
        "node3": seen("node3", lies, standby(), member=True),
        "node4": seen("node4", data(control=control(FOREIGN)), member=True),
    }
    replies = {name: report(observation) for name, observation in own.items()}
    found = survey.survey(SPEC, replies)
    assert (found.primary, found.asleep) == ("node1", ("node2", "node4"))
    assert found.order == "start of node2 and node4, then node1, then node2 and node3, then node4"
    # Without the start check it needs nobody.
    assert survey.survey(dataclasses.replace(SPEC, fence=False), replies).asleep == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster": "other"}, "repmgr.cluster: node2 gets 'other'"),
        ({"version": 17}, "repmgr.postgres.version: "),
        (
            {"resolution": {**{n: "x" for n in NODES}, "node3": ""}},
            "repmgr.nodes.node3.host: node2 cannot resolve '10.0.0.3'",
        ),
        ({"problems": ["repmgr.password: is missing"]}, "node2: repmgr.password: is missing"),
    ],
)
def test_what_a_minion_says_stops_everything(change, words):
    replies = bare(node2=report(seen("node2"), **change))
    (problem,) = survey.survey(SPEC, replies).problems
    assert problem.startswith(words)


def test_names_need_not_resolve_where_etc_hosts_is_kept():
    spec = dataclasses.replace(SPEC, manage_hosts=True)
    unresolved = {"resolution": {name: "" for name in NODES}}
    replies = {name: report(seen(name), **unresolved) for name in NODES}
    assert survey.survey(spec, replies).problems == ()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "its minion does not answer"),
        ("'repmgr_node.report' is not available.", "salt-pip install"),
        ("The minion function caused an exception: ...", "caused an exception"),
    ],
)
def test_a_witness_that_cannot_take_part_is_named_and_left_out(reply, words):
    found = survey.survey(SPEC, bare(node4=reply))
    assert found.problems == ()
    assert found.witnesses == ()
    assert words in found.missing["node4"]
    assert any(
        words in line
        for line in lines(
            {**healthy(), "node4": reply}
            if reply
            else {k: v for k, v in healthy().items() if k != "node4"}
        )
    )


def test_no_answer_from_anybody_is_a_problem():
    found = survey.survey(SPEC, {})
    assert len(found.problems) == len(NODES)
    assert found.primary is None


def test_a_healthy_cluster_has_no_ailments():
    assert lines(healthy()) == []


def replaced(**changes):
    return lambda seen_by: dataclasses.replace(seen_by, **changes)


def with_server(**changes):
    return lambda o: dataclasses.replace(o, server=dataclasses.replace(o.server, **changes))


@pytest.mark.parametrize(
    ("name", "change", "words", "settles"),
    [
        ("node2", replaced(repmgrd=Repmgrd("failed")), "repmgrd does not run (unit: failed)", True),
        (
            "node1",
            replaced(repmgrd=dataclasses.replace(ATTACHED, paused=True)),
            "repmgrd is paused, no failover will happen",
            False,
        ),
        ("node3", with_server(receiver=None), "does not stream (WAL receiver: none)", True),
        ("node3", with_server(upstream_host="10.9.9.9"), "from node1 (10.0.0.1), not from 10.9.9.9", False),
        ("node2", with_server(timeline=0), "on timeline 0, the primary is on 1", True),
    ],
)
def test_each_ailment_is_one_line(name, change, words, settles):
    (ailment,) = survey.ailments(SPEC, healthy(**{name: change}))
    assert ailment.line.startswith(f"{name}: ")
    assert words in ailment.line
    assert ailment.settles is settles


def test_what_is_left_to_do_is_an_ailment():
    replies = healthy()
    replies["node3"] = report(seen("node3", BARE, node1=server(), node2=standby()))
    (line,) = lines(replies)
    assert line.startswith("node3: still to do: clone (")


def test_a_dry_run_tells_what_a_real_one_would_do():
    told = lines(bare(), test=True)
    assert told[0].startswith("node1: still to do: create (")
    assert told[1].startswith("node2: still to do: clone (")


def test_two_primaries_are_one_line():
    both = {
        "node1": report(seen("node1", data(), server())),
        "node2": report(seen("node2", data(), server(timeline=2))),
        "node3": report(seen("node3", BARE, node1=server(), node2=server(timeline=2))),
        "node4": report(seen("node4", BARE)),
    }
    (line,) = lines(both)
    assert line.startswith("2 nodes act as primary")


ABSENT = dataclasses.replace(
    SPEC, nodes={**NODES, "node3": dataclasses.replace(NODES["node3"], absent=True)}
)


def without(name, replies):
    return {n: r for n, r in replies.items() if n != name}


def test_a_node_that_is_to_leave_is_asked_as_long_as_the_cluster_knows_it():
    replies = without("node3", healthy())
    assert survey.leavers(ABSENT, replies) == ["node3"]
    forgotten = server(nodes=tuple(r for r in server().nodes if r.node_id != 3))
    replies = {
        "node1": report(seen("node1", data(), forgotten)),
        "node2": report(seen("node2", data(standby=True), node1=forgotten)),
    }
    assert survey.leavers(ABSENT, replies) == []


def test_a_node_leaves_and_the_primary_clears_up():
    found = survey.survey(ABSENT, healthy())
    assert (found.problems, found.leaving, found.tidying) == ((), ("node3",), ("node1",))
    assert "node3" not in found.nodes
    assert found.order == "node1, then node2, then node3 to leave, then node4"


def test_a_dead_node_leaves_without_its_minion():
    found = survey.survey(ABSENT, without("node3", healthy()))
    assert (found.problems, found.leaving, found.tidying) == ((), (), ("node1",))
    assert "nothing is done on its host" in found.missing["node3"]


def test_a_silent_minion_does_not_hide_that_the_majority_would_go():
    streams = Sender("node3", "streaming", None, None, None)
    replies = {"node1": report(seen("node1", data(), server(senders=(streams,))))}
    (problem,) = survey.survey(ABSENT, replies).problems
    assert problem.startswith("without node3, 1 of 3 nodes")


def test_nobody_is_cleared_up_after_in_a_healthy_cluster():
    found = survey.survey(SPEC, healthy())
    assert (found.leaving, found.tidying) == ((), ())


def test_a_slot_of_nobody_is_told_and_cleared_away():
    slots = (
        *SLOTS,
        Slot("repmgr_slot_9", "physical", False, "0/1", 16),
        Slot("backup", "physical", False),
    )
    replies = healthy(node1=with_server(slots=slots))
    assert survey.survey(SPEC, replies).tidying == ("node1",)
    found = survey.ailments(SPEC, replies)
    assert all(a.note for a in found)
    assert ["repmgr_slot_9" in found[0].line, "backup" in found[1].line] == [True, True]


def test_what_is_still_registered_is_an_ailment():
    (found,) = survey.ailments(ABSENT, without("node3", healthy()))
    assert found.line.startswith("node3: is marked 'ensure: absent' and still registered")
    assert not found.note


def test_what_pillar_does_not_know_is_told():
    spec = dataclasses.replace(SPEC, nodes={n: s for n, s in NODES.items() if n != "node3"})
    (found,) = survey.ailments(spec, without("node3", healthy()))
    assert "node 3 (node3) is registered, but not in pillar" in found.line
    assert found.note
