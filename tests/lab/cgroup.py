"""Control groups of a lab: each host gets its own, or their systemds would share one tree.

Without a group of its own a host's ``system.slice`` would be the one of all other hosts, too,
and stopping a unit in one would kill its processes in all.
"""

from pathlib import Path

_PREFIX = "saltext-repmgr-lab-"


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


def lab_cgroups(lab: str) -> list[Path]:
    """The groups of a lab, one in each hierarchy; the ones of its hosts are below them."""
    return [hierarchy / f"{_PREFIX}{lab}" for hierarchy in _hierarchies()]


def host_cgroups(lab: str, host: str) -> list[Path]:
    """Make the groups of a host and return them; none of them is frozen."""
    groups = [group / host for group in lab_cgroups(lab)]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    freeze(lab, host, False)
    return groups


def freeze(lab: str, host: str, frozen: bool) -> None:
    """Stop all processes of a host in their tracks, or let them go on."""
    for group in lab_cgroups(lab):
        switch = group / host / "cgroup.freeze"
        if switch.exists():
            switch.write_text("1" if frozen else "0", encoding="ascii")
