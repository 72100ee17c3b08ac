"""Where the lab keeps things on the machine.

The cache holds what is expensive to make and safe to share: images, interpreters, Salt
environments. The runs hold the disks and the state of the labs that are up.
"""

import os
from pathlib import Path

#: The checkout this package belongs to: its wheel goes into the hosts, its states on the master.
CHECKOUT = Path(__file__).resolve().parents[2]


def cache_dir() -> Path:
    """The cache; ``REPMGR_LAB_CACHE`` moves it."""
    return Path(os.environ.get("REPMGR_LAB_CACHE", "/var/cache/saltext-repmgr-lab")).absolute()


def runs_dir() -> Path:
    """The parent of all run directories; ``REPMGR_LAB_RUNS`` moves it."""
    return Path(os.environ.get("REPMGR_LAB_RUNS", "/var/lib/saltext-repmgr-lab")).absolute()
