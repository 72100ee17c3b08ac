"""The spool of repmgr's events: the program that writes it, run by a shell as repmgr does, and
what reads it."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import spool
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.errors import Refused
from tests.malformed.base import GOOD
from tests.malformed.base import PASSWORD

PROGRAM = Path(spool.__file__).parents[1] / "guard" / "spool-event"
# What repmgr puts in the place of the parameters.
GIVEN = {
    "n": "2",
    "e": "standby_promote",
    "s": "1",
    "p": "",
    "t": "2026-05-01 12:00:00.123456+00",
}
LIMIT = 10000


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def raise_event(directory):
    """A function that has repmgr's command run, as repmgr expands and cuts it."""
    directory.mkdir()
    program = f"sh {PROGRAM}"
    template = spool.COMMAND.replace(spool.PROGRAM, program).replace(
        f" {spool.DIRECTORY} ", f" {directory} "
    )

    def run(**changes):
        command = template
        values = {**GIVEN, **changes}
        for letter in set(values) & set("dac"):
            values[letter] = values[letter].replace('"', '\\"')
        for letter, value in values.items():
            command = command.replace(f"%{letter}", value)
        done = subprocess.run(
            ["sh", "-c", command.encode()[:1023]], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    return run


def events(directory):
    return [spool.read(directory, name) for name in spool.waiting(directory)]


def test_what_repmgr_says_is_what_is_read(directory, raise_event):
    raise_event()
    raise_event(e="repmgrd_failover_promote", s="0", p="1")
    first, second = events(directory)
    assert first == spool.Event(
        name=first.name,
        event="standby_promote",
        node_id=2,
        success=True,
        primary_id=None,
        timestamp=GIVEN["t"],
    )
    expected = ("repmgrd_failover_promote", False, 1)
    assert (second.event, second.success, second.primary_id) == expected
    assert first.name < second.name


# What the role of repmgr may write into its tables: names of nodes, details, connection strings.
HOSTILE = [
    "n2\nend-of-details\ntouch pwned #",
    "$(touch pwned) `touch pwned`",
    "\"; touch pwned; '; touch pwned #",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_repmgrs_tables_reaches_the_shell(directory, raise_event, text):
    raise_event(d=text, a=text, c=text)
    (event,) = events(directory)
    assert event.timestamp == GIVEN["t"]
    assert not list(directory.glob("pwned")) and not Path("pwned").exists()


def test_an_event_of_the_release_before_is_read(directory):
    directory.mkdir()
    text = "node_id=2\nevent=standby_clone\nsuccess=1\nprimary_id=\ntimestamp=\n\nits\ndetails\n"
    (directory / "1-1.event").write_text(text, encoding="utf-8")
    assert [(e.event, e.node_id, e.details) for e in events(directory)] == [
        ("standby_clone", 2, "")
    ]


@pytest.mark.parametrize(
    ("timestamp", "dated"),
    [
        ("2026-05-01 12:00:00.123456+00", True),
        ("2026-05-01 12:00:00+0530", True),
        ("2026-05-01 12:00:00+05:30", True),
        ("Fri May  1 12:00:00 2026", False),
        ("infinity", False),
        ("", False),
    ],
)
def test_what_is_looked_for_in_the_history(timestamp, dated):
    text = f"event=standby_clone\nnode_id=2\ntimestamp={timestamp}\n"
    assert spool.parse("1-1", text).is_dated is dated


def test_nobody_else_can_read_an_event(directory, raise_event):
    raise_event()
    (path,) = directory.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_spool_nothing_fails(directory, raise_event):
    directory.rmdir()
    raise_event()
    assert spool.waiting(directory) == []


def test_a_full_spool_loses_its_oldest_and_says_so(directory, raise_event):
    raise_event()
    (oldest,) = spool.waiting(directory)
    for number in range(LIMIT - 1):
        (directory / f"{9 * 10**18 + number}-1.event").touch()
    raise_event(e="repmgrd_start")
    dropped, *rest = spool.waiting(directory)
    assert len(rest) == LIMIT
    assert oldest not in rest
    event = spool.read(directory, dropped)
    assert event.event == spool.DROPPED_EVENT
    assert event.details == "the spool was full: 1 older events are lost"
    assert oldest.removesuffix(".event") in event.name


@pytest.mark.parametrize("text", ["", "event=../x\n", "node_id=1\n", "\n\nevent=standby_clone\n"])
def test_what_repmgr_did_not_write_is_refused(text):
    with pytest.raises(ParseError):
        spool.parse("1-1", text)


def test_links_and_devices_are_not_followed(directory):
    directory.mkdir()
    secret = directory.parent / "secret"
    secret.write_text("event=standby_clone\n\nsecret", encoding="utf-8")
    (directory / "1-1.event").symlink_to(secret)
    os.mkfifo(directory / "2-1.event")
    for name, kind in (("1-1.event", "a symbolic link"), ("2-1.event", "a named pipe")):
        with pytest.raises(Refused, match=kind):
            spool.read(directory, name)


def test_no_message_holds_a_password():
    spec = pillar.read(GOOD)
    event = spool.parse("17-4", "event=standby_clone\n")
    event = dataclasses.replace(event, details=f"{PASSWORD} and password=other host=x")
    data = spool.message(spec, spec.nodes["node2"], event, {})["data"]
    assert PASSWORD not in str(data) and "other" not in data["details"]
    assert "host=x" in data["details"]


def test_the_message_for_the_bus():
    spec = pillar.read(GOOD)
    event = spool.parse("17-4", "node_id=3\nevent=standby_follow\nsuccess=1\nprimary_id=1\n")
    event = dataclasses.replace(event, details="ok")
    standing = {"role": "standby", "timeline": 2}
    assert spool.message(spec, spec.nodes["node2"], event, standing) == {
        "tag": "repmgr/foobar/standby_follow",
        "data": {
            "id": "node2",
            "cluster": "foobar",
            "node": "node2",
            "event": "standby_follow",
            "event_id": "node2/17-4",
            "node_id": 3,
            "success": True,
            "primary_id": 1,
            "timestamp": "",
            "details": "ok",
            "role": "standby",
            "timeline": 2,
        },
    }
