"""A walk through random faults with a client writing all along.

``REPMGR_TEST_SEED`` repeats a walk; a long run takes more steps.
"""

import os
import random
import time

import pytest

from tests.failures import faults
from tests.failures import judge
from tests.failures import pillars
from tests.failures import walk
from tests.failures.running import Client
from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of

STEPS, LONG_STEPS = 8, 32
FAULTS = {
    fault.name: fault
    for fault in (
        faults.POWER_OFF,
        faults.KILL,
        faults.CUT,
        faults.FREEZE,
        faults.HANG,
        faults.STOP,
        faults.MINION,
    )
}


@pytest.fixture(scope="module")
def seed():
    given = os.environ.get("REPMGR_TEST_SEED")
    if given:
        return int(given)
    # A short run is one and the same walk, so that a change is judged by itself.
    return random.randrange(10**6) if LONG else 1066


def test_a_random_walk(seed, wait):
    with cluster_of("walk", preinstalled=True, pillar=pillars.for_client()) as cluster:
        run = cluster.orchestrate()
        assert run.ok, run
        # Where a row waits for a standby, there has to be one first.
        cluster.publish(**pillars.for_client(pillars.SYNCHRONOUS))
        run = cluster.orchestrate()
        assert run.ok, run
        steps = walk.steps(seed, LONG_STEPS if LONG else STEPS, len(cluster.nodes))
        # To repeat it: REPMGR_TEST_SEED.
        print(f"seed {seed}")
        with Client(cluster.lab, [h.name for h in cluster.nodes], cluster.primary()) as client:
            walker = Walker(cluster, client, wait)
            for number, step in enumerate(steps, start=1):
                print(f"seed {seed}, step {number} of {len(steps)}: {step}", flush=True)
                walker.take(step)
            acks = client.acks()
            rows = judge.rows(acks)
            print(f"{len(rows)} rows, {len(judge.synchronous(acks))} of them synchronous")
            assert len({row.node for row in rows}) > 1, "no other node ever took a row"


class Walker:
    """Takes the steps of a walk and looks at the cluster after each heal."""

    def __init__(self, cluster, client, wait):
        self.cluster = cluster
        self.client = client
        self.wait = wait
        # Names of the nodes that are out of service.
        self.broken = set()
        # What was done and to which host, for taking it back.
        self.done = []
        # When a host that had stood still as a whole went on.
        self.thaws = []

    def take(self, step):
        if step.action == walk.HEAL:
            self.heal()
            return
        if step.action == walk.ORCHESTRATE:
            # In the midst of trouble it may fail; it must not do harm.
            self.cluster.orchestrate()
        else:
            self.strike(step)
        time.sleep(step.seconds)

    def strike(self, step):
        primary, standbys = self.in_service()
        name = walk.who(step, primary, standbys)
        print(f"  {name}", flush=True)
        if step.action == walk.PROMOTE:
            self.promote(name, standbys[step.pick % len(standbys)])
        elif step.action == walk.REMOVE:
            self.remove(name, primary)
        else:
            fault, host = FAULTS[step.action], self.cluster.lab[name]
            self.done.append((fault, host))
            fault.strike(host)
        if step.action != faults.MINION.name:
            self.broken.add(name)

    def in_service(self):
        """The primary and its standbys, as soon as there is a primary."""
        among = [h.name for h in self.cluster.nodes if h.name not in self.broken]
        primary = self.wait(lambda: self.cluster.primary(among), what="a primary")
        return primary, [name for name in among if name != primary]

    def promote(self, primary, standby):
        faults.stop_server(self.cluster.lab[primary])
        # A daemon may be faster than the hand, and another node the primary then.
        self.cluster.lab.salt(standby, "repmgr.standby_promote")

    def remove(self, name, primary):
        # Whoever does this needs Salt.
        self.take_back(lambda fault: fault is faults.MINION)
        nodes = self.cluster.pillar["nodes"]
        # Whose role that is counts for the first run only, but somebody in service has it.
        if nodes[name].pop("role", None) is not None:
            nodes[primary]["role"] = "primary"
        self.ensure("absent", name)
        run = self.cluster.orchestrate()
        assert run.ok, run
        assert name not in self.cluster.streaming(primary)

    def ensure(self, ensure, *names):
        for name in names:
            self.cluster.pillar["nodes"][name]["ensure"] = ensure
        self.cluster.publish()

    def take_back(self, wanted=lambda fault: True):
        for fault, host in [done for done in self.done[::-1] if wanted(done[0])]:
            if fault is faults.FREEZE:
                self.thaws.append((host.name, time.monotonic()))
            fault.undo(host)
            self.done.remove((fault, host))
        self.cluster.lab.wait_for_minions()

    def heal(self):
        self.take_back()
        self.ensure("present", *self.cluster.pillar["nodes"])
        run = self.cluster.orchestrate()
        assert run.ok, run
        self.broken = set()
        primary, standbys = self.in_service()
        assert self.cluster.streaming(primary) == standbys
        acks = self.client.acks()
        assert judge.two_writable(judge.without_last_words(acks, self.thaws)) == []
        kept = judge.synchronous(acks)
        assert kept, "no row was synchronous"
        assert self.client.lost(primary, kept) == []
