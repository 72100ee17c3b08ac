"""The wheel of this project, built from the checkout as it is now."""

import hashlib
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from .paths import cache_dir
from .process import run
from .store import CONFINED
from .store import workshop

PIP_SECONDS = 900

#: Makes pip print what :func:`tests.lab.progress.pip` reads, and nothing about root.
PIP_OPTIONS = ("--progress-bar=off", "--root-user-action=ignore", "--disable-pip-version-check")

_SOURCES = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE", "src")
# Variables that would make pip or Python behave differently from a user's.
_NOT_INHERITED = {
    "PIP_NO_COMPILE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
}


def pip_environment() -> dict[str, str]:
    """The environment for pip, which is set up by the machine, in part by variables."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    # Half a minute of processor time goes into a faster parser of dates otherwise.
    return {"CFLAGS": "-O0", **inherited}


def copy_sources(checkout: Path, destination: Path) -> None:
    """Copy what the wheel is made of. Other files of a checkout may change at any time."""
    for path in _files(checkout):
        target = destination / path.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def hash_sources(checkout: Path) -> str:
    """A hash of everything that the wheel is made of."""
    digest = hashlib.sha256()
    for path in _files(checkout):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(checkout)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:10]


def _files(checkout: Path) -> Iterator[Path]:
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


def build(sources: Path, destination: Path) -> Path:
    """Build the wheel into a directory and return its path.

    :param sources: a copy made by :func:`copy_sources`: setuptools leaves traces where it builds.
    :raises CommandError: pip failed.
    """
    with (sources / "pyproject.toml").open("rb") as config:
        requires = tomllib.load(config)["build-system"]["requires"]
    options = ["-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(destination)]
    run(
        [*CONFINED, str(_builder(requires)), "-m", "pip", "wheel", *options, str(sources)],
        timeout=PIP_SECONDS,
        env=pip_environment(),
        where="building the wheel of the project",
    )
    return next(destination.glob("*.whl"))


def _builder(requires: list[str]) -> Path:
    """The Python of an environment with what the build asks for, kept for the next time."""
    key = hashlib.sha256(f"{sys.executable} {sys.version} {sorted(requires)}".encode()).hexdigest()
    environment = cache_dir() / "builder" / key[:10]
    python = environment / "bin/python3"
    complete = environment / "complete"
    if not complete.exists():
        with workshop(environment.parent, PIP_SECONDS):
            venv = [*CONFINED, sys.executable, "-m", "venv", "--clear", str(environment)]
            run(venv, timeout=PIP_SECONDS, env=pip_environment())
            install = [*CONFINED, str(python), "-m", "pip", "install", "-q", *requires]
            run(install, timeout=PIP_SECONDS, env=pip_environment())
            complete.touch()
    return python
