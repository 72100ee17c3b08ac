"""Run the orchestration on the master and tell what it does while it does it."""

import contextlib
import fnmatch
import json
import subprocess
import tempfile
from dataclasses import dataclass
from dataclasses import field
from typing import IO
from typing import Any

from tests.lab import Lab
from tests.lab import LabError
from tests.lab.screen import Screen

from .bus import Bus
from .bus import Event
from .returns import State
from .returns import orchestration
from .returns import states
from .returns import without_noise

COMMAND = "salt-run state.orchestrate repmgr.cluster"

# Events that come after the command's own end belong to it still.
_QUIET_SECONDS = 0.5
# A state that takes as long is worth a line of its own.
_LONG_SECONDS = 5


class OrchestrationFailed(LabError):
    """The orchestration, or a state of it on a node, failed."""


@dataclass
class Run:
    """What an orchestration did: its own steps, and per step what each node returned."""

    steps: list[State] = field(default_factory=list)
    nodes: dict[tuple[str, str], list[State]] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """Every change, as the name of the node and that of its state."""
        found = [
            f"{node}: {state.name}"
            for (_, node), run in self.nodes.items()
            for state in run
            if state.changed
        ]
        # A step shows what its nodes changed; what those did not tell must not be missed.
        told = {step for (step, _), run in self.nodes.items() if any(s.changed for s in run)}
        return found + [f"step {s.name}" for s in self.steps if s.changed and s.name not in told]

    def summary(self) -> str:
        """All of it in numbers."""
        nodes = {node for _, node in self.nodes}
        total = sum(len(run) for run in self.nodes.values())
        return (
            f"{len(self.steps)} steps, {total} states on {len(nodes)} nodes:"
            f" {len(self.changed)} changes"
        )


class Narrator:
    """Turns events of the master into lines on the screen, and remembers what nodes returned."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._run_id = ""
        self._step = ""
        self._asked = False
        self._jobs: dict[str, str] = {}
        self._busy: dict[str, str] = {}
        self.nodes: dict[tuple[str, str], list[State]] = {}

    def hear(self, event: Event) -> None:
        """Tell about an event what there is to tell."""
        tag, data = event
        for pattern, tell in (
            ("salt/run/*/new", self._run),
            ("salt/run/*/args", self._begin_step),
            ("salt/job/*/new", self._job),
            ("salt/job/*/prog/*", self._progress),
            ("salt/job/*/ret/*", self._returned),
            ("repmgr/*/clone", self._clone),
        ):
            if fnmatch.fnmatchcase(tag, pattern):
                # What an event lacks cannot be told; the outcome does not depend on it.
                with contextlib.suppress(KeyError):
                    tell(tag.split("/"), data)

    def _doing(self, node: str, what: str | None) -> None:
        if what is None:
            self._busy.pop(node, None)
        else:
            self._busy[node] = what
        busy = [f"{name} {work}" for name, work in sorted(self._busy.items())]
        self._screen.doing(f"{self._step}: {', '.join(busy)}" if busy else "the next step")

    def _run(self, tag: list[str], data: dict[str, Any]) -> None:
        if data["fun"] == "runner.state.orchestrate":
            self._run_id = tag[2]

    def _begin_step(self, tag: list[str], data: dict[str, Any]) -> None:
        if tag[2] != self._run_id:
            return
        self._step, self._asked = data["name"], False
        targets = data["tgt"] if isinstance(data["tgt"], list) else [data["tgt"]]
        self._screen.event(f"{self._step}: {', '.join(targets)}")
        self._busy = dict.fromkeys(targets, "begins")
        self._doing(targets[0], "begins")

    def _job(self, tag: list[str], data: dict[str, Any]) -> None:
        if data["fun"] == "state.sls":
            self._jobs[tag[2]] = self._step
        elif data["fun"] == "repmgr_node.report" and not self._asked:
            # The first and the last step ask all nodes and are not announced as steps.
            step = "verify" if self._step else "preflight"
            self._screen.event(f"{step}: {', '.join(data['tgt'])}")
            self._screen.doing(f"{step}: each node is asked what it sees")
            self._asked = True

    def _progress(self, tag: list[str], data: dict[str, Any]) -> None:
        node, state = tag[4], State.of(data["ret"])
        if tag[2] not in self._jobs:
            return
        if state.result is False or state.seconds >= _LONG_SECONDS or "to do: " in state.comment:
            self._screen.event(f"  {_about(node, state)}")
        self._doing(node, f"{state.number + 1} of {data['len']} states")

    def _returned(self, tag: list[str], data: dict[str, Any]) -> None:
        step, node = self._jobs.get(tag[2]), tag[4]
        if step is None:
            return
        self._doing(node, None)
        try:
            run = self.nodes[step, node] = states(data["return"])
        except ValueError as err:
            self._screen.event(f"  {node}: {err}")
            return
        changed = sum(state.changed for state in run)
        self._screen.event(f"  {node}: {len(run)} states, {changed} changed")

    def _clone(self, _: list[str], data: dict[str, Any]) -> None:
        node, source = data["node"], data["source"]
        if data["stage"] == "started":
            self._screen.event(f"  {node}: cloning from {source}")
        doing = f"cloning from {source}"
        if data.get("bytes_total"):
            done, total = (data[key] / 1e6 for key in ("bytes_done", "bytes_total"))
            doing += f", {done:.1f} of {total:.1f} MB"
        if data["stage"] == "ended":
            self._screen.event(f"  {node}: copied in {data['seconds']} s")
            doing = "starts"
        self._doing(node, doing)


def _about(node: str, state: State) -> str:
    where = "" if node in state.name else f"{node}: "
    if state.result is False:
        return f"{where}{state.name} FAILED: {state.comment}"
    first = state.comment.partition("\n")[0]
    if first.startswith(f"{node} is "):
        return first
    return f"{where}{state.name}: {first} ({state.seconds:.1f} s)"


def orchestrate(lab: Lab, screen: Screen) -> Run:
    """Run :data:`COMMAND` and show what it does.

    :raises OrchestrationFailed: it or one of its states did not succeed; all is on the screen.
    """
    narrator = Narrator(screen)
    screen.doing("Salt starts")
    returncode, printed, said = _run(lab, narrator)
    screen.doing("")
    try:
        steps = orchestration(json.loads(printed))
    except ValueError as err:
        screen.text(without_noise(said))
        raise OrchestrationFailed(f"`{COMMAND}` exited {returncode}: {err}") from None
    failed = [step for step in steps if step.result is False]
    screen.text(without_noise(said, [step.comment for step in failed]))
    for step in failed:
        screen.event(f"{step.name} FAILED: {step.comment}")
    if failed or returncode:
        names = ", ".join(step.name for step in failed) or "none"
        raise OrchestrationFailed(f"`{COMMAND}` exited {returncode}; steps that failed: {names}")
    screen.event(f"{steps[-1].name}: {steps[-1].comment}")
    run = Run(steps, narrator.nodes)
    screen.event(f"done: {run.summary()}")
    return run


def _run(lab: Lab, narrator: Narrator) -> tuple[int, str, str]:
    """Run the command to its end; its return code, its output, and its standard error."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Bus(lab.master) as bus:
        process = lab.master.popen(
            [*COMMAND.split(), "--out=json", "--log-level=error"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            while (event := bus.next(_QUIET_SECONDS)) or process.poll() is None:
                if event:
                    narrator.hear(event)
        finally:
            process.terminate()
            process.wait()
        return process.returncode, _text(out), _text(err)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
