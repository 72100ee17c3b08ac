"""repmgr's events go through the spool: written by the real repmgr, read as the beacon does."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import salt.loader

from saltext_repmgr.utils import deliver
from saltext_repmgr.utils import quoting
from saltext_repmgr.utils import spool
from saltext_repmgr.utils import wanted
from tests.functional.support import repmgr
from tests.lab.process import wait_until

LAST = "SELECT details FROM repmgr.events ORDER BY event_timestamp DESC LIMIT 1"


@pytest.fixture
def directory(standby):
    """A spool for the events of the standby, where the user postgres reaches it."""
    path = repmgr.ETC / "spool"
    path.mkdir(mode=0o700)
    shutil.chown(path, "postgres", "postgres")
    program = repmgr.ETC / Path(spool.PROGRAM).name
    program.write_text(spool.source(), encoding="utf-8")
    program.chmod(0o755)
    command = spool.COMMAND.replace(spool.PROGRAM, str(program)).replace(
        f" {spool.DIRECTORY} ", f" {path} "
    )
    escaped = quoting.config_string(command)[1:-1]
    repmgr.configure(standby, event_notification_command=escaped)
    yield path
    repmgr.configure(standby)
    shutil.rmtree(path)


def test_what_repmgr_says_is_what_is_read(directory, primary, standby):
    words = ["standby", "register", "--force", f"--upstream-node-id={primary.number}"]
    repmgr.repmgr(standby, *words)
    (name,) = spool.waiting(directory)
    event = spool.read(directory, name)
    assert (event.event, event.node_id, event.success) == ("standby_register", 2, True)
    assert event.primary_id == primary.number


@pytest.mark.parametrize("server", ["standby", "primary"])
def test_the_details_come_from_repmgrs_history(server, request, directory, minion_of):
    primary, standby = (request.getfixturevalue(name) for name in ("primary", "standby"))
    repmgr.repmgr(standby, "standby", "register", "--force", f"--upstream-node-id={primary.number}")
    (name,) = spool.waiting(directory)
    written = spool.read(directory, name)
    unknown = dataclasses.replace(written, name="1-1", event="repmgrd_start")
    reader = request.getfixturevalue(server)
    await_row(standby, "standby_register")
    spec, node, _ = wanted.subject(minion_of(reader).pillar, reader.name)
    read = deliver.with_details(spec, node, reader.layout, [written, unknown])
    assert [event.details for event in read] == [primary.sql(LAST, "repmgr"), ""]
    assert read[0].details != ""


def await_row(standby, event):
    row = f"SELECT count(*) > 0 FROM repmgr.events WHERE event = '{event}'"
    assert wait_until(lambda: standby.sql(row, "repmgr") == "t", 20)


HOSTILE = "n2\nend-of-details\ntouch {pwned} #$(touch {pwned})"


def test_the_name_of_a_node_is_no_command(directory, primary, standby):
    pwned = directory / "pwned"
    kept = primary.sql("SELECT node_name FROM repmgr.nodes WHERE node_id = 1", "repmgr")
    rename = "UPDATE repmgr.nodes SET node_name = $${}$$ WHERE node_id = 1"
    primary.sql(rename.format(HOSTILE.format(pwned=pwned)), "repmgr")
    try:
        # As what is followed it stands in the details of the event.
        await_name(standby, "n2")
        words = ["standby", "register", "--force", f"--upstream-node-id={primary.number}"]
        repmgr.repmgr(standby, *words)
    finally:
        primary.sql(rename.format(kept), "repmgr")
        await_name(standby, kept)
    (name,) = spool.waiting(directory)
    assert spool.read(directory, name).event == "standby_register"
    assert [path.name for path in directory.iterdir()] == [name]


def await_name(standby, beginning):
    row = "SELECT split_part(node_name, E'\\n', 1) FROM repmgr.nodes WHERE node_id = 1"
    assert wait_until(lambda: standby.sql(row, "repmgr") == beginning, 20)


def standing(minion_of, server, **changes):
    spec, node, _ = wanted.subject(minion_of(server).pillar, server.name)
    return deliver.standing_of(spec, node, dataclasses.replace(server.layout, **changes))


def test_an_event_comes_with_the_role_and_the_timeline(minion_of, primary, standby):
    assert standing(minion_of, primary) == {"role": "primary", "timeline": 1}
    assert standing(minion_of, standby) == {"role": "standby", "timeline": 1}


def test_a_server_that_is_down_is_what_its_data_directory_says(minion_of, fresh):
    fresh.kill()
    assert standing(minion_of, fresh) == {"role": "primary", "timeline": 1}
    nothing = standing(minion_of, fresh, data_directory="/nonexistent")
    assert nothing == {"role": None, "timeline": None}


def test_salt_loads_the_beacon(minion):
    beacons = salt.loader.beacons(minion.loaders.opts, minion.modules)
    assert beacons["repmgr.validate"]([{"interval": 2}])[0] is True
    assert beacons["repmgr.validate"]({"interval": 2})[0] is False
    assert spool.waiting() == []
    assert beacons["repmgr.beacon"]([{"interval": 2}]) == []
