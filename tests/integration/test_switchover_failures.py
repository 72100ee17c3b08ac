"""Every step of a switchover is hit by something. Afterwards there is one primary in service, no
repmgrd is paused, no row is lost, and the next orchestration mends the rest."""

import contextlib
import json
import subprocess
import threading
import time

import pytest

from saltext_repmgr.utils import turn
from tests.failures import faults
from tests.failures import judge
from tests.failures import pillars
from tests.failures.moments import Moment
from tests.failures.moments import Watcher
from tests.failures.running import Client
from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of
from tests.lab import LabError
from tests.lab.errors import CommandError

DATA = ["node1", "node2", "node3"]
WITNESS = "node4"
NODES = [*DATA, WITNESS]
MINIONS = len(NODES)
# The longest that a switchover takes before it gives up, and the master's own waiting.
PATIENCE = 240
LEASE = 60 * turn.LEASE_MINUTES

_UNPAUSED = "SELECT repmgr.repmgrd_is_running() AND NOT repmgr.repmgrd_is_paused()"

_DAEMON = """
SELECT concat_ws(' ', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'writable' END,
       (SELECT 'receiver ' || status FROM pg_stat_wal_receiver),
       CASE WHEN repmgr.repmgrd_is_running() THEN 'repmgrd' ELSE 'no repmgrd' END,
       CASE WHEN repmgr.repmgrd_is_paused() THEN 'paused' END,
       'saw ' || repmgr.get_upstream_node_id() || ' before ' || repmgr.get_upstream_last_seen() || ' s')
"""
_STREAMS = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"

# Who is hit by what, when.
CASES = [
    ("old", faults.POWER_OFF, Moment.STOPPING),
    ("master", faults.MASTER, Moment.PLANNED),
    ("heir", faults.POWER_OFF, Moment.FOLLOWED),
]
MORE = [
    ("heir", faults.POWER_OFF, Moment.STOPPING),
    ("sibling", faults.POWER_OFF, Moment.PLANNED),
    ("old", faults.POWER_OFF, Moment.BEGUN),
    ("old", faults.POWER_OFF, Moment.PLANNED),
    ("old", faults.POWER_OFF, Moment.PROMOTED),
    ("old", faults.KILL, Moment.PLANNED),
    ("old", faults.MINION, Moment.PLANNED),
    ("heir", faults.POWER_OFF, Moment.BEGUN),
    ("heir", faults.POWER_OFF, Moment.PLANNED),
    ("heir", faults.POWER_OFF, Moment.PROMOTED),
    ("heir", faults.POWER_OFF, Moment.JOINED),
    ("heir", faults.KILL, Moment.PROMOTED),
    ("heir", faults.HANG, Moment.PLANNED),
    ("heir", faults.HANG, Moment.FOLLOWED),
    ("heir", faults.MINION, Moment.PLANNED),
    ("heir", faults.CUT, Moment.PLANNED),
    ("heir", faults.CUT, Moment.PROMOTED),
    ("heir", faults.CUT, Moment.FOLLOWED),
    ("heir", faults.CUT, Moment.JOINED),
    ("sibling", faults.POWER_OFF, Moment.BEGUN),
    ("sibling", faults.POWER_OFF, Moment.PROMOTED),
    ("sibling", faults.HANG, Moment.PLANNED),
    ("witness", faults.POWER_OFF, Moment.PLANNED),
    ("master", faults.MASTER, Moment.BEGUN),
    ("master", faults.MASTER, Moment.PROMOTED),
]


@pytest.fixture(scope="module")
def cluster():
    pillar = pillars.for_client(pillars.SYNCHRONOUS)
    with cluster_of("handover", witness=True, preinstalled=True, pillar=pillar) as hosts:
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


def in_service(cluster, nodes):
    """The primary among the nodes that are up, when all others of them stream and no repmgrd is
    paused."""
    up = [name for name in nodes if name in DATA]
    try:
        primary = cluster.primary(up)
        if primary is None:
            return None
        # One that was away meanwhile may stream from a standby: it is left where it is.
        followed = all(cluster.sql(n, _STREAMS) == "t" for n in up if n != primary)
        if not followed or any(cluster.sql(n, _UNPAUSED, "repmgr") != "t" for n in nodes):
            return None
    except CommandError:
        return None
    return primary


def gathered(cluster):
    """The primary of a whole cluster, all standbys streaming from it."""
    primary = in_service(cluster, NODES)
    if primary is None:
        # What an earlier case left is not this one's fault.
        cluster.orchestrate()
        return None
    away = {n for n in DATA if n != primary} - set(cluster.streaming(primary))
    for name in away:
        cluster.lab.salt(name, "repmgr.standby_follow")
    return None if away else primary


class Switchover(threading.Thread):
    """One that goes on while something else happens."""

    def __init__(self, cluster, heir, watcher):
        super().__init__()
        self._watcher = watcher
        self._argv = ["salt-run", "--out=json", "repmgr.switchover", heir]
        self._cluster = cluster
        self.data = None

    def run(self):
        try:
            done = self._cluster.lab.master.run(self._argv, check=False, timeout=PATIENCE)
        finally:
            self._watcher.give_up()
        if done.stdout.startswith("{"):
            self.data = json.loads(done.stdout)


@pytest.mark.parametrize(
    "victim,fault,moment", CASES + (MORE if LONG else []), ids=lambda v: getattr(v, "name", v)
)
def test_something_happens_in_the_middle(cluster, wait, victim, fault, moment):
    old = wait(lambda: gathered(cluster), LEASE, what="the cluster in service")
    heir, sibling = [name for name in DATA if name != old]
    lab = cluster.lab
    name = {"old": old, "heir": heir, "sibling": sibling, "witness": WITNESS}.get(victim)
    host = lab.master if name is None else lab[name]
    spectator = lab[sibling if victim == "witness" else WITNESS]
    with Client(lab, DATA, old) as client:
        watcher = Watcher(spectator, moment, lab[old].address, lab[heir].address)
        switchover = Switchover(cluster, heir, watcher)
        switchover.start()
        try:
            seen = watcher.wait()
            if seen:
                fault.strike(host)
            struck = time.monotonic()
        finally:
            watcher.stop()
        if not seen:
            switchover.join(PATIENCE)
        assert seen, switchover.data
        try:
            # A server that hangs is in nobody's way, and cannot answer. One that was stopped stays
            # down when nobody is left who starts it.
            stays = victim == "master" or fault is faults.KILL and victim == "old"
            stays = stays or fault is faults.MINION and victim != "old"
            left = [n for n in NODES if stays or n != name]
            with explained(cluster):
                row = client.wait_for_row(struck, LEASE)
                assert row is not None, "nobody takes writes"
                primary = wait(lambda: in_service(cluster, left), LEASE, what="one in service")
            print(f"{time.monotonic() - struck:.1f} s until {primary} is in service with {left}")
        finally:
            fault.undo(host)
            switchover.join(PATIENCE)
        time.sleep(2)
        client.stop()
        acks = client.acks()
        assert judge.two_writable(acks) == []
    if switchover.data is not None:
        print(switchover.data["result"])
    wait(lambda: len(answering(cluster)) == MINIONS, 90, what="the minions")
    runs = []

    def healed():
        runs.append(cluster.orchestrate())
        return runs[-1].ok

    # A server that comes back after a loss of power asks the others first, and a pause has a lease.
    deadline = time.monotonic() + LEASE
    while not healed() and time.monotonic() < deadline:
        time.sleep(10)
    assert runs[-1].ok, runs[-1]
    # Whoever was away when its pause was to end has a lease.
    primary = wait(lambda: in_service(cluster, NODES), LEASE, what="no pause anywhere")
    assert client.lost(primary, judge.synchronous(acks)) == []


def test_a_primary_that_goes_during_a_pause(cluster, wait):
    """repmgrd has no second look at a primary that it lost while it was paused; the guard has."""
    old = wait(lambda: gathered(cluster), LEASE, what="the cluster in service")
    left = [n for n in NODES if n != old]
    done = cluster.lab.salt_run("repmgr.pause", "minutes=0.5")
    assert done.returncode == 0, done
    faults.POWER_OFF.strike(cluster.lab[old])
    struck = time.monotonic()
    with explained(cluster):
        primary = wait(lambda: in_service(cluster, left), 120, what="a new primary")
    print(f"{time.monotonic() - struck:.1f} s until {primary} is in service")
    faults.POWER_OFF.undo(cluster.lab[old])
    wait(lambda: len(answering(cluster)) == MINIONS, 90, what="the minions")
    assert wait(lambda: cluster.orchestrate().ok, 300, what="a healed cluster")


@contextlib.contextmanager
def explained(cluster):
    """Say what the nodes are where an assertion in the block fails, and show what their daemons said."""
    try:
        yield
    except AssertionError as err:
        for host in cluster.nodes:
            units = [f"--unit={unit}" for unit in ("repmgr-guard", "repmgrd")]
            argv = ["journalctl", "--no-pager", "--boot", "--lines=60", *units]
            parts = [
                "journalctl",
                "--no-pager",
                "--boot",
                "--unit=salt-minion",
                "--grep=repmgr_node",
            ]
            with contextlib.suppress(LabError):
                print(f"== {host.name}\n{host.run(argv, check=False).stdout}")
                print(host.run(parts, check=False).stdout)
        nodes = "; ".join(f"{host.name}: {_digest(cluster, host)}" for host in cluster.nodes)
        # In one line, and first: that much every report of a failure shows.
        raise AssertionError(f"{nodes}; {err}") from err


def _digest(cluster, host):
    argv = [
        "journalctl",
        "--no-pager",
        "--boot",
        "--lines=1",
        "--output=cat",
        "--unit=repmgr-guard",
    ]
    try:
        said = cluster.sql(host.name, _DAEMON, "repmgr", timeout=10)
        return f"{said}, guard: {host.run(argv, check=False).stdout.strip()}"
    except LabError as err:
        return f"{str(err).splitlines()[-1]}"


def answering(cluster):
    """The minions that answer."""
    argv = ["salt", "--out=json", "--static", "--timeout=5", "*", "test.ping"]
    done = cluster.lab.master.run(argv, check=False)
    try:
        told = json.loads(done.stdout)
    except (ValueError, subprocess.SubprocessError):
        return []
    return [name for name, answer in told.items() if answer is True]
