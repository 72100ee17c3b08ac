"""What somebody wants of a lab, as plain data that fits in a JSON file."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from .errors import LabError
from .releases import RELEASES

#: The network of every lab; labs do not see each other's.
SUBNET = "10.77.0.0/24"
_PREFIX = "10.77.0."
_MASTER_NUMBER = 10

#: The address of this machine in that network, for its programs that are started there.
OUTSIDE = f"{_PREFIX}1/24"

#: The host that runs the Salt master.
MASTER = "master"

# The name of an interface holds 15 characters, and "vb-" is in front of it.
_HOST_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
_LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class LabSpec:
    """The parameters of a lab; :class:`~tests.lab.lab.Lab` says what they mean."""

    name: str
    nodes: tuple[str, ...] = ("node1", "node2", "node3")
    release: str = "bookworm"
    salt: str | None = "3008.3"
    preinstalled: bool = False
    hosts_file: bool = True
    persistent: bool = False
    master_config: Mapping[str, Any] = field(default_factory=dict)
    minion_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _LAB_NAME.fullmatch(self.name):
            raise LabError(f"not a name for a lab: {self.name!r}")
        if self.release not in RELEASES:
            raise LabError(f"no such release: {self.release!r} (there are {', '.join(RELEASES)})")
        for name in (MASTER, *self.nodes):
            check_host_name(name)
        if len({MASTER, *self.nodes}) != len(self.nodes) + 1:
            raise LabError(f"names given twice: {', '.join((MASTER, *self.nodes))}")

    def to_json(self) -> dict[str, Any]:
        """The same as what :meth:`from_json` takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LabSpec":
        """The inverse of :meth:`to_json`."""
        return cls(**{**data, "nodes": tuple(data["nodes"])})


def check_host_name(name: str) -> None:
    """Raise :class:`LabError` unless a host can have this name."""
    if not _HOST_NAME.fullmatch(name):
        raise LabError(f"not a name for a host: {name!r} (a-z, 0-9, '-', 12 characters at most)")


def first_addresses(nodes: tuple[str, ...]) -> dict[str, str]:
    """The addresses of the hosts a lab starts with, the master first."""
    hosts = (MASTER, *nodes)
    return {name: f"{_PREFIX}{_MASTER_NUMBER + index}" for index, name in enumerate(hosts)}


def next_address(taken: Mapping[str, str]) -> str:
    """An address for one more host: none that was in use before, so that no cache knows it."""
    last = max(int(address.rpartition(".")[2]) for address in taken.values())
    if last >= 254:
        raise LabError("no address left in the lab")
    return f"{_PREFIX}{last + 1}"
