"""Log sequence numbers as integers (bytes since the start of the WAL)."""

from saltext_repmgr.utils.errors import ParseError


def parse(text):
    """Return the byte position of an LSN written as ``X/X``; raise ``ParseError`` otherwise."""
    high, slash, low = str(text).partition("/")
    try:
        if slash and 0 < len(high) <= 8 and 0 < len(low) <= 8:
            return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        pass
    raise ParseError(f"not an LSN: {text!r}")


def render(position):
    """Return a byte position in PostgreSQL's spelling, ``X/X``."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def diff(one, other):
    """Return how many bytes ``one`` is ahead of ``other`` (both ``X/X``; negative: behind)."""
    return parse(one) - parse(other)
