"""May a node be taken out of service, and who then says what of it."""

import pytest

from saltext_repmgr.utils import drain
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import healing
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import status
from saltext_repmgr.utils import survey
from saltext_repmgr.utils import switchover
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.status import Verdict
from saltext_repmgr.utils.status_text import render
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import RECORDS
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby
from tests.unit.utils.test_status import DOWN
from tests.unit.utils.test_status import down
from tests.unit.utils.test_survey import healthy
from tests.unit.utils.test_survey import replaced
from tests.unit.utils.test_switchover import LIES
from tests.unit.utils.test_switchover import PRIMARY
from tests.unit.utils.test_switchover import more
from tests.unit.utils.test_switchover import said  # pylint: disable=unused-import

FACT = Drained(1795413600.0, "alice", "new disk")
WORDS = "is drained since 2026-11-23 06:00 UTC by alice: new disk"
BACK = "'salt-run repmgr.back node2'"
KEPT = Slot("repmgr_slot_2", "physical", False, "0/4000000", 4096, "reserved")


def records(**changes):
    return tuple(more(r, **changes.get(r.node_name, {})) for r in RECORDS)


RECORDED = records(node2={"drained": FACT, "active": False})


class TestWrittenDown:
    @pytest.mark.parametrize("reason", ["", "new disk", "# manual\nauto", "défaut", '"}'])
    def test_what_is_read_is_what_was_written(self, reason):
        fact = drained.note("alice", reason, 1795413600)
        text = drained.start_file("node2", fact)
        assert drained.read(text) == fact
        # What Debian reads: the first word that is no comment.
        assert [line for line in text.splitlines() if not line.startswith("#")] == ["manual"]

    @pytest.mark.parametrize("text", ["", "auto\n", "# not drained: x\nmanual\n"])
    def test_other_texts_say_nothing(self, text):
        assert drained.read(text) is None

    @pytest.mark.parametrize("words", ["", "?", "7", '{"by": 1}', "{"])
    def test_a_mark_that_cannot_be_read_is_one(self, words):
        assert drained.read(f"# drained: {words}\nmanual\n") == Drained(0.0, "somebody")

    @pytest.mark.parametrize("text", [None, "", "standby registered", '{"by": 1}'])
    def test_other_events_say_nothing(self, text):
        assert drained.from_json(text) is None

    def test_a_later_version_may_say_more(self):
        text = drained.to_json(FACT).replace("{", '{"more": 1, ')
        assert drained.from_json(text) == FACT

    @pytest.mark.parametrize("reason", [None, 7, "x" * 501])
    def test_a_reason_is_a_text(self, reason):
        with pytest.raises(UsageError, match="reason must be a text"):
            drained.note("alice", reason, 0)


def examine(said, name="node2", spec=SPEC, missing=None, **options):
    return drain.examine(spec, said, missing or {}, name, **options)


def of(plan_, name):
    return next(check for check in plan_.checks if check.name == name)


def change(said, name, **changes):
    said[name] = more(said[name], server=more(said[name].server, **changes))


class TestChecks:
    def test_all_is_well(self, said):
        found = examine(said)
        assert (found.problems, found.primary, found.heir, found.done) == ((), "node1", None, False)
        assert of(found, "who can take over").finding == "node3"
        assert of(found, "majority").finding == "electors: node1, node3, node4"
        assert found.steps == (
            "node2 is marked as drained: on its host, and in repmgr's history on node1",
            "repmgrd, PostgreSQL and the guard on node2 are stopped and do not start at boot",
            "node2 is no longer an elector",
        )

    def test_the_primary_is_moved_first(self, said):
        found = examine(said, "node1", to="node3")
        assert (found.problems, found.heir) == ((), "node3")
        assert found.steps[0] == "the primary is moved from node1 to node3"
        assert of(found, "who can take over").finding == "node2"
        assert examine(said, "node1", to="node1").heir == "node2"

    def test_what_streams_from_who_takes_over_counts(self, said):
        change(said, "node3", upstream_host="10.0.0.2")
        found = examine(said, "node1")
        assert (found.problems, found.heir) == ((), "node2")
        assert of(found, "who can take over").finding == "node3"

    def test_what_keeps_the_primary_from_moving_keeps_it_from_being_drained(self, said):
        change(said, "node1", archive_waiting=9)
        (problem,) = examine(said, "node1", force=True).problems
        assert problem.startswith("switchover: archive: 9 WAL files wait")
        assert examine(said, "node2").problems == ()

    def test_what_streams_from_it_follows_the_primary(self, said):
        change(said, "node3", upstream_host="10.0.0.2")
        found = examine(said)
        assert found.problems == ()
        assert "node3 streams from node1" in found.steps
        assert of(found, "majority").finding == "electors: node1, node3, node4"

    def test_a_witness_carries_no_data(self, said):
        found = examine(said, "node4")
        assert found.problems == ()
        assert of(found, "majority").finding == "electors: node1, node2, node3"
        names = {c.name for c in found.checks}
        assert names.isdisjoint({"synchronous standbys", "who can take over", "WAL for it"})

    @pytest.mark.parametrize(
        ("limit", "keep", "words"),
        [
            (-1, None, "is dropped, because it would keep WAL without limit"),
            (None, None, "is dropped"),
            (1024, None, "stays and keeps WAL up to 1024 MB"),
            (-1, True, "stays and keeps WAL without limit"),
            (1024, False, "is dropped"),
        ],
    )
    def test_a_slot_stays_where_it_cannot_fill_the_disk(self, said, limit, keep, words):
        change(said, "node1", slots=(KEPT,), max_slot_wal=limit)
        finding = of(examine(said, keep_slot=keep), "WAL for it").finding
        assert finding.startswith("its slot on node1 ") and words in finding

    def test_of_three_without_a_witness_two_are_left(self, said):
        del said["node4"]
        change(said, "node1", nodes=RECORDS[:3])
        spec = drained.without(SPEC, ["node4"])
        found = examine(said, spec=spec)
        assert found.problems == ()
        assert "not after the loss of a host" in of(found, "majority").finding
        assert "is lost" not in of(examine(said, spec=more(spec, fence=False)), "majority").finding


def gone(said):
    del said["node3"]
    change(said, "node1", senders=PRIMARY.senders[:1])
    return {"node3": "its minion does not answer"}


def not_streaming(said):
    change(said, "node3", receiver=None)


def paused(said):
    said["node3"] = more(said["node3"], repmgrd=more(said["node3"].repmgrd, paused=True))


def no_daemon(said):
    said["node3"] = more(said["node3"], repmgrd=Repmgrd("failed"))


def no_guard(said):
    said["node3"] = more(said["node3"], guard=more(said["node3"].guard, attached=False))


def another(said):
    said["node3"] = more(said["node3"], drained=FACT, server=None, running=False)


def no_successor(said):
    change(said, "node3", upstream_host="10.0.0.9")


FORCIBLE = {
    "silent": (gone, "the others are in service: node3: its minion does not answer"),
    "not streaming": (not_streaming, "the others are in service: node3 does not stream"),
    "paused": (paused, "repmgrd on node3 is paused, perhaps for maintenance"),
    "no daemon": (no_daemon, "repmgrd on node3 does not run"),
    "no guard": (no_guard, "the guard on node3 does not run"),
    "drained": (another, f"one at a time: node3 {WORDS}. Bring it back first"),
    "no successor": (no_successor, "who can take over: without node2 no standby could take over"),
}


@pytest.mark.parametrize("case", FORCIBLE)
def test_is_refused_unless_forced(said, case):
    breaks, words = FORCIBLE[case]
    missing = breaks(said)
    told = "\n".join(examine(said, missing=missing).problems)
    assert words in told and "'force=True'" in told
    forced = examine(said, missing=missing, force=True)
    assert forced.problems == ()
    assert [c for c in forced.checks if c.finding.startswith("forced: ")]


NAMES = more(SPEC, synchronous=("node2",))
REFUSED = {
    "unknown": (
        "nodeX",
        SPEC,
        lambda said: None,
        "nodeX is no node of foobar; choose one of node1",
    ),
    "silent": (
        "node3",
        SPEC,
        gone,
        "its minion does not answer; nothing was changed",
    ),
    "synchronous": (
        "node2",
        more(SPEC, synchronous=2),
        lambda said: None,
        "wait for 2 of node2, node3, and without node2 only node3 would stream from node1: clients could",
    ),
    "synchronous by name": (
        "node2",
        NAMES,
        lambda said: None,
        "wait for 1 of node2, and without node2 none of them would stream",
    ),
    "unregistered": (
        "node2",
        SPEC,
        lambda said: change(said, "node1", nodes=(RECORDS[0], *RECORDS[2:])),
        "node2 is not registered",
    ),
    "two primaries": (
        "node2",
        SPEC,
        lambda said: change(said, "node3", in_recovery=False),
        "2 nodes act as primary, nothing was changed",
    ),
    "no primary": (
        "node2",
        SPEC,
        lambda said: change(said, "node1", in_recovery=True),
        "no node is the primary; run 'salt-run state.orchestrate repmgr.cluster' first",
    ),
    "no majority": (
        "node2",
        SPEC,
        lambda said: [said.pop("node3"), said.pop("node4")],
        "without node2, 1 of 3 electors would be up, which is no majority."
        " Bring back node3 or node4 first",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_with_force_too(said, case):
    name, spec, breaks, words = REFUSED[case]
    missing = breaks(said)
    missing = missing if isinstance(missing, dict) else {}
    assert words in "\n".join(examine(said, name, spec, missing, force=True).problems)


def test_synchronous_standbys_are_those_of_who_takes_over(said):
    spec = more(SPEC, synchronous=("node1", "node2"))
    (problem,) = examine(said, "node1", spec, to="node2").problems
    assert "every commit on node2 wait for 1 of node1, and without node1 none of them" in problem
    # node3 is outside of the list: it would wait for one of both, and node2 is left.
    assert examine(said, "node1", spec, to="node3").problems == ()


def out(said, running=False, active=False):
    """node2 is drained, by its own words and by the history."""
    change(said, "node1", nodes=records(node2={"drained": FACT, "active": active}))
    own = said["node2"].server if running else None
    said["node2"] = more(said["node2"], drained=FACT, server=own, running=running)
    return said


class TestAgain:
    def test_a_second_time_changes_nothing(self, said):
        assert examine(out(said)).done

    @pytest.mark.parametrize(
        ("limit", "keep", "done"),
        [(-1, None, False), (-1, True, True), (20480, None, True), (20480, False, False)],
    )
    def test_a_slot_that_should_have_gone_is_dropped(self, said, limit, keep, done):
        change(out(said), "node1", slots=(KEPT,), max_slot_wal=limit)
        assert examine(said, keep_slot=keep).done is done

    @pytest.mark.parametrize("left", [{"running": True}, {"active": True}])
    def test_what_was_cut_off_goes_on(self, said, left):
        found = examine(out(said, **left))
        assert (found.done, found.problems) == (False, ())

    def test_what_is_in_service_does_not_come_back(self, said):
        assert drain.examine_back(SPEC, said, {}, "node2").done

    def test_what_is_drained_does(self, said):
        spec = more(SPEC, nodes={**NODES, "node3": more(NODES["node3"], upstream="node2")})
        found = drain.examine_back(spec, out(said), {}, "node2")
        assert (found.done, found.problems) == (False, ())
        assert found.checks[0].finding == f"node2 {WORDS}"
        assert found.steps[-1] == "node3 streams from node2 again, as pillar says"

    def test_what_only_the_history_calls_drained_does_too(self, said):
        change(said, "node1", nodes=RECORDED)
        assert not drain.examine_back(SPEC, said, {}, "node2").done

    def test_without_a_primary_the_way_is_told(self, said):
        change(out(said), "node1", in_recovery=True)
        (problem,) = drain.examine_back(SPEC, said, {}, "node2").problems
        assert "'salt node2 repmgr_node.back'" in problem


class TestSwitchover:
    def test_who_is_drained_does_not_take_over(self, said):
        (problem,) = switchover.examine(SPEC, out(said), {}, "node2").problems
        assert problem == f"candidate: node2 {WORDS}; run {BACK} first"

    @pytest.mark.parametrize("silent", [False, True])
    def test_who_is_drained_is_not_waited_for(self, said, silent):
        out(said)
        missing = {}
        if silent:
            del said["node2"]
            missing = {"node2": "its minion does not answer"}
        found = switchover.examine(SPEC, said, missing, "node3")
        assert found.problems == ()
        assert "node4 follows node3" in found.steps


class TestPlan:
    def test_there_is_nothing_to_do(self):
        lies = data(standby=True)
        sees = more(seen("node2", lies, None, node1=server(nodes=RECORDED)), drained=FACT)
        assert plan.decide(SPEC, NODES["node2"], sees) == plan.Plan(
            None, notes=(f"node2 {WORDS}; run {BACK}",)
        )

    def test_once_it_may_start_it_is_registered_anew(self):
        lies = data(standby=True)
        sees = seen("node2", lies, None, node1=server(nodes=RECORDED))
        decided = plan.decide(SPEC, NODES["node2"], sees)
        assert [a.step for a in decided.actions] == [Step.START, Step.REGISTER]
        assert decided.actions[1].reason == "repmgr's history says that it is drained"

    @pytest.mark.parametrize("upstream", [None, "node2"])
    def test_what_streams_from_it_follows_the_primary(self, upstream):
        node = more(NODES["node3"], upstream=upstream)
        below = standby(upstream_host="10.0.0.2")
        sees = seen("node3", LIES, below, node1=server(nodes=RECORDED), node2=standby())
        decided = plan.decide(SPEC, node, sees)
        assert decided.action(Step.FOLLOW) and decided.source == "node1"

    def test_it_comes_back_below_the_primary_of_now(self):
        nodes = tuple(more(r, type="standby", upstream_node_id=3) for r in RECORDED[:2])
        top = server(nodes=(*nodes, more(RECORDS[2], type="primary", upstream_node_id=None)))
        sees = seen("node2", LIES, standby(), node1=standby(upstream_host="10.0.0.3"), node3=top)
        decided = plan.decide(SPEC, NODES["node2"], sees)
        assert (decided.actions[0].step, decided.source) == (Step.FOLLOW, "node3")

    def test_and_stays_there(self):
        node = more(NODES["node3"], upstream="node2")
        sees = seen("node3", LIES, standby(), node1=server(nodes=RECORDED), node2=standby())
        assert plan.decide(SPEC, node, sees).actions == ()


def drained_cluster(**top):
    """A cluster that is as it should be, but for node2, which is drained."""
    return history(down("node2", lambda o: more(DOWN(o), drained=FACT)), **top)


def history(replies, **top):
    """The primary's history calls node2 drained, and all see that."""
    for reply in replies.values():
        seen_by = reply["observation"]
        member = seen_by["members"].get("node1")
        server_ = seen_by["server"] if member is None else member["server"]
        server_.update(facts.to_dict({"nodes": RECORDED, **top}))
    return replies


def silent_cluster(**top):
    """The same, and its host is off."""
    replies = drained_cluster(**top)
    del replies["node2"]
    for reply in replies.values():
        reply["observation"]["members"]["node2"] = {"reach": "unreachable", "detail": ""}
    return replies


SLOTS = {"slots": (KEPT, Slot("repmgr_slot_3", "physical", True)), "max_slot_wal": 1024}


@pytest.mark.parametrize("cluster", [drained_cluster, silent_cluster])
class TestTold:
    def test_a_run_leaves_it(self, cluster):
        found = survey.survey(SPEC, cluster())
        assert (found.problems, found.missing) == ((), {})
        assert found.waves == (("node1",), ("node3",))
        assert found.nodes == ("node1", "node3", "node4")
        assert found.asleep == ()
        assert f"node2: {WORDS} ({BACK})" in found.reason

    def test_all_is_well_with_a_note(self, cluster):
        (found,) = survey.ailments(SPEC, cluster())
        assert (found.note, found.line) == (True, f"node2: {WORDS} ({BACK})")

    def test_nobody_heals_it(self, cluster):
        assert healing.curable(SPEC, cluster()) == []

    def test_the_status_is_healthy_with_a_note(self, cluster):
        told = status.examine(SPEC, cluster(**SLOTS))
        assert told.verdict is Verdict.HEALTHY
        assert [(p.severity, p.nodes) for p in told.problems] == [
            (Severity.NOTE, ("node2",)),
            (Severity.NOTE, ("node1",)),
        ]
        assert (told.problems[0].what, told.problems[0].step) == (WORDS, BACK)
        assert told.problems[1].what.endswith("for node2, which is drained")
        assert told.electors.names == ("node1", "node3", "node4")
        assert "node2  (standby)  drained" in " ".join(render(told).split("|- ")).replace("`- ", "")

    def test_a_slot_without_a_limit_is_none_of_the_expected(self, cluster):
        told = status.examine(SPEC, cluster(**{**SLOTS, "max_slot_wal": -1}))
        assert told.verdict is Verdict.DEGRADED
        assert "without a limit" in told.problems[0].what
        assert "before the disk of node1 is full" in told.problems[0].step

    def test_what_else_is_wrong_is_still_wrong(self, cluster):
        replies = cluster()
        replies["node3"]["observation"]["repmgrd"]["attached"] = False
        assert status.examine(SPEC, replies).verdict is Verdict.DEGRADED
        assert healing.curable(SPEC, replies) != []

    def test_no_upstream_is_missed(self, cluster):
        spec = more(SPEC, nodes={**NODES, "node3": more(NODES["node3"], upstream="node2")})
        assert status.examine(spec, cluster()).verdict is Verdict.HEALTHY


def test_of_three_nodes_two_are_no_majority_and_that_is_a_note():
    spec = drained.without(SPEC, ["node4"])
    replies = drained_cluster()
    del replies["node4"]
    for reply in replies.values():
        reply["observation"]["members"].pop("node4", None)
    top = replies["node1"]["observation"]["server"]
    top["nodes"] = [r for r in top["nodes"] if r["node_name"] != "node4"]
    told = status.examine(spec, replies)
    assert told.verdict is Verdict.HEALTHY
    assert told.problems[1].what.startswith("if node1 is lost, no standby is promoted")
    assert told.problems[1].step == BACK


def test_a_drained_node_whose_server_runs_is_no_note():
    replies = healthy(node2=replaced(drained=FACT))
    (found,) = survey.ailments(SPEC, replies)
    assert not found.note and found.what == f"{WORDS}, but its PostgreSQL runs"
    assert status.examine(SPEC, replies).verdict is Verdict.DEGRADED


def test_its_own_word_outranks_the_history():
    replies = history(healthy())
    (found,) = survey.ailments(SPEC, replies)
    assert found.line == "node2: still to do: register (repmgr's history says that it is drained)"


def test_after_a_loss_of_power_it_is_not_the_primary_that_is_missed():
    replies = silent_cluster()
    replies["node1"]["observation"].update(server=None, running=False)
    for name in ("node3", "node4"):
        replies[name]["observation"]["members"]["node1"] = facts.to_dict(Member(Reach.REFUSED))
    replies["node3"]["observation"]["server"]["nodes"] = facts.to_dict(RECORDED)
    found = survey.survey(SPEC, replies)
    assert (found.problems, found.primary) == ((), "node1")
