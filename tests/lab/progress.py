"""What programs that take minutes say about how far they are, in words for a person."""

import re
import threading
from collections import Counter
from collections.abc import Callable

#: Takes what is being done now.
Tell = Callable[[str], object]

_APT = re.compile(r"(?:dl|pm)status:[^:]*(?::\w+)?:(?P<percent>[\d.]+):(?P<what>.*)")
_DEBOOTSTRAP = re.compile(
    r"I: (?P<verb>Retrieving|Extracting|Unpacking|Configuring) (?!the |required )(?P<name>\S+)"
)
_PIP = re.compile(
    r"\s*(?P<verb>Collecting|Processing|Downloading|Building wheel for|Using cached) (?P<name>\S+)"
)
_PIP_INSTALLS = re.compile(r"Installing collected packages: (?P<names>.*)")

#: In front of the arguments of apt-get: makes it print what :func:`apt` reads. Not as descriptor 1,
#: which it closes for dpkg: the script of a package that prints something would fail.
APT_GET = (
    *("sh", "-c", 'exec apt-get -o APT::Status-Fd=3 -o Dpkg::Use-Pty=0 "$@" 3>&1', "apt-get"),
)


def nothing(_: str) -> None:
    """A :data:`Tell` for whoever does not want to know."""


def apt(tell: Tell) -> Tell:
    """Tell of the lines that ``apt-get`` prints with :data:`APT_GET`."""

    def read(line: str) -> None:
        if found := _APT.match(line):
            tell(f"{found['what'].strip()}, {float(found['percent']):.0f} %")

    return read


def debootstrap(tell: Tell) -> Tell:
    """Tell of the lines that ``debootstrap`` prints.

    How many packages there are is known when all of them were retrieved.
    """
    counts: Counter[str] = Counter()

    def read(line: str) -> None:
        found = _DEBOOTSTRAP.match(line)
        # It retrieves the index of the archive, too.
        if not found or found["name"] in ("InRelease", "Packages", "Release"):
            return
        verb, name = found["verb"], found["name"].rstrip(".")
        counts[verb] += 1
        total = counts["Retrieving"]
        # Essential packages are configured twice.
        known = verb != "Retrieving" and counts[verb] <= total
        tell(f"{verb.lower()} package {counts[verb]}{f' of {total}' if known else ''}: {name}")

    return read


def pip(tell: Tell) -> Tell:
    """Tell of the lines that ``pip install`` prints."""
    collected = 0

    def read(line: str) -> None:
        nonlocal collected
        if found := _PIP.match(line):
            # Of a file it says "Processing" in the place of "Collecting".
            collected += found["verb"] in ("Collecting", "Processing")
            name = found["name"].rpartition("/")[2]
            tell(f"pip, package {collected}: {found['verb'].lower()} {name}")
        elif found := _PIP_INSTALLS.match(line):
            tell(f"pip: installing {len(found['names'].split(','))} packages")

    return read


class Together:
    """Joins what several threads are doing into one line."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._doing: dict[str, str] = {}

    def part(self, name: str) -> Tell:
        """A :data:`Tell` for one of them; it is done when it tells nothing more than ``""``."""

        def doing(what: str) -> None:
            with self._lock:
                self._doing.pop(name, None)
                if what:
                    self._doing[name] = what
                self._tell("; ".join(f"{part}: {now}" for part, now in sorted(self._doing.items())))

        return doing
