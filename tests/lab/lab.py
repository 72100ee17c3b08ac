"""A lab: a Salt master and the nodes it manages, each a Debian host of its own with systemd."""

import atexit
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from . import apt
from . import state
from .anchor import OwnedAnchor
from .anchor import start_anchor
from .fleet import Fleet
from .paths import CHECKOUT
from .pillar import files
from .prepare import prepare
from .process import ProcessId
from .progress import Tell
from .progress import nothing
from .spec import LabSpec
from .spec import first_addresses
from .state import LabState


class Lab(Fleet):
    """A lab. As a context manager, it is up in the block and gone after it.

    :param name: names the lab on this machine; one of a name at a time.
    :param nodes: names of the hosts with a minion; the one with the master is called ``master``.
    :param release: Debian release of all hosts.
    :param salt: version of Salt, ``None`` for hosts without any.
    :param preinstalled: with PostgreSQL and repmgr as ``apt-get install`` leaves them.
    :param hosts_file: the hosts know each other's names.
    :param persistent: the lab outlives this process, until ``down()`` or a reboot.
    :param pillar: what :meth:`set_pillar` takes, there from the start.
    :param master_config: settings of the Salt master on top of the lab's own.
    :param minion_config: the same for all minions.
    :raises LabError: a name or the release cannot be.
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[str] = ("node1", "node2", "node3"),
        release: str = "bookworm",
        salt: str | None = "3008.3",
        *,
        preinstalled: bool = False,
        hosts_file: bool = True,
        persistent: bool = False,
        pillar: Mapping[str, Any] | None = None,
        master_config: Mapping[str, Any] | None = None,
        minion_config: Mapping[str, Any] | None = None,
    ) -> None:
        spec = LabSpec(
            name=name,
            nodes=tuple(nodes),
            release=release,
            salt=salt,
            preinstalled=preinstalled,
            hosts_file=hosts_file,
            persistent=persistent,
            master_config=master_config or {},
            minion_config=minion_config or {},
        )
        super().__init__(spec, files({"repmgr": {"repmgr": pillar}}) if pillar else {})
        self._owned: OwnedAnchor | None = None

    @classmethod
    def attach(cls, name: str) -> "Lab":
        """Take part in a lab that is up; it stays its owner's.

        :raises NoSuchLab: there is none.
        """
        known = state.load(name)
        lab = cls(name)
        lab.spec = known.spec
        lab._adopt(known)
        return lab

    def up(self, timeout: float = 120, tell: Tell = nothing) -> "Lab":
        """Boot all hosts at once and wait until every minion answers.

        Makes what is missing first: tools, image, Salt. That time is not counted.

        :param timeout: seconds for the boot, and again for the minions.
        :param tell: told what is being made, from other threads; ``""`` when nothing is.
        :raises LabRunning: there is a lab of this name.
        :raises BootError: a host did not come up.
        :raises SaltNotAnswering: a minion did not answer.
        """
        spec = self.spec
        apt.ensure_tools()
        state.reap()
        state.require_free(spec.name)
        layers, environment = prepare(spec, tell)
        self._owned = start_anchor(state.run_dir(spec.name), persistent=spec.persistent)
        try:
            mounts = environment.mounts if environment else ()
            known = LabState(
                spec=spec,
                owner=ProcessId.of(os.getpid()),
                anchor=self._owned.anchor,
                addresses=first_addresses(spec.nodes),
                salt_files=str(environment.files) if environment else None,
                layers=tuple(map(str, layers)),
                mounts=tuple((str(source), str(place)) for source, place in mounts),
                states=str(CHECKOUT / "states"),
            )
            known.save()
            self._adopt(known)
            if not spec.persistent:
                atexit.register(self._down_if_owner, os.getpid())
            self._boot(self, timeout)
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """Power everything off and remove every trace; does nothing when that is done already."""
        known, owned, hosts = self._state, self._owned, self.hosts
        self._state = self._owned = None
        self.hosts = {}
        if owned is not None:
            owned.end()
        elif known is not None:
            known.anchor.end()
        for host in hosts.values():
            host.forget()
        if known is not None:
            atexit.unregister(self._down_if_owner)
            if known.run_dir.exists():
                state.reap()

    def _down_if_owner(self, pid: int) -> None:
        # A child that was forked off must not take the lab of its parent away.
        if os.getpid() == pid:
            self.down()

    def __enter__(self) -> "Lab":
        return self if self.hosts else self.up()

    def __exit__(self, *_: object) -> None:
        self.down()
