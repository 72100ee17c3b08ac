"""Lines of text as the programs around us end them."""


def split_lines(text):
    """Return the lines of a text without their ends, and no last line that is empty.

    ``str.splitlines`` also splits at a form feed, at U+0085, at U+2028 and at other characters
    that PostgreSQL, repmgr and PgBouncer leave where they are: part of a password would be read as
    a line of its own.
    """
    return text.removesuffix("\n").split("\n") if text else []
