"""The demonstration itself, from no host to a cluster that was looked at from all sides."""

import time
from collections.abc import Mapping
from typing import Any

from tests.lab import CommandError
from tests.lab import Host
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.screen import Screen

from . import hosts
from .orchestrate import COMMAND
from .orchestrate import orchestrate
from .returns import without_noise

_REPLICATION_SECONDS = 10
_SWITCHOVER_SECONDS = 180
_HIDDEN = "(made up for this demo)"


def build(lab: Lab, pillar: Mapping[str, Any], screen: Screen) -> None:
    """Make the hosts."""
    count = len(lab.spec.nodes)
    screen.section(f"Hosts: {count} bare ones and a Salt master, on this machine")
    hosts.up(lab, screen)
    screen.section("Pillar: /srv/pillar/repmgr.sls on the master, all there is to write")
    screen.verbatim(as_yaml({"repmgr": {**pillar, "password": _HIDDEN}}))


def tour(lab: Lab, screen: Screen) -> None:
    """Make the cluster and look at it.

    :raises LabError: something is not as it should be.
    """
    screen.section(f"Build: {COMMAND}")
    orchestrate(lab, screen)
    look(lab.nodes[-1], screen)
    _write_and_read(lab, screen)
    if len(lab.nodes) > 1:
        _move_primary(lab, screen)
    screen.section(f"Once more: {COMMAND}")
    again = orchestrate(lab, screen)
    if again.changed:
        listed = "\n".join(again.changed)
        raise LabError(f"the second run was to change nothing, and changed:\n{listed}")


def look(node: Host, screen: Screen) -> None:
    """Show the cluster as repmgr sees it from a node."""
    command = ["repmgr", "cluster", "show", "--compact"]
    if node.run(["test", "-e", "/etc/repmgr.conf"], check=False).returncode:
        screen.section(f"{node.name} is not set up yet")
        return
    screen.section(f"postgres@{node.name}$ {' '.join(command)}")
    shown = node.run(command, user="postgres", check=False)
    screen.verbatim(shown.stdout + shown.stderr)
    if shown.returncode:
        # It does so, too, when all it has to say is that a node is not well.
        screen.text(f"(it exited {shown.returncode})")


def _sql(host: Host, statement: str) -> str:
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
    return host.run(command, user="postgres").stdout.strip()


def _write_and_read(lab: Lab, screen: Screen) -> None:
    screen.section("Replication: a row is written on the primary and read on the standbys")
    standby = {host.name: _sql(host, "SELECT pg_is_in_recovery()") == "t" for host in lab.nodes}
    (primary,) = (host for host in lab.nodes if not standby[host.name])
    word = f"hello from {primary.name}"
    _sql(primary, "CREATE TABLE IF NOT EXISTS demo (word text, at timestamptz DEFAULT now())")
    row = _sql(primary, f"INSERT INTO demo VALUES ('{word}') RETURNING word, at")
    screen.event(f"{primary.name} wrote: {row}")
    for host in lab.nodes:
        if standby[host.name]:
            screen.event(f"{host.name} reads: {_read(host, row)}")


def _move_primary(lab: Lab, screen: Screen) -> None:
    command = ["salt-run", "repmgr.switchover"]
    screen.section(f"A planned change: {' '.join(command)}")
    screen.doing("the primary is moved to the standby that is fit best")
    done = lab.master.run(command, timeout=_SWITCHOVER_SECONDS, check=False)
    screen.doing("")
    screen.verbatim(done.stdout)
    if done.returncode:
        raise LabError(f"the primary was not moved:\n{without_noise(done.stderr)}")


def _read(host: Host, row: str) -> str:
    deadline = time.monotonic() + _REPLICATION_SECONDS
    found = ""
    while time.monotonic() < deadline:
        try:
            found = _sql(host, "SELECT word, at FROM demo ORDER BY at DESC LIMIT 1")
        except CommandError as err:
            # The table itself has to get there, too.
            found = err.stderr.strip()
        if found == row:
            return found
        time.sleep(0.05)
    raise LabError(
        f"{host.name} does not have the row after {_REPLICATION_SECONDS} s: {found or 'nothing'}"
    )


def as_yaml(data: Mapping[str, Any], indent: str = "") -> str:
    """Plain data as a person would write it."""
    lines = []
    for key, value in data.items():
        if not isinstance(value, Mapping):
            lines.append(f"{indent}{key}: {value}")
        elif any(isinstance(part, Mapping) for part in value.values()):
            lines += [f"{indent}{key}:", as_yaml(value, f"{indent}  ")]
        else:
            pairs = ", ".join(f"{name}: {part}" for name, part in value.items())
            lines.append(f"{indent}{key}: {{{pairs}}}")
    return "\n".join(lines)
