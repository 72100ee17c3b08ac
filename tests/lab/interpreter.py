"""The Python that Salt runs on in the hosts: a copy of the one that runs the lab.

A copy without its site-packages, so that hosts see exactly an interpreter and its standard
library, byte-compiled (they mount it read-only), and so that one in ``/usr`` works the same. It
has its headers, too: what pip compiles while it makes an environment is compiled for the copy.
"""

import hashlib
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from .apt import ensure_tools
from .carry import carry_libraries
from .errors import LabError
from .paths import cache_dir
from .process import run
from .store import workshop

_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "_tkinter*",
    "turtledemo",
    "config-*",
)


@dataclass(frozen=True)
class Interpreter:
    """``files`` on this machine has to be mounted at ``prefix`` in a host."""

    files: Path
    prefix: Path

    @property
    def executable(self) -> Path:
        """The interpreter, as seen where the files are mounted."""
        return self.prefix / "bin" / _name()

    @property
    def key(self) -> str:
        """Names this very interpreter; what is built with it carries it."""
        return self.files.name


def _name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def interpreter(*, carrying_libraries: bool = False) -> Interpreter:
    """The interpreter for the hosts, copied on first use.

    :param carrying_libraries: for hosts whose C library is older than this machine's.
    """
    original = Path(sys.base_prefix)
    executable = original / "bin" / _name()
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise LabError(f"{headers}/Python.h is missing: install the headers of {executable}")
    identity = f"{executable} {executable.stat().st_mtime_ns} {sys.version} with headers"
    suffix = "-carrying" if carrying_libraries else ""
    key = f"{_name()}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}{suffix}"
    files = cache_dir() / "python" / key
    # A host has a Python of its own in /usr, and commands in /usr/local. Elsewhere the prefix stays
    # what it is, because the executable may find its library only there.
    moved = original in (Path("/usr"), Path("/usr/local"))
    prefix = Path("/opt/python") if moved else original
    if not files.is_dir():
        with workshop(files.parent, timeout=300) as scratch:
            if not files.is_dir():
                _copy(executable, scratch / key)
                if moved:
                    _find_library_beside(scratch / key)
                if carrying_libraries:
                    carry_libraries(scratch / key, prefix, _name())
                (scratch / key).rename(files)
    return Interpreter(files, prefix)


def _find_library_beside(copy: Path) -> None:
    """Let a copy that is going to be elsewhere use the libpython that was copied along."""
    if any(copy.glob("lib/libpython*.so*")):
        ensure_tools("patchelf")
        run(["patchelf", "--set-rpath", "$ORIGIN/../lib", copy / "bin" / _name()])


def _copy(executable: Path, copy: Path) -> None:
    (copy / "bin").mkdir(parents=True)
    shutil.copy2(executable.resolve(), copy / "bin" / _name())
    (copy / "bin" / "python3").symlink_to(_name())
    library = copy / "lib" / _name()
    left_out = shutil.ignore_patterns(*_LEFT_OUT)
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=left_out, symlinks=True)
    (library / "site-packages").mkdir()
    for shared in executable.parent.parent.glob("lib/libpython*.so*"):
        shutil.copy2(shared, copy / "lib", follow_symlinks=False)
    headers = Path(sysconfig.get_path("include"))
    shutil.copytree(headers, copy / "include" / headers.name)
    # Errors are left alone: the standard library holds samples that do not compile.
    run([sys.executable, "-m", "compileall", "-q", library], check=False, timeout=300)
    for directory in (copy, copy / "bin", copy / "lib", library):
        directory.chmod(0o755)
