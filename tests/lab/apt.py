"""The machine's own apt: which mirrors it uses, and the few tools the lab needs installed."""

import functools
import os
import shutil
from dataclasses import dataclass

from .errors import LabError
from .process import CLEAN_ENV
from .process import run

#: Command the lab runs -> Debian package that has it.
_TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "dpkg-deb": "dpkg",
}
_ARCHIVE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Mirrors:
    """Where packages come from: the archive itself and its security updates (may be missing)."""

    archive: str
    security: str | None


def ensure_tools(*packages: str) -> None:
    """Install what is missing on this machine.

    :param packages: more of them, each with a command of the same name.

    :raises LabError: not root, or not a Debian machine.
    :raises CommandError: apt could not install it.
    """
    if os.geteuid() != 0:
        raise LabError("the lab boots whole hosts: run it as root")
    tools = {**_TOOLS, **{package: package for package in packages}}
    missing = {package for tool, package in tools.items() if not shutil.which(tool)}
    if not os.path.exists(_ARCHIVE_KEYRING):
        missing.add("debian-archive-keyring")
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"install these first: {', '.join(sorted(missing))}")
    env = dict(CLEAN_ENV, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *sorted(missing)]
    if run(install, check=False, timeout=600, env=env).returncode:
        run(["apt-get", "update"], timeout=600, env=env)
        run(install, timeout=600, env=env)


@functools.cache
def mirrors() -> Mirrors:
    """The mirrors of the Debian archive that this machine is set up with.

    apt knows whose a source is once it has its lists; on a new machine it may have some of them.

    :raises LabError: the machine's apt knows no Debian archive.
    """
    found = _listed()
    if None in found:
        # It waits for nobody, and labs begin side by side.
        update = ["flock", "/run/lock/saltext-repmgr-lab", "apt-get", "update"]
        run(update, timeout=600, env=CLEAN_ENV)
        found = _listed()
    archive, security = found
    if archive is None:
        raise LabError("apt of this machine knows no Debian archive")
    return Mirrors(archive, security)


def _listed() -> "tuple[str | None, str | None]":
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
            "Created-By: Packages",
        ]
    ).stdout
    archive = security = None
    for line in listing.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin != "Debian":
            continue
        if label == "Debian-Security":
            security = security or uri
        elif label == "Debian":
            archive = archive or uri
    return archive, security


def proxy_settings() -> str:
    """The lines of the machine's apt configuration without which its mirrors are out of reach."""
    dump = run(["apt-config", "dump", "Acquire"]).stdout
    return "".join(f"{line}\n" for line in dump.splitlines() if "proxy" in line.lower())
