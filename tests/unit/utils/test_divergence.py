"""How far a node went its own way, from what pg_rewind and pg_waldump printed."""

import pytest

from saltext_repmgr.utils import divergence
from saltext_repmgr.utils.divergence import Divergence

FORKED = """\
pg_rewind: servers diverged at WAL location 0/4027D98 on timeline 1
pg_rewind: rewinding from last common checkpoint at 0/4002028 on timeline 1
pg_rewind: Done!
"""
SAME = """\
pg_rewind: servers diverged at WAL location 0/4000060 on timeline 1
pg_rewind: no rewind required
"""
DUMP = """\
rmgr: Transaction len (rec/tot):     34/    34, tx: 741, lsn: 0/4027DD8, prev 0/4027D98, desc: COMMIT 2026-11-23 00:34:03 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx: 742, lsn: 0/4027E00, prev 0/4027DD8, desc: ABORT 2026-11-23 00:34:04 UTC
"""


def test_the_fork():
    assert divergence.fork(FORKED) == ("0/4027D98", True)
    assert divergence.fork(SAME) == (None, False)
    assert divergence.fork("pg_rewind: error: could not connect to server") is None


def test_commits_are_counted_and_nothing_else():
    assert divergence.commits(DUMP) == 1
    assert divergence.commits("") == 0


@pytest.mark.parametrize(
    ("begin", "end", "size", "expected"),
    [
        ("0/4027D98", "0/4028030", 2**24, ["000000010000000000000004"]),
        (
            "0/FFFFFF00",
            "1/100",
            2**24,
            ["0000000100000000000000FF", "000000010000000100000000"],
        ),
        ("0/100000", "0/1FFFFF", 2**20, ["000000010000000000000001"]),
    ],
)
def test_the_segments_in_between(begin, end, size, expected):
    names = [f"00000001{n:016X}" for n in (1, 4, 5, 0xFF, 2**32)]
    names += ["000000020000000000000004", "00000001.history", "archive_status"]
    assert divergence.segments(names, 1, begin, end, size) == expected


def test_in_words():
    found = Divergence("0/4027D98", "0/4028030", 1, 1)
    assert "from 0/4027D98 to 0/4028030 (664 bytes, 1 committed" in found.words
    assert "no WAL that the cluster does not have" in Divergence(None, "0/1", 1).words
