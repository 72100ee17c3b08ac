"""Control groups of a lab: each host gets its own, or their systemds would share one tree.

Without a group of its own a host's ``system.slice`` would be the one of all other hosts, too,
and stopping a unit in one would kill its processes in all.
"""

import hashlib
from pathlib import Path


def _hierarchies() -> list[Path]:
    """Where the machine has the hierarchies that systemd keeps track of processes in."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, kind = line.partition(" - ")
        kind_fields = kind.split()
        tracking = kind_fields[0] == "cgroup2" or (
            kind_fields[0] == "cgroup" and "name=systemd" in kind_fields[2].split(",")
        )
        if tracking:
            found.append(Path(fields.split()[4]))
    return found


def lab_cgroups(run_dir: Path) -> list[Path]:
    """The groups of a lab, one in each hierarchy; the ones of its hosts are below them."""
    # Labs of one name may be up at the same time, if their run directories are not siblings. A path
    # would not tell those of this machine from those of a root directory inside it.
    runs = run_dir.parent.stat()
    where = hashlib.sha256(f"{runs.st_dev} {runs.st_ino}".encode()).hexdigest()[:6]
    name = f"saltext-repmgr-lab-{where}-{run_dir.name}"
    return [hierarchy / name for hierarchy in _hierarchies()]


def host_cgroups(run_dir: Path, host: str) -> list[Path]:
    """Make the groups of a host and return them; none of them is frozen."""
    groups = [group / host for group in lab_cgroups(run_dir)]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    freeze(run_dir, host, False)
    return groups


def freeze(run_dir: Path, host: str, frozen: bool) -> None:
    """Stop all processes of a host in their tracks, or let them go on."""
    for group in lab_cgroups(run_dir):
        switch = group / host / "cgroup.freeze"
        if switch.exists():
            switch.write_text("1" if frozen else "0", encoding="ascii")
