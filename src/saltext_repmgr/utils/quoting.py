"""Quoting for the files this extension writes: no text gets out of its line."""

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import errors


def config_string(text):
    """A string for postgresql.conf and repmgr.conf, which share their grammar.

    Both read backslash escapes inside of quotes, so whatever could end the line is written as the
    octal numbers of its bytes. Raises :class:`~saltext_repmgr.utils.errors.UsageError` for a
    NUL, which they cannot hold, and for half of a surrogate pair, which has no bytes.
    """
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{''.join(map(_octal, escaped))}'"


def _octal(char):
    if checks.is_one_line(char):
        return char
    try:
        numbers = char.encode("utf-8")
    except UnicodeEncodeError:
        numbers = b"\0"
    if numbers == b"\0":
        raise errors.UsageError("a value contains a NUL or half of a character; leave it out")
    return "".join(f"\\{number:03o}" for number in numbers)


def one_line(text):
    """A text that a file has no means to quote, as it is.

    Raises :class:`~saltext_repmgr.utils.errors.UsageError` where it could be read as more than
    one line. The text is not in the message, as it may be a secret.
    """
    if not checks.is_one_line(text):
        raise errors.UsageError(
            "a value contains a line break or a control character; leave it out"
        )
    return text


def conninfo_value(text):
    """A value for a libpq connection string; quoted only where it has to be."""
    if text and not any(char.isspace() or char in "'\\" for char in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def pgpass_field(text):
    """A field for a libpq password file."""
    return one_line(text).replace("\\", "\\\\").replace(":", "\\:")


def userlist_field(text):
    """A field for PgBouncer's userlist.txt, in its quotes."""
    quoted = one_line(text).replace('"', '""')
    return f'"{quoted}"'
