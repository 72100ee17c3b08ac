"""The spool of repmgr's events: what repmgr writes into it, and what is read out of it.

repmgr runs one command for each event and waits for it. That command leaves a file in
the spool, and the minion's beacon takes it from there when there is a master to take it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import scrub
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.lines import split_lines

DIRECTORY = "/var/spool/repmgr"
PROGRAM = "/usr/local/lib/repmgr-guard/spool-event"
# A shell runs it. So repmgr puts numbers, its own names of events and moments there, and no text of
# its tables, to which its role may write what it likes: the details are read from its history.
COMMAND = f'{PROGRAM} {DIRECTORY} %n %e %s "%p" "%t" </dev/null'

SUFFIX = ".event"
DROPPED = "dropped"
DROPPED_EVENT = "events_dropped"
_MAX_BYTES = 65536
_EVENT = re.compile(r"[a-z0-9_]+")
# As PostgreSQL writes it with its default DateStyle, and repmgr itself where no server gave it one.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d(:?\d\d)?)?")
# SQL: the details of events in repmgr's history.
HISTORY = """
SELECT w.name, e.details
  FROM unnest(%(names)s::text[], %(nodes)s::int[], %(events)s::text[], %(moments)s::timestamptz[])
       AS w (name, node_id, event, moment)
  JOIN repmgr.events e ON e.node_id = w.node_id AND e.event = w.event
                      AND e.event_timestamp = w.moment
"""


@dataclass(frozen=True)
class Event:
    """One event as repmgr told it.

    name
        File name in the spool without its suffix: nanoseconds since the epoch and the
        number of the process, so it is unique on its host and sorts by time.
    primary_id
        repmgr's ``%p``, which it gives for some events only.
    details
        repmgr's sentence about it, which is not in the file: see :data:`HISTORY`.
    """

    name: str
    event: str
    node_id: int | None
    success: bool
    primary_id: int | None
    timestamp: str
    details: str = ""

    @property
    def is_dated(self):
        """Whether :data:`HISTORY` can find it."""
        return self.node_id is not None and bool(_MOMENT.fullmatch(self.timestamp))


def source():
    """Return the text of the program that repmgr runs."""
    path = Path(__file__).parent.parent / "guard" / Path(PROGRAM).name
    return path.read_text(encoding="utf-8")


def waiting(directory=DIRECTORY):
    """Return the names of the files that wait, oldest first; [] without a spool."""
    try:
        found = confined.names(directory)
    except OSError:
        return []
    names = sorted(name for name in found if name.endswith(SUFFIX))
    return ([DROPPED] if DROPPED in found else []) + names


def read(directory, name):
    """Return the :class:`Event` in a file of the spool.

    Raises :class:`~saltext_repmgr.utils.errors.ParseError` or
    :class:`~saltext_repmgr.utils.errors.Refused` for a file that repmgr did not write, and
    ``OSError``.
    """
    text = confined.read(f"{directory}/{name}", errors="replace", most=_MAX_BYTES)
    return _dropped(text) if name == DROPPED else parse(name.removesuffix(SUFFIX), text)


def parse(name, text):
    """Return the :class:`Event` that a file of the spool holds."""
    # What stands after a blank line, a release before this one wrote.
    head = text.partition("\n\n")[0]
    fields = dict(line.partition("=")[::2] for line in split_lines(head))
    event = fields.get("event", "")
    if not _EVENT.fullmatch(event):
        raise ParseError(f"{name} in the spool of events is not what spool-event writes")
    return Event(
        name=name,
        event=event,
        node_id=_number(fields.get("node_id")),
        success=fields.get("success") == "1",
        primary_id=_number(fields.get("primary_id")),
        timestamp=fields.get("timestamp", ""),
    )


def _dropped(text):
    names = text.split()
    first = names[0].removesuffix(SUFFIX) if names else DROPPED
    return Event(
        name=f"{DROPPED}-{first}",
        event=DROPPED_EVENT,
        node_id=None,
        success=False,
        primary_id=None,
        timestamp="",
        details=f"the spool was full: {len(names)} older events are lost",
    )


def _number(text):
    return int(text) if text and text.isascii() and text.isdigit() else None


def message(spec, node, event, standing: Mapping[str, object]):
    """Return ``{"tag": ..., "data": ...}`` for Salt's event bus.

    standing
        ``role`` and ``timeline`` of this node at the moment of reading.
    """
    return {
        "tag": f"repmgr/{spec.cluster}/{event.event}",
        "data": {
            "id": node.name,
            "cluster": spec.cluster,
            "node": node.name,
            "event": event.event,
            "event_id": f"{node.name}/{event.name}",
            "node_id": node.id if event.node_id is None else event.node_id,
            "success": event.success,
            "primary_id": event.primary_id,
            "timestamp": event.timestamp,
            "details": scrub.scrub(event.details, [spec.password]),
            **standing,
        },
    }
