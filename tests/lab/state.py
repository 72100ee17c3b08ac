"""What is known about the labs that are up, so that other processes find them."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .anchor import Anchor
from .cgroup import lab_cgroups
from .errors import LabError
from .errors import LabRunning
from .errors import NoSuchLab
from .locks import acquire
from .paths import runs_dir
from .process import ProcessId
from .spec import LabSpec

_FILE = "lab.json"


@dataclass(frozen=True)
class LabState:
    """Everything that is needed to take part in a lab that another process started."""

    spec: LabSpec
    owner: ProcessId
    anchor: Anchor
    addresses: dict[str, str]
    salt_files: str | None
    layers: tuple[str, ...]
    mounts: tuple[tuple[str, str], ...]
    states: str

    @property
    def run_dir(self) -> Path:
        """Where the lab has its disks."""
        return run_dir(self.spec.name)

    def save(self) -> None:
        """Write it, never half."""
        data = dataclasses.asdict(self)
        data["spec"] = self.spec.to_json()
        scratch = self.run_dir / f"{_FILE}.{os.getpid()}"
        scratch.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        scratch.replace(self.run_dir / _FILE)


def run_dir(name: str) -> Path:
    """Where a lab of that name has its disks and its state."""
    return runs_dir() / name


def load(name: str) -> LabState:
    """Read the state of a lab that is up.

    :raises NoSuchLab: there is none of that name.
    """
    found = _read(name)
    if not found.anchor.alive():
        raise NoSuchLab(f"the lab {name!r} is not up any more")
    return found


def require_free(name: str) -> None:
    """Raise :class:`LabRunning` if there is a lab of that name."""
    try:
        load(name)
    except NoSuchLab:
        return
    raise LabRunning(f"there is a lab {name!r} already")


def _read(name: str) -> LabState:
    try:
        data: dict[str, Any] = json.loads((run_dir(name) / _FILE).read_text(encoding="utf-8"))
        return LabState(
            spec=LabSpec.from_json(data["spec"]),
            owner=ProcessId(**data["owner"]),
            anchor=Anchor(**{key: ProcessId(**value) for key, value in data["anchor"].items()}),
            addresses=data["addresses"],
            salt_files=data["salt_files"],
            layers=tuple(data["layers"]),
            mounts=tuple((source, place) for source, place in data["mounts"]),
            states=data["states"],
        )
    except FileNotFoundError:
        raise NoSuchLab(f"there is no lab {name!r}") from None
    except (KeyError, TypeError, ValueError) as err:
        raise NoSuchLab(f"the lab {name!r} is not one of this version: {err!r}") from None


def running() -> list[LabState]:
    """All labs that are up on this machine, by name."""
    found = []
    for file in sorted(runs_dir().glob(f"*/{_FILE}")):
        with contextlib.suppress(NoSuchLab):
            found.append(load(file.parent.name))
    return found


def in_use() -> frozenset[Path]:
    """What the hosts that are up have mounted of the cache."""
    labs = running()
    layers = {Path(layer) for lab in labs for layer in lab.layers}
    return frozenset(layers | {Path(lab.salt_files) for lab in labs if lab.salt_files})


def reap() -> None:
    """Clear away what labs left behind whose janitor was killed, and only that."""
    for directory in runs_dir().glob("*/"):
        lock = directory.with_name(f"{directory.name}.lock")
        try:
            held = acquire(lock, timeout=0)
        except LabError:
            continue
        try:
            if _abandoned(directory.name):
                _clear(directory)
                lock.unlink(missing_ok=True)
        finally:
            os.close(held)


def _abandoned(name: str) -> bool:
    """Whether nobody uses a lab that has no janitor; ends what is left of it if so."""
    try:
        state = _read(name)
    except NoSuchLab:
        return True
    if state.anchor.alive() and (state.spec.persistent or state.owner.alive()):
        return False
    state.anchor.init.send(signal.SIGKILL)
    return state.anchor.init.wait_gone(20)


def _clear(directory: Path) -> None:
    for group in lab_cgroups(directory):
        for parent, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(parent)
    shutil.rmtree(directory, ignore_errors=True)
