"""The output of pg_controldata."""

import pytest

from saltext_repmgr.utils import controldata
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.facts import ControlFile

TEXT = """\
pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7711104204775814372
Database cluster state:               shut down
pg_control last modified:             Sun Nov 22 21:11:53 2026
Latest checkpoint location:           0/14F5A28
Latest checkpoint's REDO location:    0/14F5A28
Latest checkpoint's TimeLineID:       3
Latest checkpoint's NextXID:          0:724
Latest checkpoint's NextOID:          13017
Bytes per WAL segment:                16777216
max_connections setting:              200
max_worker_processes setting:         8
max_wal_senders setting:              20
max_prepared_xacts setting:           3
max_locks_per_xact setting:           64
Data page checksum version:           1
"""
NEEDED = [
    "Database system identifier",
    "Database cluster state",
    "Latest checkpoint location",
    "Latest checkpoint's TimeLineID",
    "Latest checkpoint's NextOID",
    "Latest checkpoint's NextXID",
    "Bytes per WAL segment",
    "Data page checksum version",
    "max_prepared_xacts setting",
]


def test_what_it_says():
    assert controldata.parse(TEXT) == ControlFile(
        system_identifier="7711104204775814372",
        state="shut down",
        timeline=3,
        next_oid=13017,
        next_xid=724,
        checkpoint="0/14F5A28",
        checksums=True,
        limits={
            "max_connections": 200,
            "max_worker_processes": 8,
            "max_wal_senders": 20,
            "max_prepared_transactions": 3,
            "max_locks_per_transaction": 64,
        },
    )


def test_transactions_are_counted_on_when_their_numbers_wrap_around():
    text = TEXT.replace("NextXID:          0:724", "NextXID:          2:7")
    assert controldata.parse(text).next_xid == 2 * 2**32 + 7


def test_without_checksums():
    text = TEXT.replace("version:           1\n", "version:           0\n")
    assert controldata.parse(text).checksums is False


@pytest.mark.parametrize("label", NEEDED)
def test_a_line_that_is_missing(label):
    text = "".join(line for line in TEXT.splitlines(True) if not line.startswith(label + ":"))
    assert text != TEXT
    with pytest.raises(ParseError, match=label):
        controldata.parse(text)


@pytest.mark.parametrize("text", ["", "pg_controldata: error", TEXT.replace("13017", "many")])
def test_something_else(text):
    with pytest.raises(ParseError):
        controldata.parse(text)
