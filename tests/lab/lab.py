"""A lab: a Salt master and the nodes it manages, each a Debian host of its own with systemd."""

import atexit
import contextlib
import json
import os
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import apt
from . import disk
from . import image
from . import pillar as pillar_files
from . import provision
from . import state
from .anchor import OwnedAnchor
from .anchor import start_anchor
from .container import Machine
from .errors import LabError
from .host import Host
from .paths import CHECKOUT
from .process import ProcessId
from .releases import RELEASES
from .salt_side import SaltSide
from .saltenv import salt_commands
from .saltenv import salt_environment
from .spec import MASTER
from .spec import LabSpec
from .spec import check_host_name
from .spec import first_addresses
from .spec import next_address
from .state import LabState


class Lab(SaltSide):
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
        self.spec = LabSpec(
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
        self.hosts: dict[str, Host] = {}
        self._pillar = pillar_files.files({"repmgr": {"repmgr": pillar}}) if pillar else {}
        self._state: LabState | None = None
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

    # -- members ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the lab on this machine."""
        return self.spec.name

    @property
    def master(self) -> Host:
        """The host with the Salt master."""
        return self[MASTER]

    @property
    def nodes(self) -> list[Host]:
        """All hosts but the master, in the order they came."""
        return [host for host in self.hosts.values() if host.name != MASTER]

    def __getitem__(self, name: str) -> Host:
        if not self.hosts:
            raise LabError(f"the lab {self.name!r} is not up")
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    # -- up and down ------------------------------------------------------------------------

    def up(self, timeout: float = 120) -> "Lab":
        """Boot all hosts at once and wait until every minion answers.

        Makes what is missing first: tools, image, Salt. That time is not counted.

        :param timeout: seconds for the boot, and again for the minions.
        :raises LabRunning: there is a lab of this name.
        :raises BootError: a host did not come up.
        :raises SaltNotAnswering: a minion did not answer.
        """
        spec = self.spec
        apt.ensure_tools()
        state.reap()
        state.require_free(spec.name)
        in_use = state.in_use()
        release = RELEASES[spec.release]
        layers = image.layers(release, preinstalled=spec.preinstalled, in_use=in_use)
        environment = salt_environment(spec.salt, in_use) if spec.salt else None
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

    def _adopt(self, known: LabState) -> None:
        self._state = known
        self.hosts = {name: self._host(known, name) for name in known.addresses}

    def _host(self, known: LabState, name: str) -> Host:
        layers = tuple(map(Path, known.layers))
        mounts = [(Path(source), Path(place)) for source, place in known.mounts]
        if name == MASTER:
            mounts.append((Path(known.states), provision.STATES))
            # It is no database host, prepared or not.
            layers = layers[-1:]
        machine = Machine(known.run_dir, name, layers, mounts)
        provisioner = disk.HostDisk(
            spec=known.spec,
            name=name,
            addresses=known.addresses,
            mounts=mounts,
            salt_commands=salt_commands(known.salt_files),
            kept_keys=machine.directory / "salt-keys",
            pillar=self._pillar,
        )
        return Host(machine, known.addresses[name], known.anchor, provisioner)

    def _boot(self, hosts: Iterable[Host], timeout: float) -> None:
        booted = list(hosts)
        for host in booted:
            host.power_on()
        _at_once(lambda host: host.wait_booted(timeout), booted)
        if self.spec.salt is not None:
            self.wait_for_minions(timeout=timeout)

    def down(self) -> None:
        """Power everything off and remove every trace; does nothing when that is done already."""
        known, owned = self._state, self._owned
        self._state = self._owned = None
        self.hosts = {}
        if owned is not None:
            owned.end()
        elif known is not None:
            known.anchor.end()
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

    def _known(self) -> LabState:
        if self._state is None:
            raise LabError(f"the lab {self.name!r} is not up")
        return self._state

    # -- hosts come and go ------------------------------------------------------------------

    def enroll(self, name: str, timeout: float = 120) -> Host:
        """Add a host and wait until its minion answers; ``timeout`` as for :meth:`up`."""
        check_host_name(name)
        known = self._known()
        if name in self.hosts:
            raise LabError(f"there is a host {name!r} already")
        known.addresses[name] = next_address(known.addresses)
        known.save()
        host = self.hosts[name] = self._host(known, name)
        self._spread_names()
        self._boot([host], timeout)
        return host

    def remove(self, name: str) -> None:
        """Take a host away, with its disk and its place at the Salt master."""
        known = self._known()
        host = self[name]
        if name == MASTER:
            raise LabError("the master stays as long as the lab")
        host.power_off()
        del self.hosts[name]
        del known.addresses[name]
        known.save()
        shutil.rmtree(host.machine.directory)
        self._spread_names()
        if self.spec.salt is not None:
            self.master.run(["salt-key", "--yes", f"--delete={name}"])

    def _spread_names(self) -> None:
        if not self.spec.hosts_file:
            return
        for host in self:
            text = provision.hosts_file(host.name, self._known().addresses, True)
            if host.up:
                host.write("/etc/hosts", text)
            elif host.machine.upper.is_dir():
                (host.machine.upper / "etc/hosts").write_text(text, encoding="utf-8")

    # -- snapshots --------------------------------------------------------------------------

    def _snapshot_dir(self, label: str) -> Path:
        if not label or "/" in label or label.startswith("."):
            raise LabError(f"not a name for a snapshot: {label!r}")
        return self._known().run_dir / "snapshots" / label

    def snapshot(self, label: str, timeout: float = 120) -> None:
        """Shut all hosts down in good order, keep a copy of their disks, and boot them again.

        A snapshot of that name is replaced. It is gone with the lab.
        """
        target = self._snapshot_dir(label)
        _at_once(lambda host: host.shutdown(), self)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target)
        _at_once(lambda host: disk.copy(host.machine.upper, target / host.name), self)
        addresses = json.dumps(self._known().addresses)
        (target / "addresses.json").write_text(addresses, encoding="utf-8")
        self._boot(self, timeout)

    def restore(self, label: str, timeout: float = 120) -> None:
        """Make everything as it was at the snapshot, hosts that came and went included."""
        known = self._known()
        source = self._snapshot_dir(label)
        try:
            text = (source / "addresses.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LabError(f"there is no snapshot {label!r}") from None
        _at_once(lambda host: host.power_off(), self)
        addresses: dict[str, str] = json.loads(text)
        for name in set(self.hosts) - set(addresses):
            shutil.rmtree(self.hosts[name].machine.directory)
        known.addresses.clear()
        known.addresses.update(addresses)
        known.save()
        self._adopt(known)
        _at_once(lambda host: disk.replace(host.machine, source / host.name), self)
        self._boot(self, timeout)


def _at_once(action: Callable[[Host], object], hosts: Iterable[Host]) -> None:
    """Do something with all hosts at the same time; the first error is raised when all are done."""
    everybody = list(hosts)
    with ThreadPoolExecutor(max_workers=max(len(everybody), 1)) as pool:
        for future in [pool.submit(action, host) for host in everybody]:
            future.result()
