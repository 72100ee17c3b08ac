"""docs/status.md says what the data hold: every key, and no other."""

import dataclasses
import pathlib
import re

from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.findings import Electors
from saltext_repmgr.utils.findings import Problem
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.routing import RouterStatus
from saltext_repmgr.utils.status import ClusterStatus
from saltext_repmgr.utils.status import Verdict
from saltext_repmgr.utils.topology import NodeStatus
from saltext_repmgr.utils.topology import State

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "status.md"
DATA = PAGE.read_text(encoding="utf-8").partition("\n## As data\n")[2]
CLUSTER, NODE = DATA.split("\nA node:\n")
# What the runner adds.
ADDED = {"format", "retcode", "outputter"}


def fields(cls):
    return {field.name for field in dataclasses.fields(cls)}


def keys(text):
    """The keys in the first column of a table."""
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def row(text, key):
    """What the last column says of a key."""
    return re.search(rf"^\| `{key}` \|.*\| (.*) \|$", text, re.MULTILINE)[1]


def words(text):
    return set(re.findall(r"`(\w+)`", text))


def test_the_keys_of_a_cluster():
    assert keys(CLUSTER) == fields(ClusterStatus) | ADDED
    assert words(row(CLUSTER, "verdict")) == {verdict.value for verdict in Verdict}
    assert fields(Electors) <= words(row(CLUSTER, "electors"))
    severities = {severity.value for severity in Severity}
    assert fields(RouterStatus) <= words(row(CLUSTER, "routers"))
    assert words(row(CLUSTER, "problems")) == fields(Problem) | severities


def test_the_keys_of_a_node():
    assert keys(NODE) == fields(NodeStatus)
    assert words(row(NODE, "state")) == {state.value for state in State}
    assert fields(Sender) <= words(row(NODE, "sender"))
    assert words(row(NODE, "slots")) == fields(Slot)
