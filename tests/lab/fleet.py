"""The hosts of a lab that is up: who is there, who comes and goes, and all of them at once."""

import json
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import disk
from . import provision
from .anchor import BRIDGE
from .container import Machine
from .errors import LabError
from .host import Host
from .process import run
from .salt_side import SaltSide
from .saltenv import salt_commands
from .spec import MASTER
from .spec import OUTSIDE
from .spec import LabSpec
from .spec import check_host_name
from .spec import next_address
from .state import LabState


class Fleet(SaltSide):
    """What a lab can do with its hosts. :class:`~tests.lab.lab.Lab` brings them up and down."""

    def __init__(self, spec: LabSpec, pillar: Mapping[str, str]) -> None:
        self.spec = spec
        self.hosts: dict[str, Host] = {}
        self._pillar = pillar
        self._state: LabState | None = None

    # -- who is there -----------------------------------------------------------------------

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
        self._known()
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(list(self.hosts.values()))

    def outside(self) -> list[str]:
        """The words in front of a command of this machine that put it at the lab's switch.

        It sees the hosts as any client does: of one that is cut off, nothing.
        """
        enter = self._known().anchor.enter("net")
        run([*enter, "ip", "address", "replace", OUTSIDE, "dev", BRIDGE])
        return enter

    @property
    def packages(self) -> Path:
        """The Python packages of the Salt that the hosts have, as this machine sees them.

        :raises LabError: the hosts have no Salt.
        """
        files = self._known().salt_files
        if files is None:
            raise LabError(f"the hosts of the lab {self.name!r} have no Salt")
        return next(Path(files).glob("lib/python3.*/site-packages"))

    def _known(self) -> LabState:
        if self._state is None:
            raise LabError(f"the lab {self.name!r} is not up")
        return self._state

    def _adopt(self, known: LabState) -> None:
        """Take over the hosts of a lab; those that are known already stay the same objects."""
        self._state = known
        self.hosts = {
            name: self.hosts.get(name) or self._host(known, name) for name in known.addresses
        }

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

    # -- hosts come and go ------------------------------------------------------------------

    def enroll(self, name: str, timeout: float = 120) -> Host:
        """Add a host and wait until its minion answers; ``timeout`` as for ``up()``."""
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

    def snapshot(self, label: str, timeout: float = 120) -> None:
        """Shut all hosts down in good order, keep a copy of their disks, and boot them again.

        A snapshot of that name is replaced. It is gone with the lab. ``timeout`` as for ``up()``.
        """
        target = self._snapshot_dir(label)
        _at_once(lambda host: host.shutdown(), self)
        if target.exists():
            shutil.rmtree(target)
        _at_once(lambda host: disk.copy(host.machine.upper, target / host.name), self)
        addresses = json.dumps(self._known().addresses)
        (target / "addresses.json").write_text(addresses, encoding="utf-8")
        self._boot(self, timeout)

    def restore(self, label: str, timeout: float = 120) -> None:
        """Make everything as it was at the snapshot, hosts that came and went included.

        :raises LabError: there is no such snapshot.
        """
        known = self._known()
        source = self._snapshot_dir(label)
        try:
            text = (source / "addresses.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LabError(f"there is no snapshot {label!r}") from None
        addresses: dict[str, str] = json.loads(text)
        _at_once(lambda host: host.power_off(), self)
        for host in self:
            if addresses.get(host.name) != host.address:
                shutil.rmtree(host.machine.directory)
                del self.hosts[host.name]
        known.addresses.clear()
        known.addresses.update(addresses)
        known.save()
        self._adopt(known)
        _at_once(lambda host: disk.replace(host.machine, source / host.name), self)
        self._boot(self, timeout)

    def _snapshot_dir(self, label: str) -> Path:
        if not label or "/" in label or label.startswith("."):
            raise LabError(f"not a name for a snapshot: {label!r}")
        return self._known().run_dir / "snapshots" / label


def _at_once(action: Callable[[Host], object], hosts: Iterable[Host]) -> None:
    """Do something with all hosts at the same time; the first error is raised when all are done."""
    everybody = list(hosts)
    pool = ThreadPoolExecutor(max_workers=max(len(everybody), 1))
    futures = [pool.submit(action, host) for host in everybody]
    try:
        for future in futures:
            future.result()
    except (KeyboardInterrupt, SystemExit):
        # Whoever is in such a hurry ends the lab, and that ends whatever still runs here.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown()
        raise
    pool.shutdown()
