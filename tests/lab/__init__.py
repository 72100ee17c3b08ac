"""Real Debian hosts with systemd on one machine, with a Salt master and its minions on them.

    >>> from tests.lab import Lab
    >>> with Lab("try", nodes=("node1", "node2")) as lab:
    ...     lab.set_pillar({"cluster": "foobar"})
    ...     lab.salt("*", "test.ping").data
    ...     lab["node1"].power_off()

Needs root on Debian. What it lacks it installs or makes on first use: see :mod:`tests.lab.image`
and :mod:`tests.lab.saltenv`.
"""

from .errors import BootError
from .errors import CommandError
from .errors import CommandTimeout
from .errors import HostDown
from .errors import LabError
from .errors import LabRunning
from .errors import NoSuchLab
from .errors import SaltNotAnswering
from .host import Host
from .lab import Lab
from .salt_cli import SaltResult

__all__ = [
    "BootError",
    "CommandError",
    "CommandTimeout",
    "Host",
    "HostDown",
    "Lab",
    "LabError",
    "LabRunning",
    "NoSuchLab",
    "SaltNotAnswering",
    "SaltResult",
]
