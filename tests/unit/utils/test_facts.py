"""Facts travel over Salt's bus, and prove a data directory to be untouched."""

import dataclasses
import json

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import ControlFile
from saltext_repmgr.utils.facts import DataDirectory
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import NodeRecord
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Server

CONTROL = ControlFile("7711104204775814372", "shut down", 1, 13017, 724, "0/14F5A28", True)
DATA = DataDirectory("/data", Content.POSTGRES, CONTROL, slots=(), tablespaces=0)
RECORD = NodeRecord(1, "node1", "primary", None, True, "default", 100, "host=a", None, "/etc/r")
SERVER = Server(
    *("7711104204775814372", False, 1, "0/1", "2026-01-01T00:00:00Z", 150018),
    senders=(Sender("node2", "streaming", "0/1", None, "async"),),
    nodes=(RECORD, dataclasses.replace(RECORD, node_id=2, upstream_node_id=1)),
)
SEEN = Observation(
    *("node1", 15, True, True, True, DATA, False),
    repmgrd=Repmgrd("active", 7, 1.5, True, None),
    members={"node2": Member(Reach.ANSWERED, "", SERVER), "node3": Member(Reach.REFUSED, "no")},
)


def changed(data=None, control=None, **observation):
    lies = dataclasses.replace(
        DATA, control=dataclasses.replace(CONTROL, **(control or {})), **(data or {})
    )
    return dataclasses.replace(SEEN, data=lies, **observation)


def test_over_the_bus_and_back():
    sent = json.loads(json.dumps(facts.to_dict(SEEN)))
    assert facts.from_dict(Observation, sent) == SEEN
    assert sent["members"]["node2"]["server"]["nodes"][1]["upstream_node_id"] == 1
    assert (sent["data"]["content"], sent["members"]["node3"]["reach"]) == ("postgres", "refused")


def test_what_a_neighbouring_version_has_more_or_less():
    sent = facts.to_dict(SEEN)
    sent["later"] = sent["data"]["later"] = sent["members"]["node2"]["server"]["later"] = 1
    del sent["members"]["node2"]["server"]["senders"], sent["repmgrd"]
    found = facts.from_dict(Observation, sent)
    assert found.members["node2"].server == dataclasses.replace(SERVER, senders=())
    assert (found.data, found.repmgrd) == (DATA, Repmgrd())


def test_the_record_of_a_node():
    assert SERVER.record(2).upstream_node_id == 1
    assert SERVER.record(3) is None
    assert dataclasses.replace(SERVER, nodes=None).record(1) is None


def test_what_initdb_left_is_untouched():
    assert SEEN.untouched
    assert changed(control={"next_oid": facts.FIRST_USER_OID - 1}).untouched


@pytest.mark.parametrize(
    "observation",
    [
        changed(control={"next_oid": facts.FIRST_USER_OID}),
        changed(control={"timeline": 2}),
        changed(control={"state": "in production"}),
        changed(control={"state": "shut down in recovery"}),
        changed(data={"standby": True}),
        changed(data={"slots": ("keep",)}),
        changed(data={"tablespaces": 1}),
        changed(data={"content": Content.FILES}),
        dataclasses.replace(SEEN, data=dataclasses.replace(DATA, control=None)),
        changed(running=True),
        changed(running=True, server=SERVER),
        changed(running=True, server=dataclasses.replace(SERVER, user_objects=True)),
    ],
)
def test_what_rules_it_out(observation):
    assert not observation.untouched


def test_a_running_server_is_judged_by_itself():
    asked = dataclasses.replace(SERVER, user_objects=False)
    assert changed(running=True, server=asked, control={"state": "in production"}).untouched
    assert not changed(running=True, server=asked, data={"slots": ("keep",)}).untouched


@pytest.mark.parametrize(
    ("control", "unwritten"),
    [({}, True), ({"next_xid": 725}, False), ({"state": "in production"}, False)],
)
def test_what_was_written_until_the_server_was_down(control, unwritten):
    running = changed(running=True, server=dataclasses.replace(SERVER, next_xid=724))
    assert running.unwritten(dataclasses.replace(CONTROL, **control)) is unwritten
