"""What is concluded from acknowledged writes."""

import itertools

import pytest

from tests.failures import judge
from tests.failures.records import ROW
from tests.failures.records import WATCH
from tests.failures.records import Ack
from tests.failures.records import parse

_NUMBERS = itertools.count(1)


def ack(node, sent, acked=None, *, kind=ROW, server="s", synchronous=False):
    number, end = next(_NUMBERS), sent + 0.01 if acked is None else acked
    return Ack(kind, number, node, server, 1, synchronous, sent, end)


def writes(node, begin, end, *, step=0.1, **fields):
    """Writes without a pause, as the watcher makes them."""
    count = round((end - begin) / step) + 1
    return [ack(node, begin + i * step, kind=WATCH, **fields) for i in range(count)]


class TestRecords:
    def test_there_and_back(self):
        acks = [ack("a", 1.0, 5.0), ack("b", 2.0, 3.0)]
        data = "".join(each.line() for each in acks).encode()
        assert parse(data) == (acks, len(data))
        assert parse(b"") == ([], 0)

    def test_a_line_that_is_being_written_is_left_for_later(self):
        whole, half = ack("a", 1.0).line().encode(), ack("a", 2.0).line().encode()[:-1]
        found, taken = parse(whole + half)
        assert (len(found), taken) == (1, len(whole))
        assert parse(half) == ([], 0)


class TestGap:
    def rows(self, *moments):
        return [ack("a", moment, moment) for moment in moments]

    def test_the_longest(self):
        gap = judge.longest_gap(self.rows(1, 2, 5, 6), since=1, until=6)
        assert (gap.begin, gap.end, gap.ended, gap.seconds) == (2, 5, True, 3)

    def test_one_that_reaches_in_counts_as_a_whole(self):
        assert judge.longest_gap(self.rows(1, 5, 6), since=4, until=6).begin == 1

    def test_one_that_was_over_does_not_count(self):
        assert judge.longest_gap(self.rows(1, 9, 10, 12), since=10, until=12).seconds == 2

    def test_one_that_has_no_end(self):
        gap = judge.longest_gap(self.rows(1, 2), since=1, until=10)
        assert (gap.begin, gap.end, gap.ended) == (2, 10, False)

    def test_no_row_at_all(self):
        assert judge.longest_gap([], since=3, until=10).seconds == 7

    def test_the_watcher_fills_no_gap(self):
        both = [*self.rows(1, 5), ack("a", 3, kind=WATCH)]
        assert judge.longest_gap(both, since=1, until=5).seconds == 4

    def test_rows_after_the_look_do_not_count(self):
        assert not judge.longest_gap(self.rows(1, 9), since=1, until=5).ended


class TestLost:
    def test_what_was_acknowledged_and_is_not_there(self):
        one, two = ack("a", 1), ack("a", 2)
        assert judge.lost([one, two], {two.number, 10**9}) == [one.number]

    def test_the_rows_of_the_watcher_are_not_looked_for(self):
        assert judge.lost([ack("a", 1, kind=WATCH)], set()) == []


class TestSynchronous:
    def test_those_whose_server_waited(self):
        first, second, third = (ack("a", n, synchronous=n < 3) for n in (1, 2, 3))
        # The second one may be from the very moment in which the server gave up waiting.
        assert judge.synchronous([third, second, first]) == [first]

    def test_the_last_one_before_a_loss_counts(self):
        mine = [ack("a", n, synchronous=True) for n in (1, 2)]
        others = [ack("b", 3), ack("a", 4, server="restarted")]
        assert judge.synchronous([*mine, *others]) == mine


class TestWriters:
    def test_each_once_in_the_order_of_their_first_answer(self):
        acks = [ack("c", 1), ack("b", 5), ack("a", 6), ack("b", 7)]
        assert judge.writers(acks, since=2) == ["b", "a"]


class TestTwoWritable:
    def seconds(self, *groups):
        return judge.seconds_of(judge.two_writable([a for group in groups for a in group]))

    def test_one_after_the_other(self):
        assert judge.two_writable([*writes("a", 0, 5), *writes("b", 5.1, 9)]) == []

    def test_at_the_same_time(self):
        (found,) = judge.two_writable([*writes("a", 0, 5), *writes("b", 3, 9)])
        assert found.nodes == ("a", "b")
        assert (found.begin, found.end) == pytest.approx((3.01, 5.0))

    def test_there_and_back(self):
        back = writes("a", 8.1, 9, server="restarted")
        assert self.seconds(writes("a", 0, 5), writes("b", 5.1, 8), back) == 0

    def test_a_pause_is_no_time_of_writing(self):
        thawed = writes("a", 9, 10)
        assert self.seconds(writes("a", 0, 5), thawed, writes("b", 6, 8)) == 0
        assert self.seconds(writes("a", 0, 5), thawed, writes("b", 6, 12)) == pytest.approx(0.99)

    def test_a_pause_of_the_watcher_is_filled_by_rows(self):
        rows = [ack("a", 5 + n / 50) for n in range(150)]
        acks = [writes("a", 0, 5), rows, writes("a", 8, 9), writes("b", 6, 7)]
        assert self.seconds(*acks) == pytest.approx(0.99)

    def test_a_single_write_in_the_midst_of_others(self):
        (found,) = judge.two_writable([*writes("a", 0, 5), ack("b", 2, 2.2)])
        assert (found.begin, found.end, found.seconds) == (2, 2.2, pytest.approx(0.2))

    def test_a_single_write_at_the_edge_proves_nothing(self):
        assert judge.two_writable([*writes("a", 0, 5), ack("b", 4.95, 5.3)]) == []

    def test_a_write_that_hung_may_have_been_done_before(self):
        # Sent to a server that was stopped then, and answered when it went on.
        hung = ack("a", 5.05, 20, kind=WATCH)
        assert judge.two_writable([*writes("a", 0, 5), hung, *writes("b", 9, 25)]) == []

    def test_two_at_once_are_like_one(self):
        at_once = [ack("b", 1.0, 1.3), ack("b", 1.1, 1.2, kind=WATCH), ack("b", 1.15, 1.25)]
        (found,) = judge.two_writable([*writes("a", 0, 5), *at_once])
        assert (found.begin, found.end) == (1.0, 1.3)

    def test_moments_count_once(self):
        three = [writes(node, 0, 5) for node in "abc"]
        assert len(judge.two_writable([a for group in three for a in group])) == 3
        assert self.seconds(*three) == pytest.approx(4.99)

    def test_the_order_does_not_matter(self):
        acks = [*writes("a", 0, 5), *writes("b", 3, 9)]
        assert judge.two_writable(acks[::-1]) == judge.two_writable(acks)


def test_the_last_words_of_a_host_that_stood_still():
    before, hung, later, other = (
        ack("a", 1, 1.1),
        ack("a", 2, 20.03),
        ack("a", 21.01, 21.03),
        ack("b", 20, 20.02),
    )
    assert judge.without_last_words([before, hung, later, other], [("a", 20.0)]) == [
        before,
        later,
        other,
    ]
