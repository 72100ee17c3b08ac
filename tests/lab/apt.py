"""The machine's own apt: which mirrors it uses, and the few tools the lab needs installed."""

import functools
import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from . import progress
from .errors import LabError
from .locks import locked
from .paths import cache_dir
from .process import CLEAN_ENV
from .process import follow
from .process import run

_SECONDS = 900

#: What boots hosts.
_LAB = ("debian-archive-keyring", "debootstrap", "iproute2", "systemd-container")

#: What the functional tests run.
DATABASE = ("pgbouncer", "postgresql", "python3-psycopg2", "repmgr", "sudo")


@dataclass(frozen=True)
class Mirrors:
    """Where packages come from: the archive itself and its security updates (may be missing)."""

    archive: str
    security: str | None


def python_packages() -> tuple[str, ...]:
    """What this Python needs to make virtual environments and to compile what is in them.

    A dependency of Salt exists as source code only.
    """
    packages = ["gcc", "libc6-dev"]
    if Path(sys.base_prefix) == Path("/usr"):
        # Any other Python brings both, or no package of Debian would help it.
        if importlib.util.find_spec("ensurepip") is None:
            packages.append("python3-venv")
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            packages.append("python3-dev")
    return tuple(packages)


def ensure_tools(*others: str) -> None:
    """Install what the lab needs on this machine, and other packages; see :func:`install`.

    :raises LabError: not root, or not a Debian machine.
    """
    if os.geteuid() != 0:
        raise LabError("the lab boots whole hosts: run it as root")
    install(missing(*lab_packages(), *others))


def lab_packages() -> tuple[str, ...]:
    """What :func:`ensure_tools` installs on a machine that has none of it."""
    return (*_LAB, *python_packages())


def missing(*packages: str) -> list[str]:
    """Those of the packages that are not installed on this machine.

    :raises LabError: it has no packages of Debian.
    """
    if not shutil.which("dpkg-query"):
        raise LabError(f"not a Debian machine; install these first: {', '.join(packages)}")
    listing = run(
        ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *packages], check=False
    )
    # Some packages exist once for each architecture.
    found = {line.split()[0] for line in listing.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in found]


def install(packages: list[str], tell: progress.Tell = progress.nothing) -> None:
    """Install packages, with what they depend on, on this machine.

    :raises CommandError: apt could not.
    """
    if packages:
        options = ["-y", "--no-install-recommends"]
        with locked(cache_dir() / "apt.lock", _SECONDS):
            _update(tell)
            _apt_get(["install", *options, *packages], tell)


def _update(tell: progress.Tell) -> None:
    tell("the lists of packages")
    _apt_get(["update"], tell)


def _apt_get(arguments: list[str], tell: progress.Tell) -> None:
    env = dict(CLEAN_ENV, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    # Something else on this machine may install packages at this moment.
    command = [*progress.APT_GET, "-o", "DPkg::Lock::Timeout=300", *arguments]
    follow(command, progress.apt(tell), timeout=_SECONDS, env=env, where="this machine's packages")


@functools.cache
def mirrors() -> Mirrors:
    """The mirrors of the Debian archive that this machine is set up with.

    apt knows whose a source is once it has its lists; on a new machine it may have some of them.

    :raises LabError: the machine's apt knows no Debian archive.
    """
    found = _listed()
    if None in found:
        # It waits for nobody, and labs begin side by side.
        with locked(cache_dir() / "apt.lock", _SECONDS):
            _update(progress.nothing)
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
