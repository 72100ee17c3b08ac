"""Boot one host: mount its disk, run systemd on it, all inside the namespaces of its lab."""

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .anchor import BRIDGE
from .anchor import Anchor
from .cgroup import host_cgroups
from .process import CLEAN_ENV
from .process import ProcessId
from .process import children

# The mount is in a namespace of this host's systemd-nspawn alone and goes when that goes. With
# --keep-unit, systemd-nspawn leaves it to others to switch on again what wants to reboot (133).
_BOOT = """
options=$1 root=$2; shift 2
for group in $GROUPS_OF_HOST; do echo 0 >"$group/cgroup.procs"; done
unset GROUPS_OF_HOST
mount -t overlay overlay -o "$options" "$root"
while "$@"; [ $? = 133 ]; do :; done
"""


@dataclass(frozen=True)
class Machine:
    """What a host is made of.

    ``run_dir`` is that of its lab. ``layers`` are the directories its disk is stacked on, uppermost
    first. ``mounts`` are pairs of a directory of this machine and its read-only place in the host.
    """

    run_dir: Path
    name: str
    layers: Sequence[Path]
    mounts: Sequence[tuple[Path, Path]]

    @property
    def directory(self) -> Path:
        """Where everything is that this machine keeps about the host."""
        return self.run_dir / "hosts" / self.name

    @property
    def upper(self) -> Path:
        """What the host wrote, and nothing else."""
        return self.directory / "upper"

    @property
    def work(self) -> Path:
        """Where the file system prepares what it moves to ``upper``; empty while the host is off."""
        return self.directory / "work"

    @property
    def console(self) -> Path:
        """What its systemd printed, over all boots."""
        return self.directory / "console.log"

    @property
    def link(self) -> str:
        """The end of its network cable at the bridge."""
        return f"vb-{self.name}"


def start(machine: Machine, anchor: Anchor) -> "subprocess.Popen[bytes]":
    """Boot the machine; it comes up in the background and is gone when the returned process is."""
    root = machine.directory / "root"
    for directory in (root, machine.work, machine.upper):
        directory.mkdir(parents=True, exist_ok=True)
    lower = ":".join(map(str, machine.layers))
    options = f"lowerdir={lower},upperdir={machine.upper},workdir={machine.work}"
    nspawn = [
        "systemd-nspawn",
        f"--directory={root}",
        "--boot",
        f"--machine={machine.name}",
        f"--hostname={machine.name}",
        "--register=no",
        "--keep-unit",
        f"--network-bridge={BRIDGE}",
        "--console=read-only",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        *(f"--bind-ro={source}:{place}" for source, place in machine.mounts if source.exists()),
    ]
    env = dict(
        CLEAN_ENV,
        GROUPS_OF_HOST=" ".join(map(str, host_cgroups(machine.run_dir, machine.name))),
        # Newer releases boot on nothing else, and older ones do as well, whatever this machine has.
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1",
    )
    isolated = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _BOOT, "sh"]
    with machine.console.open("ab") as console:
        return subprocess.Popen(  # pylint: disable=consider-using-with
            [*anchor.enter("net", "mount", "pid"), *isolated, options, str(root), *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=env,
            cwd="/",
            start_new_session=True,
        )


def find_init(starter: ProcessId) -> ProcessId | None:
    """The host's own first process, ``None`` while (or because) there is none.

    Its number is as this machine sees it. It changes when the host reboots itself.
    """
    if not starter.alive():
        return None
    # Below what enters the namespaces: the shell of the boot script, systemd-nspawn, the host.
    generation = children(starter.pid)
    for _ in range(3):
        for pid in filter(_is_first_of_a_host, generation):
            with contextlib.suppress(ProcessLookupError):
                return ProcessId.of(pid)
        generation = [child for pid in generation for child in children(pid)]
    return None


def _is_first_of_a_host(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    numbers = status.partition("NSpid:")[2].split("\n", 1)[0].split()
    # The machine's number, the lab's, the host's. systemd-nspawn forks helpers that have but two.
    return len(numbers) >= 3 and numbers[-1] == "1"
