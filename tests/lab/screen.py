"""What the person at the terminal sees: lines that stay, and one that tells what goes on now."""

import os
import shutil
import sys
import textwrap
import threading
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 100
_TICK = 0.5
# Without a terminal there is no line to rewrite; silence of a minute would look like a hang.
_HEARTBEAT = 20
# Events stand to the right of their seconds.
_MARGIN = " " * 12
_INDENT = " " * 4
_ERASE = "\r\x1b[K"


class Screen:
    """Sections of lines, each with the seconds since its section began.

    As a context manager it keeps the line at the bottom alive: rewritten in place on a terminal,
    else repeated now and then.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._lock = threading.RLock()
        self._began = self._written = time.monotonic()
        self._doing = ""
        self._end = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Screen":
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.doing("")
        self._end.set()
        self._ticker.join()

    def section(self, title: str) -> None:
        """Begin a section; its seconds count from here."""
        with self._lock:
            self._doing = ""
            self._put(f"\n{title}")
            self._began = time.monotonic()

    def event(self, text: str) -> None:
        """Something happened now."""
        with self._lock:
            first, *others = self._wrapped(text, _MARGIN)
            self._put(f"{self._elapsed()}  {first.removeprefix(_MARGIN)}", *others)

    def text(self, text: str) -> None:
        """Something to read, long lines wrapped; nothing when there is nothing to read."""
        with self._lock:
            if text:
                self._put(*self._wrapped(text, _INDENT))

    def verbatim(self, text: str) -> None:
        """The output of a command."""
        with self._lock:
            self._put(*(f"{_INDENT}{line}".rstrip() for line in text.splitlines()))

    def doing(self, text: str) -> None:
        """What goes on from now on, until something else does; empty for nothing."""
        with self._lock:
            self._doing = text
            self._redraw()

    # -- inside -----------------------------------------------------------------------------

    @staticmethod
    def _columns() -> int:
        return shutil.get_terminal_size((_WIDTH, 24)).columns

    def _wrapped(self, text: str, margin: str) -> list[str]:
        width = max(self._columns() - 1, 60)
        wrapped = []
        for line in text.splitlines():
            # A blank at the front belongs to the layout of the caller and holds for what follows.
            indent = margin + line[: len(line) - len(line.lstrip())]
            wrapped += textwrap.wrap(
                line.strip(),
                width,
                initial_indent=indent,
                subsequent_indent=f"{indent}  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        return wrapped or [""]

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:8.1f} s"

    def _put(self, *lines: str) -> None:
        erase = _ERASE if self._live else ""
        print(erase + "\n".join(lines), file=self._stream, flush=True)
        self._written = time.monotonic()
        self._redraw()

    def _redraw(self) -> None:
        if self._live:
            line = f"{self._elapsed()}  {self._doing} …" if self._doing else ""
            print(_ERASE + line[: self._columns() - 1], end="", file=self._stream, flush=True)

    def _tick(self) -> None:
        while not self._end.wait(_TICK):
            with self._lock:
                if self._live:
                    self._redraw()
                elif self._doing and time.monotonic() - self._written >= _HEARTBEAT:
                    self.event(f"({self._doing} …)")
