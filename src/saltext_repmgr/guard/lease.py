"""The pause of repmgrd on this host: until when it lasts, and whose turn it is to change that.

Whoever pauses writes down first when that ends; whoever ends a pause forgets it last. Two that do so
at once would leave a pause behind that nobody ends.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time

from . import config
from . import store

_LOCK = "pause.lock"


@contextlib.contextmanager
def held(seconds, directory=None):
    """Keep all others from changing the pause in the block.

    seconds
        How long to wait for another one that is at it; raises ``TimeoutError`` then.
    directory
        The guard's own, by default that of this host.
    """
    path = os.path.join(directory or config.STATE_DIRECTORY, _LOCK)
    deadline = time.monotonic() + seconds
    handle = _open(path)
    try:
        while not _lock(handle):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process changes the pause on this host (lock {path})")
            time.sleep(0.05)
        try:
            yield
        finally:
            # A child that was made meanwhile would hold it for as long as it lives.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _open(path):
    """Open the file that is locked; it is made where it is missing.

    The directory is the postgres user's, and root comes here, too: a link is not followed, and only a
    file that was just made changes its owner. A file system that is full or read-only is no hindrance
    where there is a file: reading is enough to lock.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "it is no regular file", path)
    except FileNotFoundError:
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        if os.geteuid() == 0:
            owner = os.stat(os.path.dirname(path))
            os.fchown(handle, owner.st_uid, owner.st_gid)
    return handle


def _lock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def left():
    """Return for how many seconds repmgrd is still to be paused; None: there is no pause to end."""
    try:
        seconds = float(_read(config.PAUSED_UNTIL)) - time.time()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        # A pause whose end is not known does not last.
        return 0.0
    try:
        # Whatever was at work before this boot is not any more.
        return seconds if _read(config.PAUSED_IN) == _read(config.BOOT_ID) else 0.0
    except OSError:
        return seconds


def is_over(seconds):
    """Whether a pause of which so much is :func:`left` is to be ended."""
    return seconds is not None and seconds <= 0


def forget():
    """There is no pause any more; return whether that could be written down.

    Where not, ending it once more does no harm: nobody can begin another one there.
    """
    removed = [store.remove(path) for path in (config.PAUSED_UNTIL, config.PAUSED_IN)]
    return all(removed)


def _read(path):
    with open(path, encoding="utf-8") as handle:
        return handle.read()
