"""Labs for the integration tests.

Nothing here skips: without root or without hosts the tests fail, since a run that could
not look has shown nothing.
"""

import contextlib
import os
import time

import pytest

from tests.integration.support import Cluster
from tests.lab import Lab

RELEASE = os.environ.get("REPMGR_TEST_RELEASE", "bookworm")
# Whether the long tests were asked for (``scripts/test --long``).
LONG = os.environ.get("REPMGR_TEST_LONG") == "1"


@contextlib.contextmanager
def cluster_of(name, nodes=3, witness=False, pillar=None, others=(), **options):
    """A lab with a pillar for as many nodes, the first of them the primary to be, and with other
    hosts that are none."""
    names = [f"node{number + 1}" for number in range(nodes + witness)]
    options.setdefault("release", RELEASE)
    # Named after this process, so that two runs on one machine do not meet.
    with Lab(f"{name}-{os.getpid()}", nodes=[*names, *others], **options) as lab:
        yield Cluster(lab, witness=witness, pillar=pillar, others=others)


@pytest.fixture
def wait():
    """A function that waits until a condition holds, and fails with its last answer."""

    def until(condition, timeout=60, what="it"):
        deadline = time.monotonic() + timeout
        while True:
            answer = condition()
            if answer:
                return answer
            assert (
                time.monotonic() < deadline
            ), f"{what} did not happen within {timeout} s: {answer!r}"
            time.sleep(0.2)

    return until
