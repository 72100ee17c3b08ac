"""What is on the disk of a host besides its image, and copies of that."""

import shutil
import uuid
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from . import provision
from .container import Machine
from .process import run
from .spec import MASTER
from .spec import LabSpec

_COPY_SECONDS = 600


@dataclass
class HostDisk:
    """Prepares the disk of one host; see :class:`~tests.lab.host.Provisioner`.

    ``addresses`` is the lab's own table: a host that is made later knows those made before.
    """

    spec: LabSpec
    name: str
    addresses: Mapping[str, str]
    mounts: Sequence[tuple[Path, Path]]
    salt_commands: list[str]
    kept_keys: Path
    pillar: Mapping[str, str] = field(default_factory=dict)

    def fill(self, upper: Path) -> None:
        """See :class:`~tests.lab.host.Provisioner`."""
        complete = self.spec.hosts_file
        provision.write_identity(upper, self.name, self.addresses, uuid.uuid4().hex, complete)
        for _, place in self.mounts:
            provision.open_way_to(upper, place)
        if self.spec.salt is None:
            return
        if self.name == MASTER:
            config = self.spec.master_config
            provision.write_master(upper, self.salt_commands, config, self.pillar)
        else:
            master = self.addresses[MASTER]
            config = self.spec.minion_config
            provision.write_minion(upper, self.name, master, self.salt_commands, config)
        provision.bring_salt_keys(upper, self.kept_keys)

    def salvage(self, upper: Path) -> None:
        """See :class:`~tests.lab.host.Provisioner`."""
        provision.keep_salt_keys(upper, self.kept_keys)


def copy(source: Path, destination: Path) -> None:
    """Copy what a host wrote. Marks of files it deleted from its image are devices and attributes,
    which is why this takes a command that copies these, too."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "-a", "--reflink=auto", source, destination], timeout=_COPY_SECONDS)


def replace(machine: Machine, saved: Path) -> None:
    """Put a copy back in the place of what a host, which is off, wrote since."""
    for directory in (machine.upper, machine.work):
        if directory.exists():
            shutil.rmtree(directory)
    copy(saved, machine.upper)
