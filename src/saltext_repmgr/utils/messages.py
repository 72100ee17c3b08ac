"""Reads repmgr's log lines, which it writes to stderr as ``LEVEL: text``."""

import re

from saltext_repmgr.utils.lines import split_lines

# Messages of PostgreSQL itself are quoted below a DETAIL as "ERROR:  text", with two
# blanks; they belong to the entry above them.
_ENTRY = re.compile(
    r"^(DEBUG|INFO|NOTICE|WARNING|ERROR|ALERT|CRIT|EMERG|DETAIL|HINT):(?: (?! )(.*)|)$"
)
_ISSUES = "following issues were detected"


def entries(stderr):
    """Return ``[(level, text)]``; lines that continue an entry are kept in its text.

    Lines before the first entry have the level ``""``: repmgr reports mistakes on its
    command line, and a start as root, without one.
    """
    found = []
    for line in split_lines(stderr):
        match = _ENTRY.match(line)
        if match:
            found.append([match[1], [match[2] or ""]])
        elif line.strip():
            if not found:
                found.append(["", []])
            found[-1][1].append(line.rstrip())
    return [(level, "\n".join(lines).strip()) for level, lines in found]


def complaint(stderr):
    """Return the first error with its details and hints, as lines; [] where there is none."""
    lines = []
    for level, text in entries(stderr):
        if not lines:
            if level in ("", "ERROR", "ALERT", "CRIT", "EMERG"):
                lines.append(f"{level}: {text}" if level else text)
        elif level in ("DETAIL", "HINT"):
            lines.append(f"{level}: {text}")
        else:
            break
    return lines


def told(stderr, levels=("NOTICE", "WARNING")):
    """Return the texts of the entries of some levels, as ``LEVEL: text``."""
    return [f"{level}: {text}" for level, text in entries(stderr) if level in levels]


def issues(stderr):
    """Return what ``cluster show`` and ``service status`` list as detected issues."""
    for level, text in entries(stderr):
        if level == "WARNING" and text.startswith(_ISSUES):
            return [line.strip().removeprefix("- ") for line in split_lines(text)[1:]]
    return []
