"""Files that Salt's own ``file`` states must not write: those in directories of the postgres user.

These states run as root and follow links; :mod:`saltext_repmgr.utils.confined` does not.
"""

import difflib
import os
import stat

from saltext_repmgr.utils import confined
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed

_HIDDEN = "<show_changes=False>"


def file(
    name,
    text,
    mode=None,
    owner=None,
    dry=False,
    show=True,
    make_parents=False,
    directory_mode=None,
    check=None,
):
    """Have a file with a text, and return what a state function returns.

    name
        Path of the file.
    mode, owner, make_parents
        As for :func:`saltext_repmgr.utils.confined.write`.
    dry
        Whether to announce the change only.
    show
        Whether the difference may be shown, that is: it is no secret.
    directory_mode
        Make a missing directory of the owner's for it, with this mode (int).
    check
        Function that is called before a new text is written, and raises.
    """
    found = confined.status(name)
    # What is no UTF-8, in comments of an administrator's, stays byte by byte.
    old = confined.read(name, errors="surrogateescape") if found is not None else None
    changes = {**_text(name, old, text, show), **_rights(found, mode, owner)}
    if not changes:
        return result(name, "is as it should be")
    if dry:
        return result(name, "would be written", changes)
    if check is not None and old != text:
        check(text)
    try:
        if directory_mode is not None and not confined.is_directory(os.path.dirname(name)):
            confined.have_directory(os.path.dirname(name), directory_mode, owner)
        confined.write(name, text, mode, owner, make_parents)
    except OSError as err:
        raise CommandFailed(f"{name} cannot be written: {err.strerror}") from err
    return result(name, "written", changes)


def secret(name, text, mode, layout, dry):
    """The same for a file of the postgres user whose text is a secret, in a directory of root's."""
    return file(name, text, mode, layout.os_user, dry, show=False, make_parents=True)


def _text(name, old, new, show):
    if old == new:
        return {}
    if not show:
        return {"diff": _HIDDEN}
    if old is None:
        return {"diff": "New file"}
    lines = difflib.unified_diff(
        *(_shown(text).splitlines(keepends=True) for text in (old, new)), name, name
    )
    return {"diff": "".join(lines)}


def _shown(text):
    """Return a text without the bytes that were no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _rights(found, mode, owner):
    if found is None or mode is None:
        return {}
    changes = {}
    if stat.S_IMODE(found.st_mode) != mode:
        changes["mode"] = f"{mode:04o}"
    if (found.st_uid, found.st_gid) != confined.account(owner):
        changes["user"] = owner or "root"
    return changes


def with_block(text, begin, end, content):
    """Return a text with a block between two lines, at its head where it had none yet.

    begin, end
        The two lines.
    content
        Text of the block.

    Raises :class:`~saltext_repmgr.utils.errors.CommandFailed` where the one is there and not the
    other.
    """
    block = [begin, *content.rstrip("\n").split("\n"), end]
    lines = text.split("\n")
    if (
        (begin in lines) != (end in lines)
        or begin in lines
        and lines.index(end) < lines.index(begin)
    ):
        raise CommandFailed(
            f"the block that begins with '{begin}' is damaged: its last line is '{end}'. Restore"
            " both lines, or remove what is left of the block, and run again"
        )
    if begin in lines:
        first, last = lines.index(begin), lines.index(end)
        return "\n".join([*lines[:first], *block, *lines[last + 1 :]])
    return "\n".join([*block, *lines])
