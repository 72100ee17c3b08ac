"""Locks between processes that share the cache or a lab's name."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import LabError


def acquire(path: Path, timeout: float) -> int:
    """Take the lock, waiting up to ``timeout`` seconds; closing the returned descriptor frees it.

    :raises LabError: somebody else kept it all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise LabError(f"{path} is locked by another process since {timeout:g} s") from None
        except BaseException:
            os.close(descriptor)
            raise
        time.sleep(0.1)


@contextlib.contextmanager
def locked(path: Path, timeout: float = 900) -> Iterator[None]:
    """Hold the lock for the block; see :func:`acquire`."""
    descriptor = acquire(path, timeout)
    try:
        yield
    finally:
        os.close(descriptor)
