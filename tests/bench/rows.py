"""What is measured side by side, each from outside and in seconds."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo.returns import State
from tests.demo.returns import orchestration
from tests.demo.returns import states
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.spec import SUBNET

_SCRIPT = Path(__file__).with_name("by-hand.sh")
_SECONDS = 600
_NOPS = 25
_OPTIONS = ["--out=json", "--log-level=error"]


@dataclass(frozen=True)
class Step:
    """A step of an orchestration: all of its seconds, and those in states of its slowest node.

    ``longest`` is the state that took most of those, with its seconds.
    """

    name: str
    seconds: float
    in_states: float
    longest: str
    changed: bool


@dataclass(frozen=True)
class Timed:
    """One measurement; ``steps`` where there are any."""

    seconds: float
    steps: tuple[Step, ...] = ()


def by_hand(lab: Lab) -> Timed:
    """The script that a person in a hurry would write."""
    env = {f"ON_{host.name.upper()}": " ".join(host.prefix()) for host in lab.nodes}
    began = time.monotonic()
    done = subprocess.run(
        [_SCRIPT],
        env={**os.environ, **env, "SUBNET": SUBNET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise LabError(f"{_SCRIPT.name} exited {done.returncode}:\n{done.stderr[-2000:]}")
    return Timed(seconds)


def write_empty(lab: Lab, steps: int) -> None:
    """Put an orchestration on the master that has so many steps and does nothing."""
    nops: dict[str, Any] = {f"nothing {number}": {"test.nop": []} for number in range(_NOPS)}
    nodes = [host.name for host in lab.nodes]
    run = [{"tgt": nodes}, {"tgt_type": "list"}, {"sls": "bench.nops"}]
    empty = {f"step {number}": {"salt.state": run} for number in range(steps)}
    for name, sls in (("nops", nops), ("empty", empty)):
        lab.master.write(f"/srv/salt/bench/{name}.sls", f"#!json\n{json.dumps(sls)}\n")


def empty(lab: Lab) -> Timed:
    """Salt, with nothing to do."""
    return Timed(_orchestrate(lab, "bench.empty")[0])


def ours(lab: Lab) -> Timed:
    """This project."""
    seconds, steps = _orchestrate(lab, "repmgr.cluster")
    return Timed(seconds, tuple(_with_its_nodes(lab, step) for step in steps))


def count_steps(lab: Lab) -> int:
    """How many steps this project's orchestration has; a dry run changes nothing."""
    return len(_orchestrate(lab, "repmgr.cluster", "test=True")[1])


def _orchestrate(lab: Lab, sls: str, *arguments: str) -> tuple[float, list[State]]:
    command = ["salt-run", "state.orchestrate", sls, *arguments, *_OPTIONS]
    began = time.monotonic()
    done = lab.master.run(command, check=False, timeout=_SECONDS)
    seconds = time.monotonic() - began
    try:
        steps = orchestration(json.loads(done.stdout))
    except ValueError as err:
        raise LabError(f"{sls}: {err}\n{done.stderr[-2000:]}") from None
    failed = [f"{step.name}: {step.comment:.500}" for step in steps if step.result is False]
    if failed or done.returncode:
        raise LabError("\n".join([f"{sls} exited {done.returncode}", *failed]))
    return seconds, steps


def _with_its_nodes(lab: Lab, step: State) -> Step:
    runs: list[list[State]] = [[]]
    if step.jid:
        # An orchestration does not show what its nodes did when they changed nothing.
        look_up = ["salt-run", "jobs.list_job", step.jid, *_OPTIONS]
        job = json.loads(lab.master.run(look_up).stdout)
        runs += [states(answer["return"]) for answer in job["Result"].values()]
    slowest = max(runs, key=_seconds)
    top = max(slowest, key=lambda state: state.seconds, default=None)
    longest = f"{top.name} {top.seconds:.2f}" if top else ""
    return Step(step.name, step.seconds, _seconds(slowest), longest, step.changed)


def _seconds(run: list[State]) -> float:
    return sum(state.seconds for state in run)
