"""Checks on values from pillar that note every mistake and go on."""

import difflib
import ipaddress
import re
from collections.abc import Mapping

from saltext_repmgr.utils import errors

MISSING = object()
# Some program that reads our files, Salt's "file.managed" among them, ends a line at each of these.
# Half of a surrogate pair has no bytes at all.
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# The keys of pillar themselves say what they think of these two: a private key has lines.
_LINE_ENDS = "\n\r"
# Nothing in this pillar is half as deep, and an anchor that holds itself has no end.
_DEEPEST = 12
# Python does not even write out a whole number of thousands of digits.
_GREATEST = 2**64
NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# In a shell command, quotes may well be part of the value; around all of it they never help.
_OWN_QUOTES = re.compile(r"\s*'[^']*'\s*(,\s*'[^']*'\s*)*")
_MASK = re.compile(r"\*+")

_TYPE_NAMES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    tuple: "a list",
    type(None): "empty",
}


class Problems:
    """Collects ``(key, message)`` pairs until :meth:`raise_any`."""

    def __init__(self):
        self._found = []
        self._unfit = set()

    def __len__(self):
        return len(self._found)

    def add(self, key, message):
        """Note a mistake. A key that is unfit has been told; no more is said of it."""
        if key not in self._unfit:
            self._found.append((printable(str(key)), printable(message)))

    def add_unfit(self, key, message):
        """Note that the text at a key cannot be used, whatever it means."""
        self.add(key, message)
        self._unfit.add(key)

    def raise_any(self):
        """Raise :class:`~saltext_repmgr.utils.errors.PillarError` if anything was noted."""
        if self._found:
            raise errors.PillarError(self._found)


def kind(value):
    """Say what type a value from pillar has, without the value."""
    if isinstance(value, Mapping):
        return "a mapping"
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def show(value):
    """Show a value in a message; never call this with a secret."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_int(value):
    """Whether the value is an integer; YAML's ``true`` is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_one_line(text):
    """Whether a string can stand on one line of a file: no line break, no NUL and the like."""
    return not _UNFIT.search(text)


def printable(text):
    """The text with its line breaks and control characters written as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def every_text(problems, key, value, depth=0):
    """Note every string, names of keys included, with a character that no file can hold on one
    line, but for line feeds and carriage returns.

    What nobody can read, a number of thousands of digits or a list that holds itself, is refused
    at once.

    key, value
        A key of pillar and all that is below it.
    """
    if isinstance(value, str):
        found = _unfit_in(value)
        if found:
            problems.add_unfit(key, f"contains {found}; write it without that character")
    elif is_int(value) and abs(value) > _GREATEST:
        problems.add_unfit(key, "is a number without meaning here; write a smaller one")
        problems.raise_any()
    elif depth > _DEEPEST:
        problems.add_unfit(key, "is nested too deeply; see pillar.example for what is known")
        problems.raise_any()
    elif isinstance(value, Mapping):
        for name, below in value.items():
            found = _unfit_in(name) if isinstance(name, str) else None
            if found:
                problems.add_unfit(f"{key}.{name}", f"its name contains {found}; correct the name")
            every_text(problems, f"{key}.{name}", below, depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            every_text(problems, f"{key}.{index}", below, depth + 1)


def _unfit_in(text):
    """Words for the first character that cannot be used, or ``None``."""
    found = next((c for c in _UNFIT.findall(text) if c not in _LINE_ENDS), None)
    if found is None:
        return None
    reason = "half of a character" if "\ud800" <= found <= "\udfff" else "a control character"
    if found in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e":
        reason = "a line break to some programs"
    return f"U+{ord(found):04X}, {reason}"


def has_own_quotes(value):
    """Whether a string is in quotes that would become part of the value: YAML has its own, and so
    has the file that the value is written to."""
    return isinstance(value, str) and bool(_OWN_QUOTES.fullmatch(value))


def is_masked(value):
    """Whether the value is what Salt puts in the place of a pillar value it hides."""
    return isinstance(value, str) and bool(_MASK.fullmatch(value))


def likely(word, known, synonyms=()):
    """The known word the writer probably meant, or ``None``.

    synonyms
        Mapping of words that look different but mean a known one.
    """
    folded = str(word).lower().replace("-", "_")
    if folded in synonyms:
        return synonyms[folded]
    spellings = {str(k).lower(): k for k in known}
    match = difflib.get_close_matches(folded, list(spellings), n=1, cutoff=0.6)
    return spellings[match[0]] if match else None


def unknown_keys(problems, key, mapping, known, synonyms=()):
    """Note every key of ``mapping`` that is not in ``known``."""
    for name in mapping:
        if name in known:
            continue
        meant = likely(name, known, synonyms)
        hint = f"did you mean {meant!r}?" if meant else f"known keys: {', '.join(known)}"
        problems.add(f"{key}.{name}", f"unknown key; {hint}")


def mapping_or_none(problems, key, value):
    """The mapping, ``{}`` for an empty section, or ``None`` where it is something else."""
    if value is MISSING or value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    problems.add(key, f"is {kind(value)}; write a mapping")
    return None


def boolean(problems, key, value, default):
    if value is MISSING:
        return default
    if isinstance(value, bool):
        return value
    problems.add(key, f"is {show(value)}; write true or false, without quotes")
    return default


def integer(problems, key, value, minimum, maximum):
    """The integer, or ``None`` after a mistake was noted."""
    if not is_int(value):
        problems.add(
            key,
            f"is {show(value)} ({kind(value)}); write a whole number from {minimum} to {maximum},"
            " without quotes",
        )
        return None
    if not minimum <= value <= maximum:
        problems.add(key, f"is {value}; write a whole number from {minimum} to {maximum}")
        return None
    return value


def choice(problems, key, value, allowed, synonyms=()):
    """The value if it is one of ``allowed``, else ``None`` after a mistake was noted."""
    if isinstance(value, str) and value in allowed:
        return value
    meant = likely(value, allowed, synonyms) if isinstance(value, str) else None
    hint = f"did you mean {meant!r}?" if meant else f"write one of {', '.join(allowed)}"
    problems.add(key, f"is {show(value)}; {hint}")
    return None


def name(problems, key, value, what, pattern=NAME, letters="letters, digits, '_', '.' and '-'"):
    """A non-empty string of the characters that ``pattern`` allows, or ``None``."""
    if not isinstance(value, str):
        problems.add(key, f"is {show(value)} ({kind(value)}); write {what} as a string, in quotes")
    elif not value:
        problems.add(key, f"is empty; write {what}")
    elif not pattern.fullmatch(value):
        problems.add(key, f"is {show(value)}; {what} consists of {letters}")
    else:
        return value
    return None


def ip_address(text):
    """The IP address, or ``None`` where the text is none; zone ids do not count."""
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def peer_address(problems, key, text):
    """An IP address that other hosts can connect to, in its shortest form, or ``None``."""
    if not isinstance(text, str):
        problems.add(key, f"is {show(text)} ({kind(text)}); write an IP address, in quotes")
        return None
    found = ip_address(text)
    if found is None:
        problems.add(key, f"is {show(text)}, which is not an IP address; write one without port")
        return None
    return _reachable(problems, key, found)


def host(problems, key, text):
    """A host name or IP address that other hosts can connect to, or ``None``."""
    if not isinstance(text, str):
        problems.add(
            key, f"is {show(text)} ({kind(text)}); write a host name or an IP address, in quotes"
        )
        return None
    found = ip_address(text)
    if found is not None:
        return _reachable(problems, key, found)
    hint = _host_mistake(text)
    if hint:
        problems.add(key, f"is {show(text)}; {hint}")
        return None
    if text.lower().split(".")[0] == "localhost":
        problems.add(key, f"is {show(text)}, which means another host on every host; {_PEERS}")
        return None
    return text


_PEERS = "write the name or address by which the other nodes reach this one"


def _reachable(problems, key, address):
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_loopback or mapped.is_unspecified:
        reason = "is this host for every host"
    elif mapped.is_multicast or str(mapped) == "255.255.255.255":
        reason = "is not the address of one host"
    else:
        return str(address)
    problems.add(key, f"{address} {reason}; {_PEERS}")
    return None


def _host_mistake(text):
    """What to do about a text that is neither an address nor a name, or ``None``."""
    bare, _, rest = text.rpartition(":")
    if bare and rest.isdigit() and (":" not in bare or bare.endswith("]")):
        return f"write {bare.strip('[]')!r}; the port belongs into repmgr.postgres.port"
    if text.startswith("[") and text.endswith("]"):
        return f"write {text[1:-1]!r}, without brackets"
    if "/" in text and ip_address(text.split("/")[0]):
        return f"write {text.split('/')[0]!r}; the network belongs into repmgr.subnet"
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "write a host name (letters, digits, '-' and '.') or an IP address"
    if labels[-1].isdigit():
        return "write a complete IP address, for example '192.168.1.10', or a host name"
    return None
