"""The least a failover can take, by the settings alone."""

import pytest

from tests.bench.least import Timing
from tests.bench.least import least
from tests.bench.least import timing


@pytest.mark.parametrize(
    ("times", "refused", "silent"),
    [
        (Timing(interval=2, attempts=6, pause=10, connect=2), 50, 66),
        (Timing(interval=1, attempts=1, pause=1, connect=1), 0, 3),
        (Timing(interval=1, attempts=1, pause=1, connect=1, refused=0.6, silent=4), 0.6, 4),
        (Timing(interval=1, attempts=3, pause=1, connect=1, refused=0.6, silent=4), 2, 7),
        (Timing(interval=1, attempts=0, pause=5, connect=1), 0, 2),
    ],
)
def test_least(times, refused, silent):
    assert least(times, silent=False) == pytest.approx(refused)
    assert least(times, silent=True) == pytest.approx(silent)


def test_timing_is_by_the_pillar():
    times = timing({"reconnect_attempts": 6, "reconnect_interval": 10}, connect=2.0)
    assert (times.attempts, times.pause, times.connect) == (6, 10, 2.0)
    assert times.interval == timing({}, connect=1.0).interval
