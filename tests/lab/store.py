"""Making things for the cache: one maker at a time, and nothing half made under a final name."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .locks import locked

_UNFINISHED = ".build-"

#: In front of a command: it, all it starts and all it mounts end when this process does.
CONFINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


@contextmanager
def workshop(shelf: Path, timeout: float) -> Iterator[Path]:
    """Hold the lock on a directory of the cache and get a scratch directory in it.

    What is made there becomes part of the cache by ``rename()``. The rest vanishes with the block,
    or, after a crash, when the next one begins.

    :param timeout: seconds to wait for another maker.
    :raises LabError: it took longer.
    """
    with locked(shelf / ".lock", timeout):
        # Whoever left this behind is gone, since the lock was free, and so are its commands.
        for unfinished in shelf.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished)
        scratch = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=shelf))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
