"""``scripts/bench failover``: how long nobody can write when a primary is lost, and what is lost."""

import statistics
import time
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from saltext_repmgr.guard import rules
from saltext_repmgr.utils.spec import ClusterSpec
from tests.failures import faults
from tests.failures import judge
from tests.failures import pillars
from tests.failures.faults import Fault
from tests.failures.running import Client
from tests.integration.support import Cluster
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.process import wait_until
from tests.lab.screen import Screen

from . import machine
from .least import Timing
from .least import least
from .least import timing

_NODES = ("node1", "node2", "node3")
_FAULTS = (faults.KILL, faults.POWER_OFF, faults.CUT)

_BEFORE_SECONDS = 3
# More than repmgr's own settings take.
_PATIENCE_SECONDS = 180
_AFTER_SECONDS = 3
# So long the old primary is watched once its fault is taken back.
_RETURN_SECONDS = 10
_WHOLE_SECONDS = 90

# From conninfo, on all sides: tcp_user_timeout ends an attempt at a host that does not answer.
_CONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Side:
    """What is compared: a pillar, and the timing that follows from it."""

    name: str
    pillar: Mapping[str, Any]
    times: Timing


# As docs/design-failover.md has them.
_OURS = timing(
    {"reconnect_attempts": 1},
    connect=_CONNECT_SECONDS,
    refused=rules.REFUSED_SECONDS,
    silent=ClusterSpec.failover_after,
)
_SIDES = (
    Side("ours", {}, _OURS),
    Side("ours, synchronous", pillars.SYNCHRONOUS, _OURS),
    Side(
        "repmgr's defaults",
        pillars.SHIPPED,
        timing(pillars.SHIPPED["settings"], connect=_CONNECT_SECONDS),
    ),
)


@dataclass(frozen=True)
class Sample:
    """One loss of a primary. Seconds, and numbers of acknowledged rows.

    ``ended`` is false where nobody took over while it was waited for.
    """

    side: str
    fault: str
    gap: float
    ended: bool
    lost: int
    two_writable: float
    busy_before: float


def measure(name: str, release: str, runs: int, screen: Screen) -> dict[str, Any]:
    """Measure, show a table, and return all figures.

    :param runs: of each fault and side.
    :raises LabError: something could not be measured.
    """
    screen.section(f"Hosts: {len(_NODES)}, Debian {release}, PostgreSQL and repmgr installed")
    screen.doing("booting; minutes, the first time")
    samples: list[Sample] = []
    with Lab(name, nodes=_NODES, release=release, preinstalled=True) as lab:
        screen.event("every minion answers")
        lab.snapshot("bare")
        clusters: dict[str, Cluster] = {}
        for side in _SIDES:
            screen.doing(f"{side.name}: the cluster is built")
            clusters[side.name] = _build(lab, side)
            screen.event(f"built: {side.name}")
        for number in range(1, runs + 1):
            screen.section(f"Round {number} of {runs}")
            for fault in _FAULTS:
                for side in _SIDES:
                    samples.append(_lose(clusters[side.name], side, fault, screen))
    return _report(samples, screen)


def _build(lab: Lab, side: Side) -> Cluster:
    lab.restore("bare")
    cluster = Cluster(lab, pillar=pillars.for_client())
    _orchestrate(cluster, side)
    # Where a row waits for a standby, there has to be one first.
    cluster.publish(**pillars.for_client(side.pillar))
    _orchestrate(cluster, side)
    lab.snapshot(side.name)
    return cluster


def _orchestrate(cluster: Cluster, side: Side) -> None:
    run = cluster.orchestrate()
    if not run.ok:
        raise LabError(f"{side.name}: no cluster came of it:\n{run}")


def _lose(cluster: Cluster, side: Side, fault: Fault, screen: Screen) -> Sample:
    lab, title = cluster.lab, f"{fault.name}, {side.name}"
    screen.doing(f"{title}: the hosts are put back")
    lab.restore(side.name)
    if not wait_until(cluster.whole, _WHOLE_SECONDS, step=0.5):
        raise LabError(f"{side.name}: the cluster did not come up whole after its hosts booted")
    screen.doing(f"{title}: waiting for the machine to be quiet")
    busy = machine.settle(lab)
    old = cluster.primary()
    assert old is not None
    with Client(lab, _NODES, old) as client:
        time.sleep(_BEFORE_SECONDS)
        screen.doing(title)
        began = time.monotonic()
        fault.strike(lab[old])
        row = client.wait_for_row(began, _PATIENCE_SECONDS, besides=old)
        time.sleep(_AFTER_SECONDS)
        gap = judge.longest_gap(client.acks(), began, time.monotonic())
        fault.undo(lab[old])
        time.sleep(_RETURN_SECONDS)
        client.stop()
        sample = Sample(
            side=side.name,
            fault=fault.name,
            gap=gap.seconds,
            ended=row is not None,
            lost=len(client.lost(row.node if row else old)),
            two_writable=judge.seconds_of(judge.two_writable(client.acks())),
            busy_before=busy,
        )
    screen.event(
        f"{title:<34} {_seconds(sample.gap, sample.ended)} s, {sample.lost} rows lost,"
        f" two writable for {sample.two_writable:.1f} s"
    )
    return sample


# -- what came of it -------------------------------------------------------------------------


def _seconds(seconds: float, ended: bool = True) -> str:
    return f"{seconds:7.2f}" if ended else f">{seconds:6.2f}"


def _report(samples: Sequence[Sample], screen: Screen) -> dict[str, Any]:
    rows = [
        (fault, side, [s for s in samples if (s.fault, s.side) == (fault.name, side.name)])
        for fault in _FAULTS
        for side in _SIDES
    ]
    count = len(rows[0][2])
    screen.section(f"Seconds without a write as a client sees it, a row every 20 ms, {count} runs")
    screen.verbatim(_table(rows))
    busiest, cores = max(s.busy_before for s in samples), machine.describe()["cores"]
    if busiest > machine.QUIET_CORES:
        screen.section("The machine was NOT QUIET: these are no figures to go by")
        screen.text(f"up to {busiest:.1f} of {cores} cores were busy right before a measurement")
    return {
        "subject": "failover",
        "machine": machine.describe(),
        "samples": [asdict(sample) for sample in samples],
        "least": {
            f"{fault.name}, {side.name}": least(side.times, silent=fault is not faults.KILL)
            for fault, side, _ in rows
        },
        "median": {
            f"{fault.name}, {side.name}": statistics.median(s.gap for s in taken)
            for fault, side, taken in rows
        },
    }


def _table(rows: Sequence[tuple[Fault, Side, Sequence[Sample]]]) -> str:
    heads = ("least", "min", "median", "max", "rows lost", "two writable, s")
    lines = [f"{'':<34} " + " ".join(f"{head:>7}" for head in heads)]
    for fault, side, taken in rows:
        gaps = [sample.gap for sample in taken]
        figures = [
            _seconds(least(side.times, silent=fault is not faults.KILL)),
            _seconds(min(gaps)),
            _seconds(statistics.median(gaps)),
            _seconds(max(gaps), all(sample.ended for sample in taken)),
            f"{sum(sample.lost for sample in taken):9}",
            f"{sum(sample.two_writable for sample in taken):15.1f}",
        ]
        lines.append(f"{f'{fault.name}, {side.name}':<34} " + " ".join(figures))
    return "\n".join(
        [*lines, "", "least: by the settings alone, all else at its best; lost: in all runs"]
    )
