"""repmgr_node.wanted through the loader: everything the SLS files render, and no secret."""

import pytest
from salt.exceptions import SaltInvocationError

from tests.functional.support.repmgr import PASSWORD


def test_what_a_node_is_to_be(minion, primary):
    found = minion.modules.repmgr_node.wanted()
    assert found["problems"] == []
    assert (found["node"], found["cluster"]) == (primary.name, "functional")
    assert (found["version"], found["port"]) == (primary.version, primary.port)
    assert found["data_directory"] == str(primary.data)
    assert found["config_directory"] == str(primary.etc)
    assert f"node_name='{primary.name}'" in found["repmgr_conf_text"]
    assert PASSWORD not in str(found)


def test_a_wrong_pillar_is_told_and_not_raised(minion, monkeypatch):
    monkeypatch.setitem(minion.pillar["repmgr"], "subnet", "everywhere")
    (problem,) = minion.modules.repmgr_node.wanted()["problems"]
    assert problem.startswith("repmgr.subnet: ")
    (problem,) = minion.modules.repmgr_node.report(refresh=False)["problems"]
    assert problem.startswith("repmgr.subnet: ")


def test_a_minion_that_is_no_node(minion, primary, monkeypatch):
    nodes = dict(minion.pillar["repmgr"]["nodes"])
    nodes["other"] = nodes.pop(primary.name)
    monkeypatch.setitem(minion.pillar["repmgr"], "nodes", nodes)
    (problem,) = minion.modules.repmgr_node.wanted()["problems"]
    assert f"this minion, {primary.name}, is not in it" in problem
    with pytest.raises(SaltInvocationError, match=f"this minion, {primary.name}, is not in it"):
        minion.modules.repmgr_node.plan()
