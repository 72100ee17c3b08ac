"""What is said of a cluster, and the verdict."""

import dataclasses
import json

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import status
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.findings import size
from saltext_repmgr.utils.status import Verdict
from tests.unit.utils.test_plan import BARE
from tests.unit.utils.test_plan import FOREIGN
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import OURS
from tests.unit.utils.test_plan import RECORDS
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import record
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby
from tests.unit.utils.test_survey import ATTACHED
from tests.unit.utils.test_survey import bare
from tests.unit.utils.test_survey import healthy
from tests.unit.utils.test_survey import replaced
from tests.unit.utils.test_survey import report
from tests.unit.utils.test_survey import with_server

LYING = data(standby=True)
DOWN = replaced(server=None, running=False, data=LYING, repmgrd=Repmgrd("activating"))
RUNS = {"repmgrd_pid": 7, "repmgrd_paused": False}


def spec_of(*names, **changes):
    """The cluster of some of the nodes, with changes to them."""
    nodes = {n: dataclasses.replace(NODES[n], **changes.get(n, {})) for n in names}
    return dataclasses.replace(SPEC, nodes=nodes)


def reached(replies, name, member):
    """Let all others reach a node so."""
    for other in replies.values():
        if name in other["observation"]["members"]:
            other["observation"]["members"][name] = facts.to_dict(member)
    return replies


def without(name, member):
    """A healthy cluster in which a minion is silent, and others reach its server so."""
    replies = healthy()
    del replies[name]
    return reached(replies, name, member)


def down(name, change=None, reach=Reach.REFUSED):
    """A healthy cluster in which a server is down."""
    return reached(healthy(**{name: change or DOWN}), name, Member(reach))


def records(**changes):
    """The metadata with changes to the records of nodes."""
    return tuple(dataclasses.replace(r, **changes.get(r.node_name, {})) for r in RECORDS)


def found(replies, spec=SPEC):
    """Who is told what to do about what, the worst first."""
    told = status.examine(spec, replies).problems
    return [(p.severity.value, p.nodes, " ".join([p.what, *p.details]), p.step) for p in told]


def test_a_host_that_sorts_text_by_other_rules():
    """After a failover to it, an index does not find what is there."""
    other = (
        facts.Collation("app", "2.36", "2.41"),
        facts.Collation("shop", "2.36", "2.41"),
        facts.Collation("wiki", "153.120", "153.14"),
    )
    told = found(healthy(node2=with_server(collations=other)))
    assert [(severity, nodes) for severity, nodes, _, _ in told] == [("degraded", ("node2",))] * 2
    assert "collation version 2.41, app and shop were made with 2.36" in told[0][2]
    assert "collation version 153.14, wiki was made with 153.120" in told[1][2]
    assert "same release" in told[0][3]
    ((_, nodes, _, step),) = found(healthy(node1=with_server(collations=other[:1])))
    assert nodes == ("node1",) and "REINDEX DATABASE" in step


def test_nothing_to_say():
    told = status.examine(SPEC, healthy())
    assert (told.verdict, told.problems, told.primary) == (Verdict.HEALTHY, (), "node1")
    assert told.electors.names == ("node1", "node2", "node3", "node4")
    assert told.electors.ready == ("node2", "node3", "node4")
    assert told.electors.needed == 3


def test_exit_codes():
    assert {v.value: v.exit_code for v in Verdict} == {"healthy": 0, "degraded": 1, "broken": 2}


def two_primaries():
    return {
        "node1": report(seen("node1", data(), server())),
        "node2": report(seen("node2", data(), server(timeline=2, clients=5))),
        "node3": report(seen("node3", BARE, node1=server(), node2=server(timeline=2))),
    }


def leaderless():
    """The primary is down, and its standbys know it no more."""
    lost = standby(receiver=None, upstream_host=None)
    replies = {"node1": report(seen("node1", data()))}
    return {**replies, **{n: report(seen(n, LYING, lost)) for n in ("node2", "node3", "node4")}}


@pytest.mark.parametrize(
    ("replies", "nodes", "what", "step"),
    [
        (
            two_primaries(),
            ("node1", "node2"),
            "2 primaries at once node1: primary on timeline 1 at 0/5000000, started 2026-01-01,"
            f" 0 client session(s), system identifier {OURS} node2: primary on timeline 2 at"
            f" 0/5000000, started 2026-01-01, 5 client session(s), system identifier {OURS}",
            "stop PostgreSQL on the other",
        ),
        ({}, (), "no node could be asked", "salt-minion"),
        (bare(), (), "no primary answers: node1 has 'role: primary' in pillar", "makes node1 the"),
        (leaderless(), (), "no primary answers: node1 was the primary on", "ask again in some"),
        (
            {n: r for n, r in leaderless().items() if n != "node1"},
            (),
            "no primary answers, and node1 could not be asked and may be",
            "ask again in some seconds",
        ),
    ],
)
def test_broken(replies, nodes, what, step):
    told = status.examine(SPEC, replies)
    assert (told.verdict, told.primary) == (Verdict.BROKEN, None)
    worst = [p for p in found(replies) if p[0] == "broken"]
    assert len(worst) == 1 and found(replies)[0] == worst[0]
    assert worst[0][1] == nodes
    assert worst[0][2].startswith(what)
    assert step in worst[0][3]


def idle(name, retained=4096, **more):
    known = {"restart_lsn": "0/4000000" if retained else None, "wal_status": "reserved", **more}
    return Slot(name, "physical", False, retained_bytes=retained, **known)


def lost(name):
    return idle(name, 0, wal_status="lost")


def inactive():
    """A standby is down, and the metadata know it."""
    replies = down("node3")
    top = server(nodes=records(node3={"active": False}))
    replies["node1"]["observation"]["server"] = facts.to_dict(top)
    return reached(replies, "node1", Member(Reach.ANSWERED, server=top))


CASES = {
    "standby down": (
        down("node3"),
        ("node3",),
        "its PostgreSQL does not run, and it is active in repmgr's metadata; still to do: start (",
        "state.orchestrate",
    ),
    "standby down, inactive": (
        inactive(),
        ("node3",),
        "its PostgreSQL does not run, and it is inactive in repmgr's metadata; still to do: start (",
        "state.orchestrate",
    ),
    "server hangs": (
        down(
            "node3",
            replaced(server=None, server_error="timeout expired"),
            Reach.UNREACHABLE,
        ),
        ("node3",),
        "its PostgreSQL does not answer, and it is active in repmgr's metadata; the server on this host"
        " cannot be asked: timeout expired",
        "",
    ),
    "host dead": (
        without("node3", Member(Reach.UNREACHABLE)),
        ("node3",),
        "its minion does not answer ('salt node3 test.ping'); its host cannot be reached from"
        " node1, node2, node4, and it is active in repmgr's metadata",
        "",
    ),
    "minion silent, server refused": (
        without("node3", Member(Reach.REFUSED)),
        ("node3",),
        "its minion does not answer ('salt node3 test.ping'); its PostgreSQL does not run, and it",
        "",
    ),
    "minion silent, server lets nobody in": (
        without("node3", Member(Reach.REJECTED)),
        ("node3",),
        "its minion does not answer ('salt node3 test.ping'); its PostgreSQL refuses"
        " connections from node1, node2, node4",
        "",
    ),
    "minion silent, server answers": (
        without("node3", Member(Reach.ANSWERED, server=standby(**RUNS))),
        ("node3",),
        "its minion does not answer ('salt node3 test.ping'); its PostgreSQL answers the other nodes",
        "",
    ),
    "from afar: not streaming": (
        without("node3", Member(Reach.ANSWERED, server=standby(receiver=None, **RUNS))),
        ("node3",),
        "does not stream (WAL receiver: none)",
        "",
    ),
    "from afar: other data": (
        without(
            "node3",
            Member(Reach.ANSWERED, server=standby(ident=FOREIGN, **RUNS)),
        ),
        ("node3",),
        f"its system identifier is {FOREIGN}, the cluster's is {OURS}",
        "",
    ),
    "from afar: daemon": (
        without("node3", Member(Reach.ANSWERED, server=standby())),
        ("node3",),
        "repmgrd does not run",
        "",
    ),
    "extension missing": (
        {**healthy(), "node3": "'repmgr_node.report' is not available."},
        ("node3",),
        "saltext.repmgr is not installed on its minion (run 'salt-pip install saltext.repmgr' there); its",
        "",
    ),
    "pillar wrong on a minion": (
        {**healthy(), "node3": {"problems": ["repmgr.password: is missing"]}},
        (),
        "node3: repmgr.password: is missing",
        "correct the pillar",
    ),
    "pillars contradict each other": (
        {**healthy(), "node3": {**healthy()["node3"], "cluster": "other"}},
        (),
        "repmgr.cluster: the pillar of node3 says 'other'",
        "correct the pillar",
    ),
    "repmgrd down": (
        healthy(node3=replaced(repmgrd=Repmgrd("failed"))),
        ("node3",),
        "repmgrd does not run (unit: failed)",
        "",
    ),
    "repmgrd paused, on two nodes": (
        healthy(
            node2=replaced(repmgrd=dataclasses.replace(ATTACHED, paused=True)),
            node3=replaced(repmgrd=dataclasses.replace(ATTACHED, paused=True)),
        ),
        ("node2", "node3"),
        "repmgrd is paused, no failover will happen",
        "'salt -L node2,node3 repmgr_node.unpause'",
    ),
    "standby not streaming": (
        healthy(node3=with_server(receiver=None)),
        ("node3",),
        "does not stream (WAL receiver: none)",
        "",
    ),
    "timelines differ": (
        healthy(node3=with_server(timeline=0)),
        ("node3",),
        "is on timeline 0, the primary is on 1",
        "",
    ),
    "replay paused": (
        healthy(node3=with_server(replay_paused=True)),
        ("node3",),
        "its replay is paused",
        'pg_wal_replay_resume()" on node3',
    ),
    "replay paused for want of limits": (
        healthy(
            node1=with_server(limits={"max_connections": 90}),
            node3=with_server(replay_paused=True, limits={"max_connections": 60}),
        ),
        ("node3",),
        "its replay is paused",
        "max_connections is 60 there and 90 on node1. Run 'salt-run repmgr.restart'",
    ),
    "one member is cut off from another": (
        healthy(
            node3=lambda o: dataclasses.replace(
                o, members={**o.members, "node2": Member(Reach.UNREACHABLE, "timeout expired")}
            )
        ),
        ("node2",),
        "its PostgreSQL runs, and node3 cannot use it (unreachable)",
        "'salt node3 repmgr_pg.reachable host=10.0.0.2'",
    ),
    "slot of nobody": (
        healthy(node1=with_server(slots=(idle("backup", 64 << 20),))),
        ("node1",),
        "slot backup is inactive and keeps 64 MB of WAL; it belongs to no node",
        "pg_drop_replication_slot('backup')\" on node1",
    ),
    "slot of a node that streams from another": (
        healthy(node2=with_server(slots=(idle("repmgr_slot_3"),))),
        ("node2",),
        "slot repmgr_slot_3 is inactive and keeps 4096 B of WAL; it is node3's, which streams from"
        " node1",
        "if it is not needed: ",
    ),
    "slot of the primary itself": (
        healthy(node2=with_server(slots=(idle("repmgr_slot_1"),))),
        ("node2",),
        "slot repmgr_slot_1 is inactive and keeps 4096 B of WAL; it is node1's, which is no standby",
        "if it is not needed: ",
    ),
    "slot of a standby that is away": (
        healthy(node1=with_server(slots=(idle("repmgr_slot_2"),))),
        ("node1",),
        "slot repmgr_slot_2 is inactive and keeps 4096 B of WAL for node2",
        "bring node2 back before the disk of node1 is full, or give it up",
    ),
    "slot that lost its WAL": (
        healthy(node1=with_server(slots=(lost("repmgr_slot_2"),))),
        ("node1",),
        "slot repmgr_slot_2 has lost WAL that node2 needs",
        "clone node2 anew",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_degraded(case):
    replies, nodes, what, step = CASES[case]
    told = status.examine(SPEC, replies)
    assert (told.verdict, told.primary) == (Verdict.DEGRADED, "node1")
    (problem,) = [p for p in found(replies) if p[1] == nodes and p[2].startswith(what)]
    assert step in problem[3]
    assert {p[0] for p in found(replies)} == {"degraded"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"active": False}, "active is False, not True"),
        ({"priority": 50}, "priority is 50, not 100"),
        ({"location": "here"}, "location is 'here', not 'default'"),
        ({"conninfo": "host=x"}, "conninfo is 'host=x', not "),
        ({"upstream_node_id": 2}, "upstream_node_id is 2, not 1"),
        (None, "node 3 is not in the metadata"),
    ],
)
@pytest.mark.parametrize("silent", [False, True])
def test_metadata_that_contradict_pillar_or_reality(change, words, silent):
    wrong = records(node3=change or {})
    if change is None:
        wrong = tuple(r for r in RECORDS if r.node_name != "node3")
    top, down = server(nodes=wrong), standby(nodes=wrong, **RUNS)
    replies = {
        "node1": report(seen("node1", data(), top, node3=down)),
        "node3": report(seen("node3", LYING, down, node1=top)),
    }
    if silent:
        del replies["node3"]
    told = [p for p in found(replies) if p[1] == ("node3",) and words in p[2]]
    assert [(p[0], p[3]) for p in told] == [
        ("degraded", "'salt-run state.orchestrate repmgr.cluster' does it")
    ]


@pytest.mark.parametrize(
    ("spec", "words", "step"),
    [
        (
            spec_of("node1", "node2", "node4"),
            "it is registered as standby, and not in pillar",
            "add it to pillar, or 'salt node1 repmgr.standby_unregister node_id=3'",
        ),
        (
            spec_of(*NODES, node3={"absent": True}),
            "it is registered as standby, and 'ensure: absent' in pillar",
            "'salt node1 repmgr.standby_unregister node_id=3' removes it",
        ),
    ],
)
def test_who_is_registered_and_not_wanted(spec, words, step):
    (problem,) = [p for p in found(healthy(), spec) if p[1] == ("node3",)]
    assert problem == ("degraded", ("node3",), words, step)


def test_of_two_primaries_none_is_waited_for_as_a_standby():
    replies = two_primaries()
    replies["node1"] = report(seen("node1", data(), server(slots=(idle("repmgr_slot_2"),))))
    (problem,) = [p for p in found(replies) if p[1] == ("node1",)]
    assert problem[2].endswith("it is node2's, which is no standby of it")


@pytest.mark.parametrize("case", CASES)
def test_each_problem_names_the_next_step(case):
    for problem in found(CASES[case][0]):
        # A refusal of the plan has it in its own words.
        assert problem[3] or "'" in problem[2]


@pytest.mark.parametrize(
    ("streams", "words", "step"),
    [
        ("10.0.0.1", "it streams from node1, and pillar's upstream is node2", "standby_follow"),
        ("10.0.0.2", None, None),
    ],
)
def test_the_upstream_of_pillar(streams, words, step):
    spec = spec_of(*NODES, node3={"upstream": "node2"})
    upstream = 1 if streams == "10.0.0.1" else 2
    below = records(node3={"upstream_node_id": upstream})
    change = with_server(upstream_host=streams)
    top = server(nodes=below)
    replies = {
        "node1": report(dataclasses.replace(seen("node1", data(), top), repmgrd=ATTACHED)),
        "node2": report(seen("node2", LYING, standby(), node1=top)),
        "node3": report(change(seen("node3", LYING, standby(), node1=top))),
    }
    told = [p for p in found(replies, spec) if "pillar's upstream" in p[2]]
    assert [p[2] for p in told] == ([words] if words else [])
    assert all(step in p[3] for p in told)


def test_an_upstream_that_is_down_cannot_be_followed():
    spec = spec_of(*NODES, node3={"upstream": "node2"})
    (problem,) = [p for p in found(down("node2"), spec) if "pillar's upstream" in p[2]]
    assert problem[3] == "bring node2 back, or change pillar"


def of_two(**changes):
    replies = healthy(**changes)
    below = RECORDS[:2]
    for reply in replies.values():
        servers = [m["server"] for m in reply["observation"]["members"].values()]
        for one in [reply["observation"]["server"], *servers]:
            if one is not None:
                one["nodes"] = facts.to_dict(below)
    return {name: replies[name] for name in ("node1", "node2")}


def test_two_data_nodes_are_healthy_with_a_note():
    spec = spec_of("node1", "node2")
    told = status.examine(spec, of_two())
    assert told.verdict is Verdict.HEALTHY
    (note,) = told.problems
    assert (note.severity, note.nodes) == (Severity.NOTE, ())
    assert "no witness" in note.what and "role: witness" in note.step


def test_a_single_node_has_nobody_to_lose():
    top = server(nodes=(record("node1", "primary"),))
    alone = report(dataclasses.replace(seen("node1", data(), top), repmgrd=ATTACHED))
    assert found({"node1": alone}, spec_of("node1")) == []


@pytest.mark.parametrize(
    "replies",
    [
        down("node3"),
        without("node3", Member(Reach.UNREACHABLE)),
        healthy(node3=replaced(repmgrd=Repmgrd("failed"))),
        healthy(node3=replaced(repmgrd=dataclasses.replace(ATTACHED, paused=True))),
    ],
)
def test_the_next_failure_would_not_be_survived(replies):
    told = [p for p in found(replies) if p[1] == ()]
    assert told == [
        (
            "degraded",
            (),
            "if node1 is lost, no standby is promoted: 3 of 4 electors are needed, and without"
            " the primary 2 can vote",
            "bring node3 back",
        )
    ]


def test_where_nobody_is_promoted_a_person_is_told_whom():
    replies = without("node1", Member(Reach.UNREACHABLE))
    ahead = with_server(receiver=None, lsn="0/6000000")
    replies["node3"]["observation"] = facts.to_dict(
        ahead(facts.from_dict(facts.Observation, replies["node3"]["observation"]))
    )
    severity, _, what, step = found(replies)[0]
    assert severity == "broken" and "node1 could not be asked and may be the primary" in what
    assert step.startswith("repmgrd may be about to promote a standby: ask again in some seconds")
    assert step.endswith("then run 'salt node3 repmgr.standby_promote'")


def test_whose_repmgrd_watches_another_node_cannot_vote():
    """A witness finds a primary that was moved on purpose by and by."""
    replies = healthy(node4=with_server(watched=2))
    assert found(replies)[0] == (
        "degraded",
        ("node4",),
        "its repmgrd does not watch node1 and would not notice the loss of node1",
        "'salt node4 state.apply repmgr.daemon'",
    )
    assert status.examine(SPEC, replies).electors.ready == ("node2", "node3")


def test_who_is_inactive_or_cascaded_is_no_elector():
    changed = records(node3={"active": False}, node4={"upstream_node_id": 2})
    replies = healthy(node1=with_server(nodes=changed))
    assert status.examine(SPEC, replies).electors.names == ("node1", "node2")


def test_a_standby_below_another_has_no_vote_and_may_be_moved():
    nodes = records(node3={"upstream_node_id": 2}, node4={"active": False})
    told = [p for p in found(healthy(node1=with_server(nodes=nodes))) if p[1] == ()]
    assert [p[3] for p in told] == [
        "let node3 stream from node1 ('upstream' in pillar), or add or bring back a node"
    ]


def test_a_former_primary_that_is_down_says_how_it_comes_back():
    after = (
        record("node1", "primary", active=False),
        record("node2", "primary"),
        record("node3", "standby", 2),
        record("node4", "witness", 2),
    )
    top = server(timeline=2, nodes=after)
    replies = {
        "node1": report(seen("node1", data(), node2=top)),
        "node2": report(dataclasses.replace(seen("node2", data(), top), repmgrd=ATTACHED)),
    }
    (problem,) = [p for p in found(replies) if p[1] == ("node1",)]
    assert problem[2].startswith(
        "its PostgreSQL does not run, and it is inactive in repmgr's metadata; "
    )
    assert "still to do: rejoin (it was the primary on timeline 1 and is down)" in problem[2]


def test_the_data_are_plain_and_come_back():
    slot = Slot("repmgr_slot_2", "physical", True, "0/4000000", 4096, "reserved", "node2")
    told = status.examine(
        SPEC, healthy(node1=with_server(slots=(slot,)), node3=replaced(repmgrd=Repmgrd("failed")))
    )
    data = json.loads(json.dumps(status.to_data(told)))
    assert (data["format"], data["verdict"]) == (status.FORMAT, "degraded")
    assert facts.from_dict(status.ClusterStatus, data) == told


def test_a_wrong_pillar_is_broken():
    told = status.unknown(None, [("repmgr.password", "is missing"), ("repmgr.nodes", "is empty")])
    assert told.verdict is Verdict.BROKEN
    assert [p.what for p in told.problems] == [
        "repmgr.password: is missing",
        "repmgr.nodes: is empty",
    ]


def test_no_secret_is_told():
    every = [healthy(), two_primaries(), leaderless(), *(case[0] for case in CASES.values())]
    for replies in every:
        assert SPEC.password not in json.dumps(status.to_data(status.examine(SPEC, replies)))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (10239, "10239 B"),
        (10240, "10 kB"),
        (16 << 20, "16 MB"),
        (3 << 40, "3072 GB"),
        (30 << 40, "30 TB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text
