"""Let an interpreter run where the C library is too old for it: it brings its own.

Everything it links to is put next to it, the dynamic loader included, and its executable is told
to use that. What it starts is not affected.
"""

import re
import shutil
from pathlib import Path

from .apt import ensure_tools
from .process import run

#: Below the prefix of the interpreter.
_DIRECTORY = "lib/carried"

# The parts of the C library that extension modules ask for by name. All parts have to be of one
# version, so they are loaded right at the start, before anything can find those of the host.
_PARTS = (
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
)

_LINKED = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def carry_libraries(files: Path, prefix: Path, name: str) -> None:
    """Change a copy of an interpreter so that it carries its libraries.

    :param files: where the copy is now.
    :param prefix: where it is going to be seen.
    :param name: of the executable in ``bin``.
    :raises CommandError: the executable could not be changed.
    """
    ensure_tools("patchelf")
    executable = files / "bin" / name
    carried = files / _DIRECTORY
    carried.mkdir()
    loader = Path(run(["patchelf", "--print-interpreter", executable]).stdout.strip())
    shutil.copy2(loader, carried)
    libc = _linked_to(executable)["libc.so.6"].parent
    for part in _PARTS:
        shutil.copy2(libc / part, carried)
    # Of the two ways to say where libraries are, this one counts for the libraries of these, too.
    search = ["--force-rpath", "--set-rpath", f"{prefix / _DIRECTORY}:{prefix}/lib"]
    modules = (files / "lib" / name / "lib-dynload").glob("*.so")
    for binary in (executable, *files.glob("lib/libpython*.so.*"), *modules):
        for library, path in _linked_to(binary).items():
            if not (carried / library).exists() and not library.startswith("libpython"):
                shutil.copy2(path, carried / library)
        run(["patchelf", *search, binary])
    # One change at a time: patchelf confuses its strings otherwise.
    run(["patchelf", "--set-interpreter", prefix / _DIRECTORY / loader.name, executable])
    for part in _PARTS:
        run(["patchelf", "--add-needed", part, executable])


def _linked_to(binary: Path) -> dict[str, Path]:
    """Name -> path of the shared libraries a binary loads, except the dynamic loader."""
    listing = run(["ldd", binary]).stdout
    return {name: Path(path) for name, path in _LINKED.findall(listing) if name}
