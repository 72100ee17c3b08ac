"""What befalls a primary: somebody else takes over, the old one never writes again, and one
orchestration makes the cluster whole.

All faults on one lab; where one left the cluster in pieces, the next begins with its copy.
"""

import time

import pytest

from tests.failures import faults
from tests.failures import judge
from tests.failures import pillars
from tests.failures.running import Client
from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of

# A promotion takes some seconds. This is what a busy machine with three hosts on it may take.
TAKEN_OVER_SECONDS = 60
# So long the old primary has for a write it must not take.
WATCHED_SECONDS = 10


@pytest.fixture(scope="module")
def built():
    with cluster_of("failures", preinstalled=True, pillar=pillars.for_client()) as cluster:
        run = cluster.orchestrate()
        assert run.ok, run
        cluster.lab.snapshot("built")
        yield cluster


@pytest.fixture
def cluster(built, wait):
    """The cluster, whole, with its client writing."""
    if not built.whole():
        built.lab.restore("built")
        wait(built.whole, timeout=60, what="the cluster of the copy")
    return built


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.POWER_OFF, 15),
        (faults.KILL, 0),
        (faults.CUT, 20),
        (faults.FREEZE, 15),
        (faults.HANG, 15),
    ],
    ids=["power-off", "kill", "cut", "frozen-host", "frozen-server"],
)
def test_a_primary_is_lost_and_found(cluster, wait, fault, seconds):
    old = cluster.primary()
    standbys = cluster.streaming(old)
    with Client(cluster.lab, [host.name for host in cluster.nodes], old) as client:
        began = time.monotonic()
        fault.strike(cluster.lab[old])

        row = client.wait_for_row(began, TAKEN_OVER_SECONDS, besides=old)
        assert row, f"nobody but {old} takes writes after {TAKEN_OVER_SECONDS} s"
        others = [name for name in standbys if name != row.node]
        wait(lambda: cluster.streaming(row.node) == others, what=f"{others} behind {row.node}")

        time.sleep(max(0, began + seconds - time.monotonic()))
        thaws = [(old, time.monotonic())] if fault is faults.FREEZE else []
        fault.undo(cluster.lab[old])

        def heard():
            return judge.without_last_words(client.acks(), thaws)

        time.sleep(WATCHED_SECONDS)
        late = [(ack.kind, ack.sent - began) for ack in heard() if ack.node == old]
        late = [(kind, round(sent, 2)) for kind, sent in late if sent >= row.sent - began]
        assert not late, f"{old} went on, {row.node} wrote after {row.sent - began:.2f} s"
        assert judge.two_writable(heard()) == []

        cluster.lab.wait_for_minions()
        run = cluster.orchestrate()
        assert run.ok, run
        assert cluster.primary() == row.node
        assert cluster.streaming(row.node) == sorted([*others, old])
        if LONG or fault is faults.POWER_OFF:
            again = cluster.orchestrate()
            assert again.ok, again
            assert again.changes == {}
        assert judge.two_writable(heard()) == []
        assert judge.writers(heard(), row.sent) == [row.node]


def test_a_frozen_host_that_comes_back_at_once_stays_the_primary(cluster):
    """A pause shorter than any election takes nothing away from anybody."""
    old = cluster.primary()
    with Client(cluster.lab, [host.name for host in cluster.nodes], old) as client:
        began = time.monotonic()
        faults.FREEZE.strike(cluster.lab[old])
        time.sleep(1)
        faults.FREEZE.undo(cluster.lab[old])
        time.sleep(WATCHED_SECONDS)
        acks = client.acks()
        gap = judge.longest_gap(acks, began, time.monotonic())
        assert gap.ended and gap.seconds >= 1
        assert judge.writers(acks, began) == [old]
        client.stop()
        assert client.lost(old) == []
    assert cluster.whole()


def test_a_guard_that_begins_beside_a_frozen_server_leaves_it_frozen(cluster, wait):
    """It knows nothing of the others yet."""
    old = cluster.primary()
    host = cluster.lab[old]
    with Client(cluster.lab, [each.name for each in cluster.nodes], old) as client:
        began = time.monotonic()
        faults.CUT.strike(host)
        try:
            row = client.wait_for_row(began, TAKEN_OVER_SECONDS, besides=old)
            assert row, f"nobody but {old} takes writes"
            assert '"frozen"' in host.read("/var/lib/repmgr-guard/state.json")
            host.run(["systemctl", "restart", "repmgr-guard"])
            time.sleep(WATCHED_SECONDS)
        finally:
            faults.CUT.undo(host)
        assert old not in judge.writers(client.acks(), row.sent)
        assert judge.two_writable(client.acks()) == []
    cluster.lab.wait_for_minions()
    run = cluster.orchestrate()
    assert run.ok, run
    assert wait(cluster.whole, what="a whole cluster")
