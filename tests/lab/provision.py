"""What makes an image this very host: its name, its address and its Salt, written before it boots."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .saltenv import SALT_PREFIX
from .spec import SUBNET

#: Where the master has the project's states, next to its own in /srv/salt.
STATES = Path("/srv/repmgr/states")

# 80-container-host0.network of systemd would ask for DHCP: this one has to sort before it. A
# cable pulled somewhere behind the switch takes no address away, so a cut must not, either.
_NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}/{length}
LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
IgnoreCarrierLoss=yes
"""

# As the packages of the Salt project have them, but for the patience with a daemon that does not
# stop: a minion that waits for its master may take no notice of a signal for a minute.
_UNIT = """\
[Unit]
Description=The Salt {role}
After=network.target

[Service]
Type=notify
NotifyAccess=all
LimitNOFILE=100000
TimeoutStopSec=2
{extra}ExecStart={prefix}/bin/salt-{role}

[Install]
WantedBy=multi-user.target
"""
_MINION_ONLY = "KillMode=process\nRestart=on-failure\nRestartSec=15\n"


def _directory(upper: Path, path: str) -> Path:
    """Make a directory for everybody to read, whatever the umask, and return it."""
    current = upper
    for part in Path(path).parts:
        current = current / part
        if not current.is_dir():
            current.mkdir()
            # It hides the permissions of its like in the image.
            current.chmod(0o755)
    return current


def _write(upper: Path, path: str, text: str) -> None:
    target = _directory(upper, str(Path(path).parent)) / Path(path).name
    target.write_text(text, encoding="utf-8")
    target.chmod(0o644)


def hosts_file(name: str, addresses: Mapping[str, str], complete: bool) -> str:
    """The text of /etc/hosts; unless ``complete``, a host knows nobody but itself."""
    known = addresses if complete else {name: addresses[name]}
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {host}" for host, address in known.items()]
    return "\n".join(lines) + "\n"


def write_identity(
    upper: Path, name: str, addresses: Mapping[str, str], machine_id: str, all_hosts: bool
) -> None:
    """Name, address and names of the others."""
    _write(upper, "etc/hostname", f"{name}\n")
    _write(upper, "etc/machine-id", f"{machine_id}\n")
    _write(upper, "etc/hosts", hosts_file(name, addresses, all_hosts))
    network = _NETWORK.format(address=addresses[name], length=SUBNET.rpartition("/")[2])
    _write(upper, "etc/systemd/network/10-lab.network", network)


def _write_salt_unit(upper: Path, role: str) -> None:
    extra = _MINION_ONLY if role == "minion" else ""
    unit = f"etc/systemd/system/salt-{role}.service"
    _write(upper, unit, _UNIT.format(role=role, prefix=SALT_PREFIX, extra=extra))
    wants = _directory(upper, "etc/systemd/system/multi-user.target.wants")
    (wants / f"salt-{role}.service").symlink_to(f"/{unit}")


def _write_salt_commands(upper: Path, commands: list[str]) -> None:
    directory = _directory(upper, "usr/local/bin")
    for command in commands:
        (directory / command).symlink_to(SALT_PREFIX / "bin" / command)


def write_minion(
    upper: Path, name: str, master: str, commands: list[str], config: Mapping[str, Any]
) -> None:
    """A Salt minion that starts at boot. ``master`` is an address: it needs no resolver."""
    _write_salt_unit(upper, "minion")
    _write_salt_commands(upper, commands)
    _write(upper, "etc/salt/minion_id", name)
    settings = {
        "master": master,
        "id": name,
        # Milliseconds. By default a minion that finds no master looks again 1 to 11 s later.
        "recon_default": 200,
        "recon_max": 800,
        # Seconds. By default it takes 5 minutes to notice that a master lost its power.
        "tcp_keepalive_idle": 5,
        "tcp_keepalive_intvl": 2,
        "tcp_keepalive_cnt": 3,
        **config,
    }
    _write(upper, "etc/salt/minion", json.dumps(settings, indent=1) + "\n")


def write_master(
    upper: Path, commands: list[str], config: Mapping[str, Any], pillar: Mapping[str, str]
) -> None:
    """A Salt master that starts at boot and takes every minion that comes.

    :param pillar: file name in /srv/pillar -> content.
    """
    _write_salt_unit(upper, "master")
    _write_salt_commands(upper, commands)
    settings = {
        "interface": "0.0.0.0",
        "auto_accept": True,
        # Each costs a second of processor time to start, and there are two processors for all hosts.
        "worker_threads": 3,
        "file_roots": {"base": ["/srv/salt", str(STATES)]},
        "pillar_roots": {"base": ["/srv/pillar"]},
        **config,
    }
    _write(upper, "etc/salt/master", json.dumps(settings, indent=1) + "\n")
    for directory in ("srv/salt", "srv/pillar"):
        _directory(upper, directory)
    for name, content in pillar.items():
        _write(upper, f"srv/pillar/{name}", content)


def open_way_to(upper: Path, place: Path) -> None:
    """Let every user of the host reach a directory that is mounted in it.

    A Python below /root is of no use to the postgres user otherwise.
    """
    if place.parts[:2] == ("/", "root"):
        _directory(upper, "root").chmod(0o711)


def keep_salt_keys(upper: Path, kept: Path) -> None:
    """Move the Salt keys of a disk that is about to be emptied out of the way, for the next one."""
    keys = upper / "etc/salt/pki"
    if keys.is_dir() and not kept.exists():
        shutil.move(keys, kept)


def bring_salt_keys(upper: Path, kept: Path) -> None:
    """Put the keys back: the master would take a new one for the key of an impostor."""
    if kept.is_dir():
        shutil.move(kept, _directory(upper, "etc/salt") / "pki")
