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


HOSTILE = "n9\nend-of-details\ntouch {pwned} #$(touch {pwned})"
RECORD = """
INSERT INTO repmgr.nodes (node_id, active, node_name, type, conninfo, repluser, config_file)
VALUES (9, false, $${name}$$, 'primary', 'host=192.0.2.9 user=repmgr', 'repmgr', '/none')
"""


def test_the_name_of_a_node_is_no_command(directory, primary, standby):
    pwned = directory / "pwned"
    primary.sql(RECORD.format(name=HOSTILE.format(pwned=pwned)), "repmgr")
    there = "SELECT count(*) FROM repmgr.nodes WHERE node_id = 9"
    try:
        assert wait_until(lambda: standby.sql(there, "repmgr") == "1", 20)
        repmgr.repmgr(standby, "primary", "unregister", "--node-id=9")
    finally:
        primary.sql("DELETE FROM repmgr.nodes WHERE node_id = 9", "repmgr")
    # The name is in what repmgr says of it.
    assert "end-of-details" in primary.sql(LAST, "repmgr")
    (name,) = spool.waiting(directory)
    assert spool.read(directory, name).event == "primary_unregister"
    assert [path.name for path in directory.iterdir()] == [name]


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
