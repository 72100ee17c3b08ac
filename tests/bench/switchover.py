"""``scripts/bench switchover``: how long clients wait while the primary is moved on purpose."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.failures import judge
from tests.failures import pillars
from tests.failures.load import Load
from tests.failures.running import Client
from tests.integration.support import Cluster
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.process import wait_until
from tests.lab.screen import Screen

from . import machine

_NODES = ("node1", "node2", "node3")
_ROUTER = "app1"
_CLIENTS = 8
# As many as the hosts of one small machine take without being what is measured.
_RATE = 200
_BEFORE_SECONDS = 3
_AFTER_SECONDS = 3
_WHOLE_SECONDS = 90

Move = Callable[[Cluster, str], float]


@dataclass(frozen=True)
class Sample:
    """One move of the primary.

    gap
        The longest time without a write, in seconds.
    command
        How long the command took, in seconds.
    failed, lost
        Transactions that failed, and those that were confirmed and are not there.
    """

    side: str
    gap: float
    command: float
    failed: int
    lost: int
    written: int
    busy_before: float


def by_salt(cluster: Cluster, to: str) -> float:
    """Move the primary with this project; return the seconds that took."""
    return _timed(
        lambda: cluster.lab.master.run(["salt-run", "repmgr.switchover", to], timeout=180)
    )


def by_hand(cluster: Cluster, to: str) -> float:
    """Move it with repmgr's own command, over SSH."""
    argv = [f"/usr/lib/postgresql/{cluster.version}/bin/repmgr", "-f", "/etc/repmgr.conf"]
    argv += ["standby", "switchover", "--siblings-follow"]
    return _timed(lambda: cluster.lab[to].run(argv, user="postgres", timeout=180))


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def measure(name: str, release: str, runs: int, screen: Screen) -> dict[str, Any]:
    """Measure, show a table, and return all figures.

    :param runs: of each side.
    :raises LabError: something could not be measured.
    """
    screen.section(f"Hosts: {len(_NODES)} and one with PgBouncer, Debian {release}")
    screen.doing("booting; minutes, the first time")
    samples: list[Sample] = []
    with Lab(name, nodes=[*_NODES, _ROUTER], release=release, preinstalled=True) as lab:
        screen.event("every minion answers")
        screen.doing("the cluster is built")
        cluster = _build(lab)
        screen.event("built, and a first switchover by each side, which is not counted")
        for number in range(1, runs + 1):
            screen.section(f"Round {number} of {runs}")
            for side, take in _SIDES.items():
                samples.append(take(cluster, side, screen))
    return _report(samples, screen)


def _build(lab: Lab) -> Cluster:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], cwd=directory, check=True
        )
        private = Path(directory, "key").read_text(encoding="utf-8")
        public = Path(directory, "key.pub").read_text(encoding="utf-8")
    part = {
        "ssh": {"private_key": private, "public_key": public},
        "pgbouncer": {
            "password": "of-the-pooler-alone",
            "databases": [pillars.DATABASE],
            "hosts": {_ROUTER: {"host": lab[_ROUTER].address}},
            "settings": {"pool_mode": "transaction"},
        },
    }
    cluster = Cluster(lab, pillar=pillars.for_client(part), others=(_ROUTER,))
    _orchestrate(cluster)
    Load(lab[_NODES[0]]).prepare()
    # PgBouncer gets to know of a database in the next run.
    _orchestrate(cluster)
    for move in (by_salt, by_hand):
        move(cluster, _next(cluster))
        _await_whole(cluster)
    return cluster


def _orchestrate(cluster: Cluster) -> None:
    run = cluster.orchestrate()
    if not run.ok:
        raise LabError(f"no cluster came of it:\n{run}")


def _await_whole(cluster: Cluster) -> None:
    if not wait_until(cluster.whole, _WHOLE_SECONDS, step=0.5):
        said = cluster.lab.master.run(["salt-run", "repmgr.status"], check=False, timeout=60)
        raise LabError(f"the cluster is not whole after a switchover:\n{said.stdout}")


def _next(cluster: Cluster) -> str:
    """The node that is to be the primary: never the one that is it."""
    primary = cluster.primary()
    return next(name for name in _NODES if name != primary)


def _through_pgbouncer(cluster: Cluster, side: str, screen: Screen) -> Sample:
    """pgbench through PgBouncer."""
    to, busy = _ready(cluster, side, screen)
    lab = cluster.lab
    load = Load(lab[cluster.primary()])
    load.prepare()
    with load.running(lab[_ROUTER], _CLIENTS, rate=_RATE) as work:
        time.sleep(_BEFORE_SECONDS)
        screen.doing(f"{side}: pgbench runs, the primary goes to {to}")
        command = by_salt(cluster, to)
        time.sleep(_AFTER_SECONDS)
    found = work.result()
    kept = int(cluster.sql(to, "SELECT count(*) FROM load", pillars.DATABASE))
    return _told(
        screen,
        Sample(
            side=side,
            gap=found.longest_wait,
            command=command,
            failed=found.failed,
            lost=max(0, found.done - kept),
            written=found.done,
            busy_before=busy,
        ),
    )


def _direct(move: Move) -> Callable[[Cluster, str, Screen], Sample]:
    """A client that writes to the nodes themselves, a row every 20 ms, to whoever takes it."""

    def take(cluster: Cluster, side: str, screen: Screen) -> Sample:
        to, busy = _ready(cluster, side, screen)
        old = cluster.primary()
        assert old is not None
        with Client(cluster.lab, _NODES, old) as client:
            time.sleep(_BEFORE_SECONDS)
            screen.doing(f"{side}: the primary goes to {to}")
            began = time.monotonic()
            command = move(cluster, to)
            time.sleep(_AFTER_SECONDS)
            gap = judge.longest_gap(client.acks(), began, time.monotonic())
            client.stop()
            acks = client.acks()
            lost = len(client.lost(to))
        sample = Sample(side, gap.seconds, command, 0, lost, len(judge.rows(acks)), busy)
        return _told(screen, sample)

    return take


def _ready(cluster: Cluster, side: str, screen: Screen) -> tuple[str, float]:
    screen.doing(f"{side}: waiting for the cluster and for the machine to be quiet")
    _await_whole(cluster)
    busy = machine.settle(cluster.lab)
    return _next(cluster), busy


_OURS = "ours, 8 clients through PgBouncer"
_SIDES: dict[str, Callable[[Cluster, str, Screen], Sample]] = {
    _OURS: _through_pgbouncer,
    "ours, a direct client": _direct(by_salt),
    "repmgr by hand, a direct client": _direct(by_hand),
}


# -- what came of it -------------------------------------------------------------------------


def _told(screen: Screen, sample: Sample) -> Sample:
    screen.event(
        f"{sample.side:<34} {sample.gap:6.2f} s without a write, command {sample.command:5.1f} s,"
        f" {sample.failed} failed, {sample.lost} lost of {sample.written}"
    )
    return sample


def _report(samples: Sequence[Sample], screen: Screen) -> dict[str, Any]:
    groups = {side: [s for s in samples if s.side == side] for side in _SIDES}
    count = len(groups[_OURS])
    screen.section(f"Seconds: median (greatest) of {count} runs; failed and lost: the sum")
    lines = [f"{'':<34} {'no write':>15} {'command':>15} {'failed':>7} {'lost':>5}"]
    for side, taken in groups.items():
        gap, command = _figures(s.gap for s in taken), _figures(s.command for s in taken)
        failed, lost = sum(s.failed for s in taken), sum(s.lost for s in taken)
        lines.append(f"{side:<34} {gap:>15} {command:>15} {failed:>7} {lost:>5}")
    screen.verbatim("\n".join(lines) + "\n")
    busiest, cores = max(s.busy_before for s in samples), machine.describe()["cores"]
    if busiest > machine.QUIET_CORES:
        screen.section("The machine was NOT QUIET: these are no figures to go by")
        screen.text(f"up to {busiest:.1f} of {cores} cores were busy right before a measurement")
    return {
        "subject": "switchover",
        "machine": machine.describe(),
        "samples": [asdict(sample) for sample in samples],
        "median": {
            side: {
                "gap": statistics.median(s.gap for s in taken),
                "command": statistics.median(s.command for s in taken),
            }
            for side, taken in groups.items()
        },
    }


def _figures(values) -> str:
    found = list(values)
    return f"{statistics.median(found):.2f} ({max(found):.2f})"
