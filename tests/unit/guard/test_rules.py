"""The guard's decisions, case by case, and the promise they keep together."""

import dataclasses
import math
import random

import pytest

from saltext_repmgr.guard import rules
from saltext_repmgr.guard.rules import Answer
from saltext_repmgr.guard.rules import Do
from saltext_repmgr.guard.rules import Heir
from saltext_repmgr.guard.rules import Member
from saltext_repmgr.guard.rules import Start
from saltext_repmgr.guard.rules import Vote

SYSTEM = "7000000000000000001"
ME = 1
SECONDS = 4
SEES_ME = Answer(
    True, 1, SYSTEM, last_seen=0, upstream=ME, repmgrd=True, streaming=True, primary_id=ME
)


def member(node_id, answer=SEES_ME, age=0.1, **more):
    return Member(node_id, f"node{node_id}", watched=60, answer=answer, age=age, **more)


def asked(node_id, watched=0.2, refused=None):
    """One that has not answered yet."""
    return Member(node_id, f"node{node_id}", watched=watched, refused=refused)


def says(**more):
    return dataclasses.replace(SEES_ME, **more)


SILENT = {"age": 10.0}
PROMOTED = says(in_recovery=False, timeline=2, primary_id=2, upstream=-1)
PROMOTED_3 = dataclasses.replace(PROMOTED, primary_id=3)
ON_1 = dataclasses.replace(PROMOTED_3, timeline=1)
WITNESS_OF_2 = says(in_recovery=False, system="7000000000000000002", upstream=2, primary_id=2)
FOLLOWS_3 = says(timeline=2, upstream=3, primary_id=3)


def heir(node_id, lsn=100, **more):
    found = Heir(node_id, f"node{node_id}", 100, "here", True, True, False, lsn)
    return dataclasses.replace(found, **more)


class TestUnfit:
    @pytest.mark.parametrize(
        ("me", "others", "expected"),
        [
            (heir(2), [], ""),
            (heir(2), [heir(3)], ""),
            (heir(3), [heir(2)], "node2 is the better candidate"),
            (heir(3, lsn=101), [heir(2)], ""),
            (heir(3, priority=200), [heir(2)], ""),
            (heir(2), [heir(3, lsn=101)], "node3 is the better candidate"),
            (heir(2, priority=0), [heir(3)], "node3 is the better candidate"),
            (heir(2), [heir(3, lsn=101, priority=0)], ""),
            (heir(2, priority=0), [], "no node has a priority above 0"),
            (heir(2), [heir(3, in_recovery=False)], "node3 is a primary"),
            (heir(2), [heir(3, repmgrd=False)], "repmgrd of node3 does not run or is paused"),
            (heir(2, repmgrd=False), [], "repmgrd of node2 does not run or is paused"),
            (heir(2), [heir(3, voting=True)], "node3 is about to be promoted"),
            (heir(2, location="there"), [], "no node in here answers"),
            (heir(2, location="there"), [heir(3)], ""),
        ],
    )
    def test_who_takes_over(self, me, others, expected):
        assert rules.unfit(me, others, "here") == expected


class TestJurors:
    LEFT = [member(2, age=8.0), member(3, age=4.0), member(4, age=None), member(5)]

    def names(self, *arguments):
        return [m.name for m in rules.jurors(*arguments)]

    def test_those_that_are_recorded_below_it_and_no_others(self):
        assert self.names([member(3, **SILENT)], self.LEFT, 60, False) == ["node3"]

    @pytest.mark.parametrize(
        ("acting", "expected"),
        [(0, ["node3", "node5"]), (3, ["node2", "node3", "node5"])],
    )
    def test_without_any_all_that_were_there(self, acting, expected):
        assert self.names([], self.LEFT, acting, False) == expected

    def test_one_that_was_promoted_beside_a_primary_is_not_judged_by_that(self):
        others = [member(2, PROMOTED), member(3)]
        assert self.names([], others, 1, False) == ["node3"]
        assert self.names([], others, 1, True) == ["node2", "node3"]

    def test_the_last_one_of_five_goes_on_and_one_that_is_cut_off_does_not(self):
        lost = [member(n, age=4.0) for n in (2, 3, 4, 5)]
        for acting, expected in ((1, Do.FREEZE), (600, Do.FREEZE)):
            found = rules.jurors([], lost, acting, False)
            assert rules.guard(ME, SECONDS, found, None).do is expected
        before = [member(n, age=16.0) for n in (2, 3, 4, 5)]
        assert rules.guard(ME, SECONDS, rules.jurors([], before, 10, False), None).do is Do.NOTHING


class TestGuard:
    @pytest.mark.parametrize(
        ("electors", "expected"),
        [
            ([], Do.NOTHING),
            ([member(2), member(3)], Do.NOTHING),
            ([member(2, **SILENT), member(3)], Do.NOTHING),
            ([member(2, **SILENT), member(3, **SILENT)], Do.FREEZE),
            ([member(2, says(last_seen=3)), member(3, **SILENT)], Do.FREEZE),
            ([member(2, says(last_seen=2)), member(3, **SILENT)], Do.NOTHING),
            ([member(2, says(last_seen=1), age=1.4), member(3, **SILENT)], Do.NOTHING),
            ([member(2, says(last_seen=1), age=1.6), member(3, **SILENT)], Do.FREEZE),
            # Stopped for maintenance: they cannot vote.
            ([member(2, refused=30, **SILENT), member(3, refused=1, **SILENT)], Do.NOTHING),
            ([member(2, says(repmgrd=False)), member(3, says(repmgrd=False))], Do.NOTHING),
            ([member(2, says(last_seen=-1)), member(3, **SILENT)], Do.NOTHING),
            # Two of two: nobody can be promoted without this node.
            ([member(2, **SILENT)], Do.NOTHING),
            ([member(n, **SILENT) for n in (2, 3)] + [member(4)], Do.NOTHING),
            ([member(n, **SILENT) for n in (2, 3, 4)], Do.FREEZE),
            ([member(n, **SILENT) for n in (2, 3)] + [member(4), member(5)], Do.NOTHING),
            ([member(n, **SILENT) for n in (2, 3, 4)] + [member(5)], Do.FREEZE),
            # They see it, and said that they do without it.
            ([member(2, says(without=[ME])), member(3, says(without=[ME]))], Do.FREEZE),
            ([member(2, says(without=[ME], repmgrd=False)), member(3, **SILENT)], Do.FREEZE),
            ([member(2, says(without=[ME])), member(3)], Do.NOTHING),
            ([member(2, says(without=[9])), member(3, says(without=[9]))], Do.NOTHING),
            # Promoted by somebody's mistake, but the others stay here.
            ([member(2, PROMOTED), member(3)], Do.NOTHING),
            ([member(2, PROMOTED), member(3, says(upstream=2, primary_id=2))], Do.RETIRE),
        ],
    )
    def test_a_primary_that_runs(self, electors, expected):
        assert rules.guard(ME, SECONDS, electors, None).do is expected

    @pytest.mark.parametrize(
        ("electors", "frozen", "expected"),
        [
            ([member(2, **SILENT), member(3, **SILENT)], 1, Do.NOTHING),
            ([member(2, **SILENT), member(3, **SILENT)], rules.FROZEN_SECONDS, Do.KILL),
            ([member(2), member(3, **SILENT)], 1, Do.THAW),
            ([member(2), member(3)], 99, Do.THAW),
            ([member(2, says(last_seen=3)), member(3, says(last_seen=3))], 1, Do.NOTHING),
            ([member(2, says(without=[ME])), member(3, says(without=[ME]))], 1, Do.NOTHING),
            ([member(2, PROMOTED), member(3, **SILENT)], 1, Do.RETIRE),
            ([member(2, PROMOTED), member(3)], 1, Do.RETIRE),
        ],
    )
    def test_a_primary_that_is_frozen(self, electors, frozen, expected):
        assert rules.guard(ME, SECONDS, electors, frozen).do is expected

    @pytest.mark.parametrize(("acting", "expected"), [(0.3, Do.NOTHING), (0.5, Do.RETIRE)])
    def test_who_was_the_primary_before_is_none_beside_it(self, acting, expected):
        former = says(in_recovery=False, upstream=-1, primary_id=2)
        watch_it = says(upstream=2, primary_id=2)
        electors = [member(2, former, age=0.4), *(member(n, watch_it, age=0.4) for n in (3, 4))]
        assert rules.guard(ME, SECONDS, electors, None, acting).do is expected

    @pytest.mark.parametrize(
        ("electors", "others", "expected"),
        [
            # It hangs, and does not know yet that they became electors.
            ([member(2, FOLLOWS_3)], [member(3, PROMOTED_3)], Do.RETIRE),
            ([member(3, PROMOTED_3)], [member(2, FOLLOWS_3)], Do.RETIRE),
            # Promoted by somebody's mistake, but the electors stay here.
            ([member(2)], [member(3, PROMOTED_3), member(4, FOLLOWS_3)], Do.NOTHING),
            ([member(2, **SILENT)], [member(3, PROMOTED_3)], Do.NOTHING),
            ([member(2, age=1.1)], [member(3, PROMOTED_3), member(4, FOLLOWS_3)], Do.NOTHING),
            # A copy for a test, made of two that were taken out.
            ([], [member(3, PROMOTED_3), member(2, FOLLOWS_3)], Do.NOTHING),
            # The last one that is left was promoted after they were lost.
            ([], [member(3, ON_1), member(4, says(upstream=3, primary_id=3))], Do.NOTHING),
        ],
    )
    def test_those_that_are_no_electors_as_far_as_it_knows(self, electors, others, expected):
        own = says(in_recovery=False, timeline=1)
        verdict = rules.guard(ME, SECONDS, electors, None, others=others, own=own)
        assert verdict.do is expected

    @pytest.mark.parametrize(
        ("electors", "replaced", "expected"),
        [
            ([member(2), member(3, **SILENT)], None, Do.THAW),
            # A guard that has just begun knows nothing of them.
            ([asked(2), asked(3)], None, Do.NOTHING),
            ([member(2), asked(3)], None, Do.THAW),
            # Somebody was promoted whom this node does not hear.
            ([member(2, FOLLOWS_3), member(3, **SILENT)], None, Do.NOTHING),
            ([member(2, FOLLOWS_3), member(3, refused=1.0, **SILENT)], None, Do.NOTHING),
            ([member(2, **SILENT), member(3, WITNESS_OF_2, witness=True)], None, Do.NOTHING),
            # Right after its own promotion nobody watches it yet.
            ([member(2, says(upstream=9)), member(3, says(upstream=9))], 9, Do.THAW),
            ([member(2, says(upstream=9)), member(3, says(upstream=9))], None, Do.NOTHING),
            ([member(2, says(upstream=-1)), member(3, **SILENT)], None, Do.THAW),
            # Stopped for maintenance meanwhile.
            ([member(2, refused=1.0, **SILENT), member(3, **SILENT)], None, Do.THAW),
        ],
    )
    def test_one_that_is_frozen_goes_on_only_if_a_majority_stays(
        self, electors, replaced, expected
    ):
        own = says(in_recovery=False, timeline=1)
        verdict = rules.guard(ME, SECONDS, electors, 1, own=own, replaced=replaced)
        assert verdict.do is expected

    def test_whom_somebody_promoted_takes_no_running_primary_away(self):
        """Nor does it when another elector is silent for a while, or is stopped."""
        own = says(in_recovery=False, timeline=1)
        for other in (member(3, **SILENT), member(3, refused=5.0, **SILENT)):
            assert (
                rules.guard(ME, SECONDS, [member(2, PROMOTED), other], None, own=own).do
                is Do.NOTHING
            )

    def test_a_witness_is_no_second_primary(self):
        witness = member(3, says(in_recovery=False, streaming=False), witness=True)
        assert rules.guard(ME, SECONDS, [member(2), witness], None).do is Do.NOTHING
        assert rules.guard(ME, SECONDS, [member(2), witness], 3).do is Do.THAW

    def test_what_is_not_known_yet_counts_after_a_while(self):
        new = Member(2, "node2", watched=1)
        assert (
            rules.guard(ME, SECONDS, [new, dataclasses.replace(new, node_id=3)], None).do
            is Do.NOTHING
        )
        new = Member(2, "node2", watched=3)
        assert (
            rules.guard(ME, SECONDS, [new, dataclasses.replace(new, node_id=3)], None).do
            is Do.FREEZE
        )


GONE = says(upstream=9, primary_id=9, last_seen=4, streaming=False)
OWN = GONE
LOST = Member(9, "node9", watched=5)
REFUSES = dataclasses.replace(LOST, refused=1.0)


class TestVote:
    @pytest.mark.parametrize(
        ("primary", "others", "expected"),
        [
            (LOST, [member(2, GONE)], Vote.GRANT),
            (LOST, [member(2, dataclasses.replace(GONE, last_seen=3))], Vote.WAIT),
            (LOST, [member(2, GONE, **SILENT)], Vote.WAIT),
            (LOST, [member(2, dataclasses.replace(GONE, repmgrd=False))], Vote.WAIT),
            (LOST, [member(2, dataclasses.replace(GONE, upstream=7))], Vote.WAIT),
            (LOST, [member(2, dataclasses.replace(GONE, last_seen=-1))], Vote.WAIT),
            (LOST, [], Vote.DENY),
            (LOST, [member(2, GONE), member(3, **SILENT), member(4, **SILENT)], Vote.WAIT),
            (LOST, [member(2, GONE), member(3, GONE), member(4, **SILENT)], Vote.GRANT),
            (LOST, [member(2, GONE), member(3, GONE), member(4)], Vote.GRANT),
            (LOST, [member(2, GONE), member(3), member(4)], Vote.WAIT),
            (REFUSES, [member(2, GONE)], Vote.GRANT),
            (REFUSES, [member(2, dataclasses.replace(GONE, last_seen=0))], Vote.GRANT),
            (REFUSES, [member(2, dataclasses.replace(GONE, streaming=True))], Vote.WAIT),
            (dataclasses.replace(LOST, refused=0.3), [member(2, GONE)], Vote.WAIT),
            (REFUSES, [], Vote.GRANT),
            (REFUSES, [member(2, **SILENT)], Vote.WAIT),
            (dataclasses.replace(LOST, answer=PROMOTED, age=0.1), [member(2, GONE)], Vote.DENY),
            (LOST, [member(2, PROMOTED)], Vote.DENY),
        ],
    )
    def test_of_the_winner(self, primary, others, expected):
        assert rules.vote(OWN, SECONDS, primary, others).do is expected

    def test_a_witness_says_by_its_repmgrd_alone_that_it_misses_a_server(self):
        witness = member(3, dataclasses.replace(GONE, in_recovery=False, last_seen=0), witness=True)
        assert rules.vote(OWN, SECONDS, REFUSES, [witness]).do is Vote.WAIT
        later = dataclasses.replace(
            witness, answer=dataclasses.replace(witness.answer, last_seen=1)
        )
        assert rules.vote(OWN, SECONDS, REFUSES, [later]).do is Vote.GRANT

    @pytest.mark.parametrize("own", [says(upstream=3), dataclasses.replace(OWN, repmgrd=False)])
    def test_a_node_that_watches_somebody_else_has_none(self, own):
        assert rules.vote(own, SECONDS, LOST, [member(2, GONE)]).do is Vote.DENY

    def test_a_primary_that_stopped_in_good_order_is_given_time_to_restart(self):
        others = [member(2, GONE)]
        assert rules.vote(OWN, SECONDS, REFUSES, others, clean=True).do is Vote.WAIT
        longer = dataclasses.replace(REFUSES, refused=rules.RESTART_SECONDS)
        assert rules.vote(OWN, SECONDS, longer, others, clean=True).do is Vote.GRANT

    def test_its_own_eyes_count_too(self):
        own = dataclasses.replace(OWN, last_seen=2)
        assert rules.vote(own, SECONDS, LOST, [member(2, GONE)]).do is Vote.WAIT


@pytest.mark.parametrize(
    ("electors", "expected"),
    [
        ([member(2), member(3)], False),
        ([member(2, says(last_seen=9)), member(3, says(last_seen=9))], True),
        # The lease begins anew as soon as one guard has heard of it.
        ([member(2, says(last_seen=9)), member(3)], False),
        ([member(2, says(last_seen=9)), member(3, **SILENT)], False),
        # A pause may end at any moment.
        ([member(2, says(last_seen=9, repmgrd=False)), member(3, says(last_seen=9))], True),
        ([member(2, says(last_seen=9, upstream=3)), member(3, says(last_seen=9))], False),
        ([member(2, says(last_seen=9))], False),
        ([], False),
    ],
)
def test_who_would_be_frozen_as_soon_as_it_is_up(electors, expected):
    assert rules.misses(ME, SECONDS, electors) is expected


class TestStart:
    @pytest.mark.parametrize(
        ("others", "electors", "expected"),
        [
            ([], 1, Start.ALLOW),
            ([member(2)], 2, Start.ALLOW),
            ([member(2, **SILENT)], 2, Start.WAIT),
            ([member(2), member(3, **SILENT)], 3, Start.ALLOW),
            ([member(2, **SILENT), member(3, **SILENT)], 3, Start.WAIT),
            ([member(2), *(member(n, **SILENT) for n in (3, 4, 5))], 5, Start.WAIT),
            ([member(2), member(3), *(member(n, **SILENT) for n in (4, 5))], 5, Start.ALLOW),
            ([member(2, PROMOTED), member(3)], 3, Start.REFUSE),
            ([member(2, says(timeline=2)), member(3)], 3, Start.REFUSE),
            ([member(2, says(timeline=2, system="another")), member(3)], 3, Start.ALLOW),
            ([member(2, says(primary_id=3)), member(3, **SILENT)], 3, Start.REFUSE),
            # Node 3 was replaced by this one, which was gone before anybody wrote that down.
            ([member(n, says(primary_id=3)) for n in (2, 3)], 3, Start.ALLOW),
            ([member(n, says(primary_id=3, timeline=2)) for n in (2, 3)], 3, Start.REFUSE),
            # Node 3, of which node 2 has an old record, was asked a moment ago.
            ([member(2, says(primary_id=3)), asked(3)], 3, Start.WAIT),
            ([member(2, says(primary_id=3)), asked(3, refused=0.0)], 3, Start.REFUSE),
            ([member(2, says(primary_id=3)), asked(3, watched=3.0)], 3, Start.REFUSE),
            ([member(2, says(primary_id=9)), asked(3)], 3, Start.REFUSE),
            # Of four electors the other half might not keep a new primary from taking writes.
            ([member(2), member(3, **SILENT), member(4, **SILENT)], 4, Start.WAIT),
            ([member(2), member(3), member(4, **SILENT)], 4, Start.ALLOW),
            ([member(2, says(voting=True)), member(3)], 3, Start.WAIT),
            ([member(2, says(without=[ME])), member(3)], 3, Start.WAIT),
            ([member(2, says(without=[9])), member(3)], 3, Start.ALLOW),
            # A second primary that is on the same or an older timeline is one too.
            ([member(2, says(in_recovery=False)), member(3)], 3, Start.REFUSE),
        ],
    )
    def test_of_a_primary(self, others, electors, expected):
        ids = range(2, electors + 1)
        assert rules.start(ME, 1, SYSTEM, others, ids).do is expected

    def test_who_does_not_elect_does_not_count(self):
        others = [*(member(n, **SILENT) for n in (2, 3)), member(4)]
        assert rules.start(ME, 1, SYSTEM, others, [2, 3]).do is Start.WAIT

    @pytest.mark.parametrize("number", range(2, 9))
    def test_one_part_of_a_split_at_most_has_a_primary(self, number):
        """One was promoted in a planned change, nobody has followed it yet, and the former primary
        is about to start again."""
        heir, others = 2, range(3, number + 1)
        for near in range(len(others) + 1):
            old_side = [member(heir, **SILENT)]
            old_side += [member(n, **({} if n < 3 + near else SILENT)) for n in others]
            new_side = [member(ME, **SILENT)]
            new_side += [member(n, **(SILENT if n < 3 + near else {})) for n in others]
            starts = rules.start(ME, 1, SYSTEM, old_side, [heir, *others]).do is Start.ALLOW
            goes_on = rules.guard(heir, SECONDS, new_side, None).do is Do.NOTHING
            assert not (starts and goes_on), near


class TestAstray:
    OWN = Answer(
        False, 1, "witness", last_seen=0, upstream=2, repmgrd=True, repmgrd_pid=77, primary_id=2
    )
    NEW = says(in_recovery=False, timeline=2, primary_id=3, upstream=-1)

    def test_the_former_primary_is_a_standby_by_now(self):
        found = rules.astray(self.OWN, [member(2), member(3, self.NEW)])
        assert found.node_id == 3

    @pytest.mark.parametrize(
        ("own", "others"),
        [
            ({"upstream": 3}, [member(2), member(3, NEW)]),
            ({"upstream": -1}, [member(2), member(3, NEW)]),
            ({"repmgrd_pid": None}, [member(2), member(3, NEW)]),
            # repmgrd sees by itself that the former one is gone.
            ({}, [member(2, **SILENT), member(3, NEW)]),
            # Its records would be copied.
            ({}, [member(2), member(3, dataclasses.replace(NEW, primary_id=2))]),
            ({}, [member(2), member(3)]),
            ({}, [member(2, says(in_recovery=False)), member(3, NEW)]),
        ],
    )
    def test_is_left_alone(self, own, others):
        assert rules.astray(dataclasses.replace(self.OWN, **own), others) is None


class TestActivity:
    def test_who_is_silent_for_long_is_gone(self):
        silent = member(3, age=rules.GONE_SECONDS)
        assert rules.activity([member(2), silent], [2, 3]) == ({3}, set())
        assert rules.activity([member(2), member(3, age=29)], [2, 3]) == (set(), set())

    def test_not_without_a_majority(self):
        gone = [member(n, age=99) for n in (2, 3)]
        assert rules.activity(gone, [2, 3]) == (set(), set())
        assert rules.activity(gone[:1], [2]) == (set(), set())

    def test_who_streams_again_is_back(self):
        assert rules.activity([member(2), member(3)], [2]) == (set(), {3})
        assert rules.activity([member(2), member(3, says(streaming=False))], [2]) == (set(), set())
        witness = member(3, says(in_recovery=False, streaming=False), witness=True)
        assert rules.activity([member(2), witness], [2]) == (set(), {3})


def cut_off(seed):
    """Cut a primary off at some moment, from all or from some, with the granularity and the
    delays of the real thing; return when it was frozen and when a majority might vote."""
    dice = random.Random(seed)
    number = dice.choice([3, 4, 5])
    cut = {n: 10 + dice.random() * dice.choice([0, 0, 2]) for n in range(2, number + 1)}
    for spared in dice.sample(sorted(cut), dice.randrange(number - rules.majority(number) + 1)):
        cut[spared] = math.inf
    phase = {n: dice.random() for n in cut}
    pings = {n: 1 + dice.random() * 0.3 for n in cut}

    def last_seen(n, at):
        """When the repmgrd of an elector saw the primary last, at a moment."""
        until = min(at, cut[n])
        return phase[n] + pings[n] * math.floor((until - phase[n]) / pings[n])

    def answer(n, at):
        return says(last_seen=math.floor(at - last_seen(n, at)))

    heard = {}
    frozen = voted = None
    step = 0
    while step < 2000 and voted is None:
        now = 5 + step * 0.01
        step += 1
        for n, at in cut.items():
            asked = now - dice.random() * rules.STEP_SECONDS
            if asked < at and dice.random() < 0.2:
                heard[n] = (asked, answer(n, asked))
        if frozen is None and step % 5 == 0 and len(heard) == len(cut):
            electors = [member(n, a, age=now - asked) for n, (asked, a) in heard.items()]
            if rules.guard(ME, SECONDS, electors, None).do is Do.FREEZE:
                # Until the signals have been sent.
                frozen = now + 0.15
        blind = [n for n in cut if math.floor(now - last_seen(n, now)) >= SECONDS]
        if len(blind) >= rules.majority(number):
            voted = now
    return frozen, voted


@pytest.mark.parametrize("seed", range(300))
def test_the_primary_is_frozen_before_anybody_may_be_promoted(seed):
    frozen, voted = cut_off(seed)
    assert (frozen is None) == (voted is None)
    if voted is not None:
        assert frozen < voted


def test_the_cuts_are_of_both_kinds():
    voted = [cut_off(seed)[1] is not None for seed in range(30)]
    assert any(voted) and not all(voted)


def lost_at_once(seed):
    """Cut a new primary off from each of the others for some time, in one or in both directions, while
    nobody's repmgrd watches it yet; return when it was frozen, and when all others had said for long
    enough that they do without it."""
    dice = random.Random(seed)
    number = dice.choice([3, 4, 5])
    claim, until = {}, {}
    for n in range(2, number + 1):
        claim[n] = 20 + dice.random() * 5
        # What it asks arrives: until it does not, or all the time.
        until[n] = dice.choice([math.inf, dice.random() * 30])
    ready = max(claim.values()) + rules.UNKNOWN_SECONDS + SECONDS
    heard = {n: (0.0, says(upstream=9)) for n in claim}
    for step in range(4000):
        now = step * 0.01
        for n, at in until.items():
            # The answer is of a moment after the question.
            asked = now - dice.random() * rules.STEP_SECONDS
            if asked < at and dice.random() < 0.2:
                said = [ME] if asked + dice.random() * 0.05 >= claim[n] else []
                heard[n] = (asked, says(upstream=9, without=said))
        electors = [member(n, a, age=now - asked) for n, (asked, a) in heard.items()]
        if step % 5 == 0 and rules.guard(ME, SECONDS, electors, None).do is Do.FREEZE:
            return now + 0.15, ready
    return None, ready


@pytest.mark.parametrize("seed", range(200))
def test_a_new_primary_is_frozen_before_anybody_takes_its_place(seed):
    frozen, ready = lost_at_once(seed)
    assert frozen is not None and frozen < ready
