"""Quoting for the files this extension writes."""

from saltext_repmgr.utils import errors


def config_string(text):
    """A string for postgresql.conf and repmgr.conf, which share their grammar.

    Both read backslash escapes inside of quotes, a line feed among them. Raises
    :class:`~saltext_repmgr.utils.errors.UsageError` for a NUL and a carriage return.
    """
    if any(char in text for char in "\r\0"):
        raise errors.UsageError("a value contains a carriage return or a NUL; leave it out")
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{escaped}'"


def conninfo_value(text):
    """A value for a libpq connection string; quoted only where it has to be."""
    if text and not any(char.isspace() or char in "'\\" for char in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def pgpass_field(text):
    """A field for a libpq password file."""
    if any(char in text for char in "\n\r\0"):
        raise errors.UsageError("a field of a password file cannot contain a line break or a NUL")
    return text.replace("\\", "\\\\").replace(":", "\\:")
