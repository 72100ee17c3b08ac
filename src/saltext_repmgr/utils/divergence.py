"""How far a former primary went its own way: what its data hold that the cluster's do not."""

import re
from dataclasses import dataclass

from saltext_repmgr.utils import lsn
from saltext_repmgr.utils.lines import split_lines

# pg_rewind 10 to 17 with LC_ALL=C.
_FORK = re.compile(r"servers diverged at WAL location ([0-9A-F]+/[0-9A-F]+) on timeline (\d+)")
_NOT_NEEDED = "no rewind required"


@dataclass(frozen=True)
class Divergence:
    """The part of a node's WAL that nobody else has.

    fork
        LSN up to which both are the same; None where the node did not go its own way.
    end
        LSN at which the node's own WAL ends.
    timeline
        The node's own timeline.
    transactions
        How many transactions were committed in between.
    """

    fork: str | None
    end: str
    timeline: int
    transactions: int = 0

    @property
    def words(self):
        """The same for people."""
        if self.fork is None:
            return "it has no WAL that the cluster does not have"
        size = lsn.parse(self.end) - lsn.parse(self.fork)
        return (
            f"on timeline {self.timeline} it wrote WAL that no other node has, from {self.fork} to"
            f" {self.end} ({size} bytes, {self.transactions} committed transactions)"
        )


def fork(said):
    """Return ``(LSN of the fork or None, whether a rewind is needed)``, given what
    ``pg_rewind --dry-run`` printed; None instead of the pair where it says neither."""
    if _NOT_NEEDED in said:
        return None, False
    found = _FORK.search(said)
    return (found.group(1), True) if found else None


def commits(dump):
    """Return how many commits pg_waldump listed."""
    return sum(" COMMIT" in line for line in split_lines(dump))


def segments(names, timeline, begin, end, size):
    """Return those WAL file names that hold a timeline between two LSNs; ``size`` in bytes."""

    def name(location):
        number = lsn.parse(location) // size
        return f"{timeline:08X}{number // (2**32 // size):08X}{number % (2**32 // size):08X}"

    return sorted(n for n in names if len(n) == 24 and name(begin) <= n <= name(end))
