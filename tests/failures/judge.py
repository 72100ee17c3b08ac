"""What acknowledged writes prove. Nothing here touches anything."""

import itertools
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from .records import ROW
from .records import Ack

#: A server that acknowledged nothing for so many seconds may not have been writable in between.
#: The watcher tries ten times a second.
PAUSE = 0.5

#: A host that stood still as a whole goes on with what was under way before its guard can look:
#: nobody on it knows that time went by. See docs/safety.md.
LAST_WORDS = 1.0


@dataclass(frozen=True)
class Gap:
    """Seconds of the monotonic clock between two acknowledged rows.

    ``ended`` is false where no other row came before the look was over.
    """

    begin: float
    end: float
    ended: bool

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.begin


@dataclass(frozen=True)
class Overlap:
    """Two servers that both took writes, and from when to when that is proven."""

    begin: float
    end: float
    nodes: tuple[str, str]

    @property
    def seconds(self) -> float:
        """How long it lasted; a single write counts as long as it took."""
        return self.end - self.begin


@dataclass(frozen=True)
class _Span:
    """Writes of one server without a pause. A single one was done at some moment within it."""

    node: str
    begin: float
    end: float
    single: bool


def rows(acks: Iterable[Ack]) -> list[Ack]:
    """Those of the counting writer."""
    return [ack for ack in acks if ack.kind == ROW]


def writers(acks: Iterable[Ack], since: float) -> list[str]:
    """The nodes that took any write sent from that moment on, each once, the first one first."""
    later = sorted((ack for ack in acks if ack.sent >= since), key=lambda ack: ack.acked)
    return list(dict.fromkeys(ack.node for ack in later))


def without_last_words(acks: Iterable[Ack], thaws: Collection[tuple[str, float]]) -> list[Ack]:
    """All but what a node acknowledged in its first moments after it stood still as a whole.

    :param thaws: names of the nodes, and when they went on.
    """
    return [
        ack
        for ack in acks
        if not any(
            ack.node == node and begin <= ack.acked < begin + LAST_WORDS for node, begin in thaws
        )
    ]


def longest_gap(acks: Iterable[Ack], since: float, until: float) -> Gap:
    """The longest time without an acknowledged row that reaches into these moments."""
    moments = sorted(ack.acked for ack in rows(acks) if ack.acked <= until)
    before = max((moment for moment in moments if moment <= since), default=since)
    inside = [before, *(moment for moment in moments if moment > since)]
    gaps = [Gap(begin, end, True) for begin, end in itertools.pairwise(inside)]
    return max([*gaps, Gap(inside[-1], until, False)], key=lambda gap: gap.seconds)


def lost(acknowledged: Iterable[Ack], found: Collection[int]) -> list[int]:
    """Numbers of the acknowledged rows that are not there any more."""
    return sorted({ack.number for ack in rows(acknowledged)} - set(found))


def synchronous(acks: Iterable[Ack]) -> list[Ack]:
    """The rows whose server waited for a standby.

    A server that stops waiting says so a moment late: the last row before that does not count.
    """
    by_server: dict[tuple[str, str], list[Ack]] = {}
    for ack in rows(acks):
        by_server.setdefault((ack.node, ack.server), []).append(ack)
    sure: list[Ack] = []
    for group in by_server.values():
        ordered = sorted(group, key=lambda ack: ack.number)
        following = [*ordered[1:], ordered[-1]]
        pairs = zip(ordered, following, strict=True)
        sure += [ack for ack, after in pairs if ack.synchronous and after.synchronous]
    return sorted(sure, key=lambda ack: ack.number)


def two_writable(acks: Iterable[Ack]) -> list[Overlap]:
    """When two servers are proven to have taken writes at the same time; empty is as it should be.

    A server was writable between two of its writes unless there was a pause. So what counts is a
    write of another server that was sent after the one and acknowledged before the other.
    """
    found = []
    for one, other in itertools.combinations(_spans(acks), 2):
        if one.node == other.node or (one.single and other.single):
            continue
        begin, end = max(one.begin, other.begin), min(one.end, other.end)
        inner = one if one.single else other
        if inner.single and (begin, end) != (inner.begin, inner.end):
            continue
        if begin <= end:
            found.append(Overlap(begin, end, (one.node, other.node)))
    return sorted(found, key=lambda overlap: overlap.begin)


def seconds_of(overlaps: Iterable[Overlap]) -> float:
    """For how long there were two, each moment counted once."""
    total, reached = 0.0, float("-inf")
    for overlap in sorted(overlaps, key=lambda overlap: overlap.begin):
        total += max(0.0, overlap.end - max(overlap.begin, reached))
        reached = max(reached, overlap.end)
    return total


def _spans(acks: Iterable[Ack]) -> list[_Span]:
    by_server: dict[tuple[str, str], list[Ack]] = {}
    for ack in acks:
        by_server.setdefault((ack.node, ack.server), []).append(ack)
    spans = [
        _span(node, group)
        for (node, _), writes in by_server.items()
        for group in _without_pause(writes)
    ]
    return sorted(spans, key=lambda span: (span.begin, span.node))


def _without_pause(writes: Iterable[Ack]) -> list[list[Ack]]:
    groups: list[list[Ack]] = []
    reached = float("-inf")
    slow = [ack for ack in writes if ack.acked - ack.sent > PAUSE]
    prompt = [ack for ack in writes if ack.acked - ack.sent <= PAUSE]
    for ack in sorted(prompt, key=lambda ack: ack.sent):
        if ack.sent - reached > PAUSE:
            groups.append([])
        groups[-1].append(ack)
        reached = max(reached, ack.acked)
    # It tells nothing of when it was done, so it joins nothing.
    return [*groups, *([ack] for ack in slow)]


def _span(node: str, group: Sequence[Ack]) -> _Span:
    begin, end = min(ack.acked for ack in group), max(ack.sent for ack in group)
    if begin <= end:
        return _Span(node, begin, end, False)
    # One write, or some at once: they were done somewhere in all of their time.
    return _Span(node, min(ack.sent for ack in group), max(ack.acked for ack in group), True)
