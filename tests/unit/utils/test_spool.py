"""The spool of repmgr's events: the program that writes it, run by a shell as repmgr does, and
what reads it."""

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
    "d": "server was promoted",
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
        values["d"] = values["d"].replace('"', '\\"')
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
    raise_event(e="repmgrd_failover_promote", s="0", p="1", d="")
    first, second = events(directory)
    assert first == spool.Event(
        name=first.name,
        event="standby_promote",
        node_id=2,
        success=True,
        primary_id=None,
        timestamp=GIVEN["t"],
        details="server was promoted",
    )
    assert (second.event, second.success, second.primary_id, second.details) == (
        "repmgrd_failover_promote",
        False,
        1,
        "",
    )
    assert first.name < second.name


@pytest.mark.parametrize(
    "details",
    [
        "$(touch pwned) `touch pwned` $HOME \\ \\n %n",
        "it's \"quoted\" and 'quoted'; touch pwned & | > pwned",
        'could not connect:\n  FATAL:  role "x" does not exist\n\nHINT: none',
        "Größe ändern",
    ],
)
def test_the_shell_does_not_interpret_the_details(directory, raise_event, details):
    raise_event(d=details)
    (event,) = events(directory)
    assert event.details == details
    assert not list(directory.glob("pwned")) and not Path("pwned").exists()


def test_details_that_repmgr_cuts_off_are_kept_as_far_as_they_go(directory, raise_event):
    raise_event(d="x" * 5000)
    (event,) = events(directory)
    assert 0 < len(event.details) < 1023 and set(event.details) == {"x"}
    assert event.event == "standby_promote"


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


@pytest.mark.parametrize("text", ["", "event=standby_clone\n", "event=../x\n\n", "node_id=1\n\nx"])
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
    text = f"event=standby_clone\n\n{PASSWORD} and password=other host=x"
    data = spool.message(spec, spec.nodes["node2"], spool.parse("17-4", text), {})["data"]
    assert PASSWORD not in str(data) and "other" not in data["details"]
    assert "host=x" in data["details"]


def test_the_message_for_the_bus():
    spec = pillar.read(GOOD)
    event = spool.parse("17-4", "node_id=3\nevent=standby_follow\nsuccess=1\nprimary_id=1\n\nok\n")
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
