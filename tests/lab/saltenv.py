"""Salt with this project in it, as ``pip install`` gives it to a user.

One virtual environment per Salt version, and on top of a hard-linked copy of it one per state of
the sources, so that an edit costs a wheel and its installation and not a download of Salt. They
are built where the hosts see them, in ``/opt/salt``, inside a mount namespace of their own.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .interpreter import Interpreter
from .interpreter import interpreter
from .locks import locked
from .paths import CHECKOUT
from .paths import cache_dir
from .process import run

#: Where hosts have the environment.
SALT_PREFIX = Path("/opt/salt")

_PIP_SECONDS = 900
_KEPT = 4
_SOURCES = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE", "src")
# Variables that would make pip or Python behave differently from a user's.
_NOT_INHERITED = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "PIP_NO_COMPILE",
)

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
    version: str, in_use: frozenset[Path] = frozenset(), checkout: Path = CHECKOUT
) -> SaltEnvironment:
    """Salt of that version with the project as it is in the checkout now.

    :param in_use: environments that must not be pruned because running hosts have them mounted.
    :raises CommandError: pip failed.
    """
    python = interpreter()
    store = cache_dir() / "salt"
    base = store / f"{version}-{python.key}"
    files = store / f"{base.name}-{_hash_sources(checkout)}"
    with locked(store / f"{version}.lock"):
        if not base.is_dir():
            _build(base, python, None, ["salt==" + version, "psycopg2-binary"])
        if not files.is_dir():
            with tempfile.TemporaryDirectory(prefix="wheel-", dir=store) as wheels:
                wheel = _wheel(checkout, python, Path(wheels))
                _build(files, python, base, [str(wheel), "salt==" + version])
        os.utime(files)
        _prune(store, f"{base.name}-*", in_use | {files})
    return SaltEnvironment(version, files, python)


def _source_files(checkout: Path) -> Iterator[Path]:
    for name in _SOURCES:
        path = checkout / name
        if path.is_dir():
            for each in sorted(path.rglob("*")):
                parts = each.relative_to(checkout).parts
                generated = any(p == "__pycache__" or p.endswith(".egg-info") for p in parts)
                if each.is_file() and not generated:
                    yield each
        elif path.is_file():
            yield path


def _hash_sources(checkout: Path) -> str:
    digest = hashlib.sha256()
    for path in _source_files(checkout):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(checkout)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:10]


def _environment() -> dict[str, str]:
    # pip is set up by the machine, in part by the environment.
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def _build(final: Path, python: Interpreter, base: Path | None, requirements: list[str]) -> None:
    """Make an environment, from ``base`` or else from nothing, and move it to its final name."""
    with (
        tempfile.TemporaryDirectory(prefix=".build-", dir=final.parent) as parent,
        tempfile.TemporaryDirectory(prefix="repmgr-lab-") as scratch,
    ):
        environment = Path(parent) / "environment"

        def at_its_place(*argv: str) -> None:
            places = [scratch, str(environment), str(python.files), str(python.prefix)]
            run(
                ["unshare", "--mount", "sh", "-ec", _AT_ITS_PLACE, "sh", *places, *argv],
                timeout=_PIP_SECONDS,
                env=_environment(),
                where=f"building {final.name}",
            )

        if base is None:
            environment.mkdir()
            at_its_place(str(python.executable), "-m", "venv", str(SALT_PREFIX))
        else:
            # Nothing in an installed environment is ever changed in place, so links will do.
            run(["cp", "-al", base, environment])
        at_its_place(f"{SALT_PREFIX}/bin/python3", "-m", "pip", "install", "-q", *requirements)
        environment.chmod(0o755)
        environment.rename(final)


def _wheel(checkout: Path, python: Interpreter, destination: Path) -> Path:
    """Build the project's wheel from a copy: setuptools leaves traces where it builds."""
    with (checkout / "pyproject.toml").open("rb") as config:
        requires = tomllib.load(config)["build-system"]["requires"]
    builder = _builder(python, requires)
    copy = destination / "checkout"
    for path in _source_files(checkout):
        target = copy / path.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    options = ["-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(destination)]
    run(
        [builder / "bin/python3", "-m", "pip", "wheel", *options, copy],
        timeout=_PIP_SECONDS,
        env=_environment(),
        where="building the wheel of the project",
    )
    return next(destination.glob("*.whl"))


def _builder(python: Interpreter, requires: list[str]) -> Path:
    """An environment with what the build of the wheel asks for, kept for the next time."""
    key = hashlib.sha256(f"{python.key} {sorted(requires)}".encode()).hexdigest()[:10]
    builder = cache_dir() / "builder" / key
    complete = builder / "complete"
    with locked(builder.parent / "lock"):
        if not complete.exists():
            env = _environment()
            run([sys.executable, "-m", "venv", "--clear", builder], timeout=_PIP_SECONDS, env=env)
            pip = [str(builder / "bin/python3"), "-m", "pip", "install", "-q", *requires]
            run(pip, timeout=_PIP_SECONDS, env=env)
            complete.touch()
    return builder


def _prune(store: Path, pattern: str, in_use: frozenset[Path]) -> None:
    newest_first = sorted(store.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT:]:
        if path not in in_use:
            shutil.rmtree(path, ignore_errors=True)
