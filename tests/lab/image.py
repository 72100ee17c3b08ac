"""Images: the disk of a bare host, made once per release and then only read.

An image is a directory that appears under its final name when it is complete, so an interrupted
build is never taken for one. Its name holds a hash of the recipe: change the recipe, get another
image. Packages come from a source inside the image (``/srv/packages``), which is why a host
without a route to anywhere updates its lists and installs PostgreSQL as any other host does.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path

from . import apt
from . import progress
from . import recipe
from .paths import cache_dir
from .process import CLEAN_ENV
from .process import follow
from .releases import Release
from .store import CONFINED
from .store import workshop

_BUILD_SECONDS = 900
_KEPT_SECONDS = 3 * 24 * 3600

_ENTER = 'mount -t proc proc "$1/proc"; exec chroot "$@"'


def layers(
    release: Release,
    *,
    preinstalled: bool = False,
    in_use: frozenset[Path] = frozenset(),
    tell: progress.Tell = progress.nothing,
) -> tuple[Path, ...]:
    """The directories a host's disk is stacked on, uppermost first; builds what is missing.

    :param preinstalled: with PostgreSQL and repmgr as ``apt-get install`` leaves them.
    :param in_use: images that must not be pruned because running hosts have them mounted.
    :param tell: told what is being done.
    :raises CommandError: a step of the build failed.
    """
    images = cache_dir() / "images"
    base = images / f"{release.name}-{_key(release)}"
    wanted = (base.with_name(f"{base.name}-installed"), base) if preinstalled else (base,)
    if not all(layer.is_dir() for layer in wanted):
        apt.ensure_tools()
        with workshop(images, timeout=2 * _BUILD_SECONDS) as scratch:
            _prune(images, release, in_use)
            if not base.is_dir():
                _build_base(release, scratch / base.name, tell)
                (scratch / base.name).rename(base)
            if not wanted[0].is_dir():
                _build_installed(release, base, scratch / wanted[0].name, tell)
                (scratch / wanted[0].name).rename(wanted[0])
    tell("")
    for layer in wanted:
        os.utime(layer)
    return wanted


def _key(release: Release) -> str:
    """A hash of everything that decides what is in the images of a release."""
    text = f"{release!r}{recipe.TEXT}{apt.mirrors()!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _prune(images: Path, release: Release, in_use: frozenset[Path]) -> None:
    """Remove images of former recipes; others on this machine may still work with the last ones."""
    for path in images.glob(f"{release.name}-*"):
        if path not in in_use and time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(path)


def _build_base(release: Release, root: Path, tell: progress.Tell) -> None:
    mirrors = apt.mirrors()
    include = f"--include={','.join(release.base)}"
    _isolated(
        ["debootstrap", "--variant=minbase", include, release.name, str(root), mirrors.archive],
        progress.debootstrap(tell),
    )
    recipe.prepare_for_packages(root, release, mirrors, apt.proxy_settings())
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    tell("the lists of packages")
    fetch = [str(release.postgres), *release.offered]
    _chroot(root, recipe.FETCH_SCRIPT, progress.apt(tell), *fetch)
    tell("the index of its packages")
    recipe.write_package_index(root)
    _chroot(root, recipe.FINISH_SCRIPT, progress.nothing)
    recipe.finish(root)


def _build_installed(release: Release, base: Path, upper: Path, tell: progress.Tell) -> None:
    work = upper.parent / "work"
    root = upper.parent / "root"
    for directory in (upper, work, root):
        directory.mkdir()
        directory.chmod(0o755)
    recipe.prepare_for_install(upper)
    mount = 'mount -t overlay overlay -o "$1" "$2"; shift; '
    options = f"lowerdir={base},upperdir={upper},workdir={work}"
    install = ["sh", "-ec", recipe.INSTALL_SCRIPT, "sh", *release.database]
    _isolated(["sh", "-ec", mount + _ENTER, "sh", options, str(root), *install], progress.apt(tell))
    recipe.finish_install(upper)


def _chroot(root: Path, script: str, tell: progress.Tell, *args: str) -> None:
    _isolated(["sh", "-ec", _ENTER, "sh", str(root), "sh", "-ec", script, "sh", *args], tell)


def _isolated(argv: list[str], tell: progress.Tell) -> None:
    """Run a step of a build so that its mounts and stray processes end with it.

    :param tell: gets each line that it prints.
    """
    env = dict(CLEAN_ENV, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    follow([*CONFINED, *argv], tell, timeout=_BUILD_SECONDS, env=env, where="building an image")
