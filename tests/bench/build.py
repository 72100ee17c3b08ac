"""``scripts/bench build``: three hosts become a cluster, by hand and by Salt."""

import statistics
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from tests.demo.hosts import pillar
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.screen import Screen

from . import cluster
from . import machine
from . import rows
from .rows import Timed

_NODES = ("node1", "node2", "node3")
_TARGET = 1.5
_BARE = "bare"


@dataclass(frozen=True)
class Sample:
    """A measurement with the row it belongs to and how many cores were busy right before it."""

    row: str
    busy_before: float
    timed: Timed


def measure(name: str, release: str, runs: int, screen: Screen) -> dict[str, Any]:
    """Measure, show a table, and return all figures.

    :raises LabError: something could not be measured.
    """
    screen.section(f"Hosts: {len(_NODES)}, Debian {release}, PostgreSQL and repmgr installed")
    screen.doing("booting; minutes, the first time")
    lab = Lab(name, nodes=_NODES, release=release, preinstalled=True, pillar=pillar(_NODES))
    with lab:
        screen.event("every minion answers")
        cluster.require_bare(lab)
        screen.doing("their disks are copied")
        lab.snapshot(_BARE)
        steps = rows.count_steps(lab)
        screen.event(f"ready; the orchestration has {steps} steps")
        samples: list[Sample] = []
        for number in range(1, runs + 1):
            screen.section(f"Round {number} of {runs}")
            _round(lab, steps, samples, screen)
    labels = {
        "by hand": "a  by hand, in parallel",
        "empty": f"b  empty Salt, {steps} steps of 25 test.nop",
        "fresh": "c  ours, fresh hosts",
        "again": "d  ours, nothing to do",
    }
    return _report(samples, labels, screen)


def _round(lab: Lab, steps: int, samples: list[Sample], screen: Screen) -> None:
    def take(row: str, run: Callable[[Lab], Timed]) -> Timed:
        screen.doing(f"{row}: waiting for the machine to be quiet")
        busy = machine.settle(lab)
        screen.doing(row)
        timed = run(lab)
        samples.append(Sample(row, busy, timed))
        screen.event(f"{row:<8} {timed.seconds:6.2f} s   ({busy:.1f} cores were busy before)")
        return timed

    def put_back() -> None:
        screen.doing("the hosts are put back")
        lab.restore(_BARE)
        cluster.require_bare(lab)

    put_back()
    take("by hand", rows.by_hand)
    cluster.require_built(lab)

    put_back()
    rows.write_empty(lab, steps)
    # Ours with nothing to do is never the first run of its files, so this one is not, either.
    rows.empty(lab)
    take("empty", rows.empty)
    cluster.require_bare(lab)
    take("fresh", rows.ours)
    cluster.require_built(lab)
    again = take("again", rows.ours)
    changed = [step.name for step in again.steps if step.changed]
    if changed:
        raise LabError(f"there was something to do after all: {', '.join(changed)}")


def _report(samples: Sequence[Sample], labels: dict[str, str], screen: Screen) -> dict[str, Any]:
    seconds = {row: [s.timed.seconds for s in samples if s.row == row] for row in labels}
    median = {row: statistics.median(values) for row, values in seconds.items()}
    ratios = {
        "fresh / (by hand + empty)": median["fresh"] / (median["by hand"] + median["empty"]),
        "nothing to do / empty": median["again"] / median["empty"],
    }
    screen.section(f"Build of {len(_NODES)} nodes, seconds, {len(seconds['fresh'])} runs")
    screen.verbatim(_table(seconds, ratios, labels))
    for row in ("fresh", "again"):
        screen.section(f"Where the time of '{labels[row]}' goes, seconds, medians")
        screen.verbatim(_breakdown([s.timed for s in samples if s.row == row]))
    busiest, cores = max(s.busy_before for s in samples), machine.describe()["cores"]
    if busiest > machine.QUIET_CORES:
        screen.section("The machine was NOT QUIET: these are no figures to go by")
        screen.text(f"up to {busiest:.1f} of {cores} cores were busy right before a measurement")
    return {
        "subject": "build",
        "machine": machine.describe(),
        "samples": [asdict(sample) for sample in samples],
        "median": median,
        "ratios": ratios,
    }


def _table(
    seconds: dict[str, list[float]], ratios: dict[str, float], labels: dict[str, str]
) -> str:
    width = max(map(len, labels.values()))
    lines = [f"{'':<{width}}  {'min':>7} {'median':>7} {'max':>7}"]
    for row, label in labels.items():
        figures = (min(seconds[row]), statistics.median(seconds[row]), max(seconds[row]))
        lines.append(f"{label:<{width}}  " + " ".join(f"{figure:7.2f}" for figure in figures))
    lines.append("")
    for ratio, value in ratios.items():
        verdict = "met" if value <= _TARGET else "MISSED"
        lines.append(f"{ratio:<{width}}  {value:15.2f}   target <= {_TARGET}: {verdict}")
    return "\n".join(lines)


def _breakdown(runs: Sequence[Timed]) -> str:
    def line(name: str, pairs: Sequence[tuple[float, float]], note: str = "") -> str:
        total, in_states = (statistics.median(values) for values in zip(*pairs, strict=True))
        rest = total - in_states
        return f"{name:<26} {total:7.2f} {in_states:7.2f} {rest:7.2f}  {note}".rstrip()

    typical = sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]
    lines = [f"{'':<26} {'all':>7} {'states':>7} {'rest':>7}  longest state, in a typical run"]
    outside = [(run.seconds - sum(step.seconds for step in run.steps), 0.0) for run in runs]
    # The nodes are asked before the first step; its own work is to say what came of it.
    lines.append(line("(start, asking nodes, end)", outside))
    for number, step in enumerate(typical.steps):
        pairs = [(run.steps[number].seconds, run.steps[number].in_states) for run in runs]
        lines.append(line(step.name, pairs, step.longest))
    whole = [(run.seconds, sum(step.in_states for step in run.steps)) for run in runs]
    return "\n".join([*lines, line("all", whole)])
