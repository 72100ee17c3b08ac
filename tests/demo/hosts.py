"""The hosts of the demonstration."""

import contextlib
import secrets
import threading
from typing import Any

from tests.lab import Lab
from tests.lab import LabError
from tests.lab.screen import Screen
from tests.lab.spec import SUBNET

_LOOK_SECONDS = 0.3


def new_lab(name: str, nodes: int, release: str) -> tuple[Lab, dict[str, Any]]:
    """A lab of bare hosts, not up yet, and its pillar below ``repmgr``."""
    names = tuple(f"node{number}" for number in range(1, nodes + 1))
    content = pillar(names)
    lab = Lab(
        name,
        nodes=names,
        release=release,
        persistent=True,
        pillar=content,
        # The master then hears of every state when it is done and not only of every run.
        master_config={"state_events": True},
    )
    return lab, content


def pillar(names: tuple[str, ...]) -> dict[str, Any]:
    """The least that makes a cluster of hosts that know each other by name."""
    nodes: dict[str, dict[str, Any]] = {
        name: {"id": number} for number, name in enumerate(names, start=1)
    }
    nodes[names[0]]["role"] = "primary"
    return {
        "cluster": "demo",
        "subnet": SUBNET,
        "password": secrets.token_urlsafe(16),
        "nodes": nodes,
    }


def up(lab: Lab, screen: Screen) -> None:
    """What :meth:`Lab.up` does, with a line for each part of it."""
    with _Reporter(lab, screen):
        lab.up(tell=screen.doing)
    screen.event("every minion answers")


class _Reporter:
    """Tells when everything is made, and of each host when it is up, while the lab comes up."""

    def __init__(self, lab: Lab, screen: Screen) -> None:
        self._lab = lab
        self._screen = screen
        self._told: set[str] = set()
        self._made = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._screen.doing("")
        if kind is None:
            self._look()

    def _watch(self) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        hosts = list(self._lab.hosts.values())
        if hosts and not self._made:
            self._made = True
            spec = self._lab.spec
            self._screen.event(f"Debian {spec.release} and Salt {spec.salt} are ready to boot")
            self._waiting()
        for host in hosts:
            if host.name in self._told:
                continue
            with contextlib.suppress(LabError):
                ask = ["systemctl", "is-system-running"]
                verdict = host.run(ask, check=False, timeout=10).stdout.strip()
                if verdict in ("running", "degraded"):
                    self._told.add(host.name)
                    failed = f", FAILED: {host.failed_units()}" if verdict == "degraded" else ""
                    self._screen.event(f"{host.name:<9} {host.address:<11} is up{failed}")
                    self._waiting()

    def _waiting(self) -> None:
        left = [name for name in self._lab.hosts if name not in self._told]
        self._screen.doing(f"{', '.join(left)} boot" if left else "the minions find their master")
