"""Lines for a terminal. Pure."""

import textwrap

WIDTH = 100


def wrap(text, first="", rest=""):
    """Return a text as lines of at most :data:`WIDTH` columns, white space in it as single blanks.

    first, rest
        What the first line, and each other, begins with.
    """
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )


def block(title, lines):
    """Return lines below a title, or None where there are none."""
    return "\n".join([f"{title}:", *lines]) if lines else None
