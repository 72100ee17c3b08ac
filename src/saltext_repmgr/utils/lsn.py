"""Log sequence numbers as integers (bytes since the start of the WAL)."""

import re

from saltext_repmgr.utils.errors import ParseError

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse(text):
    """Return the byte position of an LSN written as ``X/X``; raise ``ParseError`` otherwise."""
    found = _LSN.fullmatch(str(text))
    if not found:
        raise ParseError(f"not an LSN: {text!r}")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def render(position):
    """Return a byte position in PostgreSQL's spelling, ``X/X``."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def diff(one, other):
    """Return how many bytes ``one`` is ahead of ``other`` (both ``X/X``; negative: behind)."""
    return parse(one) - parse(other)
