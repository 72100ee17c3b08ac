"""Images: the disk of a bare host, made once per release and then only read.

An image is a directory that appears under its final name when it is complete, so an interrupted
build is never taken for one. Its name holds a hash of the recipe: change the recipe, get another
image. Packages come from a source inside the image (``/srv/packages``), which is why a host
without a route to anywhere updates its lists and installs PostgreSQL as any other host does.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import apt
from . import recipe
from .locks import locked
from .paths import cache_dir
from .process import CLEAN_ENV
from .process import run
from .releases import Release

_BUILD_SECONDS = 900
_KEPT_SECONDS = 3 * 24 * 3600
_IN_PROGRESS = ".build-"


def layers(
    release: Release, *, preinstalled: bool = False, in_use: frozenset[Path] = frozenset()
) -> tuple[Path, ...]:
    """The directories a host's disk is stacked on, uppermost first; builds what is missing.

    :param preinstalled: with PostgreSQL and repmgr as ``apt-get install`` leaves them.
    :param in_use: images that must not be pruned because running hosts have them mounted.
    :raises CommandError: a step of the build failed.
    """
    base = _images() / f"{release.name}-{_key(release)}"
    wanted = (base.with_name(f"{base.name}-installed"), base) if preinstalled else (base,)
    if not all(layer.is_dir() for layer in wanted):
        apt.ensure_tools()
        with locked(_images() / f"{release.name}.lock", timeout=_BUILD_SECONDS):
            _remove_interrupted(release)
            _prune(release, in_use)
            if not base.is_dir():
                _build_base(release, base)
            if not wanted[0].is_dir():
                _build_installed(release, base, wanted[0])
    for layer in wanted:
        os.utime(layer)
    return wanted


def _images() -> Path:
    return cache_dir() / "images"


def _key(release: Release) -> str:
    """A hash of everything that decides what is in the images of a release."""
    return hashlib.sha256(f"{release!r}{recipe.TEXT}".encode()).hexdigest()[:10]


def _remove_interrupted(release: Release) -> None:
    # The lock is ours, so nobody works on what lies here.
    for leftover in _images().glob(f"{_IN_PROGRESS}{release.name}-*"):
        shutil.rmtree(leftover)


@contextmanager
def _appearing(release: Release, final: Path) -> Iterator[Path]:
    """A scratch directory that becomes ``final`` when the block succeeds and vanishes otherwise."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{_IN_PROGRESS}{release.name}-", dir=_images()))
    try:
        content = scratch / "content"
        content.mkdir(mode=0o755)
        yield content
        content.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _prune(release: Release, in_use: frozenset[Path]) -> None:
    """Remove images of former recipes; others on this machine may still work with the last ones."""
    for path in _images().glob(f"{release.name}-*"):
        if path not in in_use and time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(path)


def _build_base(release: Release, final: Path) -> None:
    mirrors = apt.mirrors()
    with _appearing(release, final) as root:
        _isolated(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(release.base)}",
                release.name,
                str(root),
                mirrors.archive,
            ]
        )
        recipe.prepare_for_packages(root, release, mirrors, apt.proxy_settings())
        shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
        _chroot(root, recipe.FETCH_SCRIPT, *release.offered)
        recipe.write_package_index(root)
        _chroot(root, recipe.FINISH_SCRIPT)
        recipe.finish(root)


def _build_installed(release: Release, base: Path, final: Path) -> None:
    with _appearing(release, final) as upper:
        work = upper.parent / "work"
        root = upper.parent / "root"
        work.mkdir()
        root.mkdir()
        recipe.prepare_for_install(upper)
        mount = f"lowerdir={base},upperdir={upper},workdir={work}"
        _isolated(
            [
                "sh",
                "-ec",
                'mount -t overlay overlay -o "$1" "$2"; mount -t proc proc "$2/proc"; shift; '
                'root=$1; shift; exec chroot "$root" sh -ec "$@"',
                "sh",
                mount,
                str(root),
                recipe.INSTALL_SCRIPT,
                "sh",
                *release.database,
            ]
        )
        recipe.finish_install(upper)


def _chroot(root: Path, script: str, *args: str) -> None:
    mount_and_enter = 'mount -t proc proc "$1/proc"; exec chroot "$@"'
    _isolated(["sh", "-ec", mount_and_enter, "sh", str(root), "sh", "-ec", script, "sh", *args])


def _isolated(argv: list[str]) -> None:
    """Run a step of a build so that its mounts and stray processes end with it."""
    env = dict(CLEAN_ENV, DEBIAN_FRONTEND="noninteractive", LANG="C.UTF-8", LC_ALL="C.UTF-8")
    prefix = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    os.makedirs(_images(), exist_ok=True)
    run([*prefix, *argv], timeout=_BUILD_SECONDS, env=env, where="building an image")
