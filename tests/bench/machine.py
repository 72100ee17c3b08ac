"""The machine the figures are from: what it is, and whether it is quiet."""

import os
import time
from pathlib import Path
from typing import Any

from tests.lab import Lab

#: More than so many busy cores are somebody else's work.
QUIET_CORES = 0.4
_QUIET_SECONDS = 1.0
_PATIENCE_SECONDS = 60


def describe() -> dict[str, Any]:
    """What has to be known to compare figures of two machines."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": cores, "memory_gib": round(memory, 1)}


def _busy_time() -> float:
    """Processor seconds that all cores together were not idle, since the machine came up."""
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    user, nice, system, _, _, *interrupts = map(int, first.split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _busy_cores(seconds: float) -> float:
    before, began = _busy_time(), time.monotonic()
    time.sleep(seconds)
    return (_busy_time() - before) / (time.monotonic() - began)


def settle(lab: Lab) -> float:
    """Wait until the minions answer and the machine is quiet; return how many cores were busy.

    After a minute it is given up: the machine has other things to do.
    """
    lab.wait_for_minions()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (busy := _busy_cores(_QUIET_SECONDS)) > QUIET_CORES and time.monotonic() < deadline:
        pass
    return busy
