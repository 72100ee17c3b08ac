"""The control file, as ``pg_controldata`` prints it."""

from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.facts import LIMITS
from saltext_repmgr.utils.facts import ControlFile
from saltext_repmgr.utils.lines import split_lines

# The labels are the same from PostgreSQL 10 to 18 with LC_ALL=C.
_SYSTEM_IDENTIFIER = "Database system identifier"
_STATE = "Database cluster state"
_TIMELINE = "Latest checkpoint's TimeLineID"
_NEXT_OID = "Latest checkpoint's NextOID"
_NEXT_XID = "Latest checkpoint's NextXID"
_CHECKPOINT = "Latest checkpoint location"
_SEGMENT_SIZE = "Bytes per WAL segment"
_CHECKSUMS = "Data page checksum version"
# These two are shortened.
_SHORT = {
    "max_prepared_transactions": "max_prepared_xacts",
    "max_locks_per_transaction": "max_locks_per_xact",
}


def parse(text):
    """Return the :class:`~saltext_repmgr.utils.facts.ControlFile` in pg_controldata's output.

    Raises ``ParseError`` where a line that every release prints is missing.
    """
    fields = {}
    for line in split_lines(text):
        label, colon, value = line.partition(":")
        if colon:
            fields[label.strip()] = value.strip()
    try:
        return ControlFile(
            system_identifier=fields[_SYSTEM_IDENTIFIER],
            state=fields[_STATE],
            timeline=int(fields[_TIMELINE]),
            next_oid=int(fields[_NEXT_OID]),
            next_xid=_full_xid(fields[_NEXT_XID]),
            checkpoint=fields[_CHECKPOINT],
            checksums=fields[_CHECKSUMS] != "0",
            segment_size=int(fields[_SEGMENT_SIZE]),
            limits={name: int(fields[f"{_SHORT.get(name, name)} setting"]) for name in LIMITS},
        )
    except (KeyError, ValueError) as err:
        raise ParseError(f"pg_controldata printed no usable line for {err}") from err


def _full_xid(text):
    epoch, _, xid = text.partition(":")
    return int(epoch) << 32 | int(xid)
