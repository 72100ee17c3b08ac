"""What a daemon writes down, and holds in memory where the file system takes nothing.

A file system that is full or read-only must not end what guards a server.
"""

import os

from . import config

_AGAIN_SECONDS = 5


class Store:
    """The JSON files of a daemon.

    log
        Function that says something; a file that cannot be written is said once, and once more when
        it is written again.
    """

    def __init__(self, log):
        self._log = log
        self._errors = {}
        self._waiting = {}
        self._next = 0.0

    @property
    def waits(self):
        """Whether there is something that could not be written yet."""
        return bool(self._waiting)

    def write(self, path, content):
        """Write a file, now or as soon as that is possible."""
        self._waiting[path] = content
        try:
            config.write(path, content)
        except OSError as err:
            self._say(path, err.strerror)
        else:
            del self._waiting[path]
            self._say(path, "")

    def retry(self, now):
        """Write what waits, every few seconds; ``now`` is of the monotonic clock."""
        if self._waiting and now >= self._next:
            self._next = now + _AGAIN_SECONDS
            for path, content in list(self._waiting.items()):
                self.write(path, content)

    def _say(self, path, error):
        if error == self._errors.get(path, ""):
            return
        self._errors[path] = error
        if error:
            self._log(f"{path} cannot be written ({error}): going on with what is in memory")
        else:
            self._log(f"{path} is written again")


class Mark:
    """An empty file that says yes. Another process may make and remove it, too."""

    def __init__(self, path):
        self._path = path
        # It is set, and could not be made.
        self._set = False
        # Which file does not count, as it could not be removed.
        self._void = None

    def is_set(self):
        """Return whether it says yes."""
        found = self._file()
        return self._set or found is not None and found != self._void

    def set(self):
        """Have it say yes."""
        self._void = None
        self._set = not touch(self._path)

    def clear(self):
        """Have it say no."""
        self._set = False
        if not remove(self._path):
            self._void = self._file()

    def _file(self):
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def touch(path):
    """Make an empty file; return whether there is one now."""
    try:
        with open(path, "a", encoding="utf-8"):
            return True
    except OSError:
        # A file system that is read-only may have it.
        return os.path.exists(path)


def remove(path):
    """Remove a file; return whether there is none now."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True
