"""The router's decisions, case by case."""

import dataclasses

import pytest

from saltext_repmgr.guard.rules import Member
from saltext_repmgr.router import rules
from saltext_repmgr.router.rules import Answer
from saltext_repmgr.router.rules import Hold
from saltext_repmgr.router.rules import Route
from saltext_repmgr.router.rules import Target
from saltext_repmgr.router.rules import Trail

SYSTEM = "7000000000000000001"
PRIMARY = Answer(False, 1, SYSTEM, 1000)
STANDBY = Answer(True, 1, SYSTEM, 1000, receives=True)
ROUTE = Route(1, (2, 3), 1, SYSTEM)
PLACES = {1: "10.0.0.1", 2: "10.0.0.2", 3: "10.0.0.3"}


def member(node_id, answer=STANDBY, age=0.1, **more):
    answer = dataclasses.replace(answer, **more)
    return Member(node_id, f"node{node_id}", watched=60, answer=answer, age=age)


LIVE = member(1, PRIMARY)
SILENT = member(1, PRIMARY, age=5.0)
PROMOTED = member(2, PRIMARY, timeline=2)


class TestPrimary:
    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            ([], None),
            ([LIVE, member(2), member(3)], 1),
            # Nobody is one: all is left as it is.
            ([SILENT, member(2), member(3)], None),
            ([SILENT, PROMOTED, member(3)], 2),
            # Two of them.
            ([LIVE, PROMOTED], 2),
            ([PROMOTED, LIVE], 2),
            ([LIVE, member(2, PRIMARY)], 1),
            # Another cluster's.
            ([LIVE, member(2, PRIMARY, timeline=9, system="8")], 1),
        ],
    )
    def test_where_clients_belong(self, members, expected):
        found = rules.primary(members, ROUTE, 0)
        assert (found and found.node_id) == expected

    def test_two_on_one_timeline_and_neither_is_pointed_to(self):
        both = [LIVE, member(2, PRIMARY)]
        assert rules.primary(both, Route(3, (), 1, SYSTEM), 0) is None
        assert rules.primary(both, Route(), 0) is None

    def test_one_that_comes_back_from_the_dead(self):
        route = Route(2, (), 2, SYSTEM)
        assert rules.primary([LIVE], route, rules.EARLIER_SECONDS - 1) is None
        # Somebody started it on purpose.
        assert rules.primary([LIVE], route, rules.EARLIER_SECONDS) == LIVE

    def test_a_cluster_that_was_built_anew(self):
        fresh = member(1, PRIMARY, system="8")
        assert rules.primary([fresh], Route(2, (), 2, SYSTEM), 0) == fresh


class TestStandbys:
    def walk(self, seconds, written, replayed, receives=lambda at: True):
        """Play some seconds, a look each second; return the standbys at the end."""
        trail = Trail(0.0)
        for at in range(seconds + 1):
            top = member(1, PRIMARY, lsn=written(at))
            below = member(2, lsn=replayed(at), receives=receives(at))
            trail.note(float(at), [top, below], top)
        return rules.standbys([top, below], trail, float(seconds))

    def test_one_that_keeps_up(self):
        assert self.walk(60, lambda at: at, lambda at: max(0, at - 3)) == (2,)

    def test_one_that_is_too_far_behind(self):
        late = int(rules.BEHIND_SECONDS) + 2
        assert self.walk(60, lambda at: at, lambda at: max(0, at - late)) == ()

    def test_an_idle_cluster_is_not_behind_whenever_its_last_write_was(self):
        assert self.walk(600, lambda at: 1000, lambda at: 1000) == (2,)

    def test_the_first_write_after_long_quiet(self):
        assert self.walk(600, lambda at: 1000 + (at == 600), lambda at: 1000) == (2,)

    def test_one_that_stands_still(self):
        assert self.walk(60, lambda at: at, lambda at: min(at, 48)) == ()
        assert self.walk(60, lambda at: at, lambda at: min(at, 49)) == (2,)

    def test_one_that_lost_its_stream(self):
        for since, expected in ((49, ()), (50, (2,))):
            got = self.walk(60, lambda at: 1, lambda at: 1, lambda at, s=since: at <= s)
            assert got == expected

    def test_one_that_went_past_the_fork(self):
        assert self.walk(60, lambda at: 10, lambda at: 99, lambda at: False) == ()

    def test_a_new_primary_is_behind_the_old_one(self):
        trail = Trail(0.0)
        old = member(1, PRIMARY, lsn=5000)
        trail.note(0.0, [old], old)
        new, below = member(2, PRIMARY, lsn=4000), member(3, lsn=4000)
        trail.note(20.0, [new, below], new)
        assert rules.standbys([new, below], trail, 20.0) == (3,)

    def test_one_that_is_silent(self):
        trail = Trail(0.0)
        assert rules.standbys([LIVE, member(2, age=5.0), member(3)], trail, 1.0) == (3,)


class TestHold:
    def play(self, planned, until):
        """The flag as a function of the time; return when clients were held back, in tenths."""
        found, state = [], Hold()
        for tenth in range(until * 10):
            state = rules.hold(state, planned(tenth / 10), tenth / 10)
            if state.since is not None:
                found.append(tenth)
        return found

    def test_nothing_is_planned(self):
        assert self.play(lambda at: False, 20) == []
        assert self.play(lambda at: None, 20) == []

    def test_a_move(self):
        # The flag, then no primary, then the new one.
        flag = lambda at: True if 1 <= at < 2 else None if 2 <= at < 3 else False
        assert self.play(flag, 5) == list(range(10, 30))

    def test_a_move_that_was_called_off(self):
        assert self.play(lambda at: 1 <= at < 4, 20) == list(range(10, 40))

    @pytest.mark.parametrize("after", [True, None])
    def test_clients_do_not_wait_for_ever(self, after):
        held = self.play(lambda at: True if at < 2 else after, 60)
        assert held == list(range(0, rules.HOLD_SECONDS * 10))

    def test_the_next_move_after_one_that_took_too_long(self):
        held = self.play(lambda at: at < 30 or 31 <= at < 32, 40)
        assert held == [*range(0, rules.HOLD_SECONDS * 10), *range(310, 320)]


class TestFile:
    def targets(self, route=ROUTE, read_only=True, seed=None):
        return rules.targets(("app", "more"), read_only, route, PLACES, 5432, seed)

    def test_what_pgbouncer_includes(self):
        assert rules.render(self.targets()) == (
            "; Written by repmgr-router, again and again.\n"
            "[databases]\n"
            "app = host=10.0.0.1 port=5432 dbname=app\n"
            "more = host=10.0.0.1 port=5432 dbname=more\n"
            "app_ro = host=10.0.0.2,10.0.0.3 port=5432 dbname=app\n"
            "more_ro = host=10.0.0.2,10.0.0.3 port=5432 dbname=more\n"
        )

    def test_without_standbys_reads_go_to_the_primary(self):
        found = self.targets(Route(2))
        assert found["app_ro"] == Target(("10.0.0.2",), 5432, "app", writes=False)

    def test_without_reads(self):
        assert list(self.targets(read_only=False)) == ["app", "more"]

    def test_a_pgbouncer_that_takes_one_host(self):
        chosen = {self.targets(seed=f"router{n}")["app_ro"].hosts for n in range(20)}
        assert chosen == {("10.0.0.2",), ("10.0.0.3",)}
        assert self.targets(seed="router1") == self.targets(seed="router1")

    @pytest.mark.parametrize("route", [Route(), Route(9)])
    def test_nobody_is_known(self, route):
        assert self.targets(route) == {}


def shown(**changes):
    """What SHOW DATABASES says."""
    row = {"name": "app", "host": "10.0.0.1", "port": "5432", "database": "app", **changes}
    console = {"name": "pgbouncer", "host": None, "port": "6432", "database": "pgbouncer"}
    return [row, console]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (shown(), False),
        (shown(host="10.0.0.2"), True),
        (shown(port="5433"), True),
        (shown(database="other"), True),
        (shown(name="other"), True),
        ([], True),
        ([*shown(), *shown(name="more")], True),
    ],
)
def test_what_pgbouncer_does_is_compared(rows, expected):
    assert rules.differs({"app": Target(("10.0.0.1",), 5432, "app")}, rows) is expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("app", "active", "10.0.0.1"), ["app"]),
        (("app", "active", "10.0.0.2"), []),
        # PgBouncer itself lets go of it.
        (("app", "idle", "10.0.0.1"), []),
        # A former standby can still be read.
        (("app_ro", "active", "10.0.0.1"), []),
        (("other", "active", "10.0.0.1"), []),
    ],
)
def test_clients_that_are_stuck_with_the_former_primary(row, expected):
    found = rules.targets(("app",), True, Route(2, (3,)), PLACES, 5432)
    server = dict(zip(("database", "state", "addr"), row))
    assert rules.stuck(found, [server, server]) == expected
