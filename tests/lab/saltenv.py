"""Salt with this project in it, as ``pip install`` gives it to a user.

One virtual environment per Salt version, and on top of a hard-linked copy of it one per state of
the sources, so that an edit costs a wheel and its installation and not a download of Salt. They
are built where the hosts see them, in ``/opt/salt``, inside a mount namespace of their own.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import progress
from . import wheel
from .interpreter import Interpreter
from .interpreter import interpreter
from .paths import CHECKOUT
from .paths import cache_dir
from .process import follow
from .process import run
from .store import CONFINED
from .store import workshop

#: Where hosts have the environment.
SALT_PREFIX = Path("/opt/salt")

_KEPT = 4

# What else is in /opt stays in sight: pip may be set up to look for packages there.
_AT_ITS_PLACE = """
scratch=$1 environment=$2 python=$3 prefix=$4; shift 4
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work"
mount -t overlay overlay -o "lowerdir=/opt,upperdir=$scratch/upper,workdir=$scratch/work" /opt
mkdir -p /opt/salt "$prefix"
mount --bind "$environment" /opt/salt
mount --bind "$python" "$prefix"
exec "$@"
"""


@dataclass(frozen=True)
class SaltEnvironment:
    """``files`` on this machine has to be mounted at ``/opt/salt``, next to its interpreter."""

    version: str
    files: Path
    python: Interpreter

    @property
    def mounts(self) -> tuple[tuple[Path, Path], ...]:
        """Pairs of a directory here and its read-only place in a host."""
        return ((self.files, SALT_PREFIX), (self.python.files, self.python.prefix))


def salt_commands(files: str | None) -> list[str]:
    """The names of the commands in an environment; none without one."""
    return sorted(path.name for path in Path(files, "bin").glob("salt*")) if files else []


def salt_environment(
    version: str,
    *,
    old_libc: bool = False,
    in_use: frozenset[Path] = frozenset(),
    tell: progress.Tell = progress.nothing,
) -> SaltEnvironment:
    """Salt of that version with the project as it is in the checkout now.

    :param old_libc: for hosts whose C library is older than this machine's.
    :param in_use: environments that must not be pruned because running hosts have them mounted.
    :param tell: told what is being done.
    :raises CommandError: pip failed.
    """
    tell("a copy of Python")
    python = interpreter(carrying_libraries=old_libc)
    base = cache_dir() / "salt" / f"{version}-{python.key}"

    def named(key: str) -> SaltEnvironment:
        return SaltEnvironment(version, base.with_name(f"{base.name}-{key}"), python)

    found = named(wheel.hash_sources(CHECKOUT))
    if not found.files.is_dir():
        with workshop(base.parent, wheel.PIP_SECONDS) as scratch:
            sources = scratch / "sources"
            wheel.copy_sources(CHECKOUT, sources)
            # Somebody may have gone on editing.
            found = named(wheel.hash_sources(sources))
            if not base.is_dir():
                wanted = ["psycopg2-binary", f"salt=={version}"]
                _build(scratch, base, python, None, wanted, tell)
            if not found.files.is_dir():
                tell("the wheel of this checkout")
                project = wheel.build(sources, scratch)
                wanted = [str(project), f"salt=={version}"]
                _build(scratch, found.files, python, base, wanted, tell)
            _prune(base, in_use | {found.files})
    tell("")
    os.utime(found.files)
    return found


def _build(
    scratch: Path,
    final: Path,
    python: Interpreter,
    base: Path | None,
    requirements: list[str],
    tell: progress.Tell,
) -> None:
    """Make an environment, from ``base`` or else from nothing, and move it to its final name."""
    environment = scratch / final.name
    mountpoint = scratch / "mountpoint"
    mountpoint.mkdir(exist_ok=True)

    def at_its_place(*argv: str) -> None:
        places = [str(mountpoint), str(environment), str(python.files), str(python.prefix)]
        follow(
            [*CONFINED, "sh", "-ec", _AT_ITS_PLACE, "sh", *places, *argv],
            progress.pip(tell),
            timeout=wheel.PIP_SECONDS,
            env=wheel.pip_environment(),
            where=f"building {final.name}",
        )

    if base is None:
        environment.mkdir()
        at_its_place(str(python.executable), "-m", "venv", str(SALT_PREFIX))
    else:
        # Nothing in an installed environment is ever changed in place, so links will do.
        run(["cp", "-al", base, environment])
    at_its_place(
        f"{SALT_PREFIX}/bin/python3", "-m", "pip", "install", *wheel.PIP_OPTIONS, *requirements
    )
    environment.chmod(0o755)
    environment.rename(final)


def _prune(base: Path, kept: frozenset[Path]) -> None:
    """Remove the environments that have not been asked for the longest."""
    everything = base.parent.glob(f"{base.name}-*")
    newest_first = sorted(everything, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT:]:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
