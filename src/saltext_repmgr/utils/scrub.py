"""Takes passwords out of what programs print."""

import re
from urllib.parse import quote

MASK = "********"

# repmgr prints conninfo parameters neither quoted nor escaped, so a bare value can hold
# blanks and quotes: it is taken to end at the next "keyword=" or at the end of the line,
# less the punctuation that closes it. Rather a word too many than a part of a password.
_ASSIGNMENT = re.compile(
    r"""
    (?P<keyword> (?<![A-Za-z_]) (?:pg|ssl)?password \s* = \s* )
    (?:
        ''(?:\\''|[^'\n])*''                 # quoted inside a quoted string
      | '(?:\\.|''|[^'\\\n])*'               # quoted
      | "(?:\\.|[^"\\\n])*"                  # quoted for a shell
      | .*? (?= \s+[a-z_]+\s*= | [)"'\s]*$ )  # bare
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_URI = re.compile(r"(?P<user>\bpostgres(?:ql)?://[^:/?\#\s@]*:)\S*@", re.IGNORECASE)


def scrub(text, secrets=()):
    """Return ``text`` without the passwords in it.

    text
        Any output, message or connection string.

    secrets
        Passwords that are known: taken out wherever they appear, also escaped.
    """
    for secret in secrets:
        if secret:
            escaped = secret.replace("\\", "\\\\")
            for form in (
                secret,
                secret.replace("'", "''"),
                escaped.replace("'", "\\'"),
                quote(secret, safe=""),
            ):
                text = text.replace(form, MASK)
    text = _URI.sub(rf"\g<user>{MASK}@", text)
    return _ASSIGNMENT.sub(rf"\g<keyword>{MASK}", text)
