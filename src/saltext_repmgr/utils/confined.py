"""File access of root that follows no link which another user can plant.

Debian gives the postgres user whole directories, and root has to read and write files there. Every
path is walked from ``/`` one component at a time through directory descriptors. A link counts only
where root alone can have made it: in a directory of root's, below such directories only, to which
nobody else may write. What is read has to be a regular file, and only so much of it is read. What is
written is a new file that takes the place of the old one. docs/security.md has the rule.

All functions raise :class:`~saltext_repmgr.utils.errors.Refused` for a link, a named pipe, a socket
or a device that is in the way, and ``OSError`` as the standard library does.
"""

import contextlib
import errno
import os
import pwd
import shutil
import stat

from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import Refused

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that nobody writes to would keep whoever opens it waiting.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A configuration file or a log's end; not what /dev/zero gives.
_MOST = 16 * 1024 * 1024
_MOST_LINKS = 40
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a regular file",
}


# -- the walk ---------------------------------------------------------------------------------


class _Walk:
    """A directory that was reached without trusting anybody but root.

    ``handle`` is its descriptor, ``path`` is its name for messages, ``trusted`` says whether root
    alone can have put there what is in it.
    """

    def __init__(self):
        self.handle = os.open("/", _LOOK | os.O_DIRECTORY)
        self.path = "/"
        self.trusted = _is_roots(os.fstat(self.handle))

    def enter(self, name, found):
        """Go into a subdirectory, of which ``found`` is a descriptor."""
        os.close(self.handle)
        self.handle = found
        self.path = os.path.join(self.path, name)
        self.trusted = self.trusted and _is_roots(os.fstat(found))

    def restart(self):
        """Go back to the root directory."""
        root = _Walk()
        os.close(self.handle)
        self.handle, self.path, self.trusted = root.handle, root.path, root.trusted

    def close(self):
        os.close(self.handle)


def _is_roots(found):
    # A process that is not root's trusts its own directories, too.
    own = found.st_uid in (0, os.geteuid())
    return own and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextlib.contextmanager
def _at(path, follow=True, make_parents=False):
    """Yield ``(descriptor of the directory, name in it, path for messages)`` of a path.

    follow
        Whether the path itself may be a link of root's.
    make_parents
        Make missing directories, root's, on the way.
    """
    path = os.path.normpath(os.path.abspath(os.fspath(path)))
    names, links, walk = path.strip("/").split("/"), 0, _Walk()
    try:
        while True:
            name = names.pop(0)
            last = not names
            try:
                found = os.open(name, _LOOK, dir_fd=walk.handle)
            except FileNotFoundError:
                if last:
                    break
                if not make_parents:
                    raise
                os.mkdir(name, 0o755, dir_fd=walk.handle)
                names.insert(0, name)
                continue
            kind = stat.S_IFMT(os.fstat(found).st_mode)
            if kind == stat.S_IFLNK and (follow or not last):
                target = os.readlink("", dir_fd=found)
                os.close(found)
                links += 1
                if not walk.trusted or links > _MOST_LINKS:
                    raise _refusal(path, os.path.join(walk.path, name), kind, target)
                names = [part for part in target.split("/") if part not in ("", ".")] + names
                if target.startswith("/"):
                    walk.restart()
                if not names:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
                continue
            if last:
                os.close(found)
                break
            if kind != stat.S_IFDIR:
                os.close(found)
                raise _refusal(path, os.path.join(walk.path, name), kind)
            walk.enter(name, found)
        yield walk.handle, name, os.path.join(walk.path, name)
    except OSError as err:
        # The name of one component alone says little.
        err.filename = path
        raise
    finally:
        walk.close()


def _refusal(path, where, kind, target=None):
    what = _KINDS.get(kind, "a file of an unknown kind") + (f" to {target}" if target else "")
    also = f" on the way to {path}" if where != path else ""
    return Refused(
        f"{where}{also} is {what}, and other users than root may have put it there: it is neither"
        f" followed nor replaced, and nothing was changed. See who made it ('ls -ld {where}'), remove"
        " it and run again"
    )


def _look(handle, name):
    """Return the ``os.stat_result`` of what a name stands for, or None; no link is followed."""
    try:
        return os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _require(handle, name, path, kind=stat.S_IFREG):
    """Return the ``os.stat_result`` of a file of a kind, or None where there is none."""
    found = _look(handle, name)
    if found is not None and stat.S_IFMT(found.st_mode) != kind:
        link = os.readlink(name, dir_fd=handle) if stat.S_ISLNK(found.st_mode) else None
        raise _refusal(path, path, stat.S_IFMT(found.st_mode), link)
    return found


# -- looks ------------------------------------------------------------------------------------


def status(path):
    """Return the ``os.stat_result`` of a regular file or a directory, or None where there is none."""
    try:
        with _at(path) as (handle, name, where):
            found = _look(handle, name)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                _require(handle, name, where)
            return found
    except (FileNotFoundError, NotADirectoryError):
        return None


def exists(path):
    """Return whether there is a regular file or a directory."""
    return status(path) is not None


def is_directory(path):
    """Return whether there is a directory."""
    found = status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_mount(path):
    """Return whether a directory is a mount point."""
    with _at(path, follow=False) as (handle, name, where):
        found = _require(handle, name, where, stat.S_IFDIR)
        return found is not None and found.st_dev != os.fstat(handle).st_dev


@contextlib.contextmanager
def directory(path):
    """Yield a descriptor of a directory; the path itself must be no link, whoever made that."""
    with _at(path, follow=False) as (handle, name, where):
        _require(handle, name, where, stat.S_IFDIR)
        found = os.open(name, _DIRECTORY, dir_fd=handle)
    try:
        yield found
    finally:
        os.close(found)


def names(path):
    """Return the names of what is in a directory, in order."""
    with directory(path) as handle:
        return sorted(os.listdir(handle))


@contextlib.contextmanager
def opened(path):
    """Yield a regular file, open for reading bytes."""
    with _at(path) as (handle, name, where):
        _require(handle, name, where)
        found = os.open(name, _READ, dir_fd=handle)
        with os.fdopen(found, "rb") as stream:
            # It may have been exchanged since.
            kind = stat.S_IFMT(os.fstat(found).st_mode)
            if kind != stat.S_IFREG:
                raise _refusal(where, where, kind)
            yield stream


def read(path, errors="strict", most=_MOST):
    """Return the text of a regular file in UTF-8.

    errors
        As for ``bytes.decode``.
    most
        The number of bytes that are read at most.
    """
    with opened(path) as stream:
        return stream.read(most).decode("utf-8", errors)


def read_end(path, size):
    """Return the text of the last bytes of a regular file."""
    with opened(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size).decode("utf-8", "replace")


# -- changes ----------------------------------------------------------------------------------


def write(path, text, mode=None, owner=None, make_parents=False):
    """Replace a file at once: nobody ever reads half of it, and a failure leaves the old one.

    mode
        Permissions (int) of the new file; None: those of the old one.
    owner
        Name of the user (and group) that the new file belongs to; None: that of the old one with
        ``mode=None``, else root.
    make_parents
        Make missing directories, root's.
    """
    with _at(path, make_parents=make_parents) as (handle, name, where):
        old = _require(handle, name, where)
        uid, gid = account(owner)
        if mode is None:
            if old is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
            mode = stat.S_IMODE(old.st_mode)
            uid, gid = (uid, gid) if owner else (old.st_uid, old.st_gid)
        new = f".{name}.new"
        # Left by a run that was cut off.
        if _require(handle, new, os.path.join(os.path.dirname(where), new)) is not None:
            os.unlink(new, dir_fd=handle)
        _create(handle, new, text, mode, uid, gid)
        try:
            os.replace(new, name, src_dir_fd=handle, dst_dir_fd=handle)
        except OSError:
            os.unlink(new, dir_fd=handle)
            raise


def create(path, text, mode, owner):
    """Make a file that is not there yet; return whether it was made. See :func:`write`."""
    with _at(path) as (handle, name, where):
        if _require(handle, name, where) is not None:
            return False
        _create(handle, name, text, mode, *account(owner))
        return True


def account(owner):
    """Return ``(user id, group id)`` of a user, by default of this process.

    Raises :class:`~saltext_repmgr.utils.errors.NotInstalledError` where there is none of that name.
    """
    if owner is None:
        return os.geteuid(), os.getegid()
    try:
        found = pwd.getpwnam(owner)
    except KeyError:
        raise NotInstalledError(f"this host has no user {owner}: install postgresql") from None
    return found.pw_uid, found.pw_gid


def _create(handle, name, text, mode, uid, gid):
    made = os.open(name, _CREATE, 0o600, dir_fd=handle)
    try:
        with os.fdopen(made, "wb") as stream:
            # Its own from the first byte on.
            os.fchown(made, uid, gid)
            os.fchmod(made, mode)
            stream.write(text.encode("utf-8", "surrogateescape"))
            stream.flush()
            os.fsync(made)
    except OSError:
        os.unlink(name, dir_fd=handle)
        raise


def unlink(path):
    """Remove a regular file; return whether there was one."""
    with contextlib.suppress(FileNotFoundError):
        with _at(path, follow=False) as (handle, name, where):
            if _require(handle, name, where) is not None:
                os.unlink(name, dir_fd=handle)
                return True
    return False


def rename(path, new):
    """Give a file or a directory another name in the same directory.

    new
        The name alone.
    """
    with _at(path, follow=False) as (handle, name, where):
        found = _look(handle, name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
        kind = stat.S_IFMT(found.st_mode)
        _require(handle, name, where, kind if kind == stat.S_IFDIR else stat.S_IFREG)
        if kind == stat.S_IFDIR and _look(handle, new) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(name, new, src_dir_fd=handle, dst_dir_fd=handle)


def have_directory(path, mode, owner=None):
    """Have a directory of a user, and its parents, root's.

    One that is there and belongs to another user is handed over only while it is empty.
    """
    uid, gid = account(owner)
    with _at(path, follow=False, make_parents=True) as (handle, name, where):
        made = _require(handle, name, where, stat.S_IFDIR) is None
        if made:
            os.mkdir(name, 0o700, dir_fd=handle)
        found = os.open(name, _DIRECTORY, dir_fd=handle)
        try:
            own = os.fstat(found)
            if (own.st_uid, own.st_gid) != (uid, gid):
                if own.st_uid != uid and set(os.listdir(found)) - {"lost+found"}:
                    raise Refused(
                        f"{where} is not empty and belongs to {_name(own.st_uid)}, not to"
                        f" {_name(uid)}; nothing was changed. Look at what is in it, then 'chown"
                        f" {_name(uid)}: {where}' or move it away, and run again"
                    )
                os.fchown(found, uid, gid)
            os.fchmod(found, mode)
        finally:
            os.close(found)


def _name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def empty(path):
    """Remove what is in a directory, which itself stays; links are removed and not followed."""
    with directory(path) as handle:
        for name in os.listdir(handle):
            if stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                # By the descriptor: shutil.rmtree follows no link below the path that it is given.
                shutil.rmtree(f"/proc/self/fd/{handle}/{name}")
            else:
                os.unlink(name, dir_fd=handle)


def copy(source, target):
    """Copy a regular file to a new one, of this user's, with its time."""
    with opened(source) as stream, _at(target) as (handle, name, _):
        made = os.open(name, _CREATE, 0o600, dir_fd=handle)
        with os.fdopen(made, "wb") as copied:
            shutil.copyfileobj(stream, copied)
            copied.flush()
            found = os.fstat(stream.fileno())
            os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(made)
