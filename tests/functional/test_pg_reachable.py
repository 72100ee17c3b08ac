"""repmgr_pg.reachable: how far an attempt to ask a server gets."""

import socket

import pytest

from tests.functional.support.clusters import free_ports
from tests.functional.support.repmgr import PASSWORD


def test_a_server_that_lets_us_in_has_answered(repmgr_pg, standby):
    assert repmgr_pg.reachable() == {"reach": "answered", "detail": ""}
    assert repmgr_pg.reachable(port=standby.port) == {"reach": "answered", "detail": ""}
    over_tcp = repmgr_pg.reachable(host="127.0.0.1", port=standby.port)
    assert over_tcp == {"reach": "answered", "detail": ""}


def test_a_wrong_password_is_rejected(repmgr_pg, minion, monkeypatch):
    monkeypatch.setitem(minion.pillar["repmgr"], "password", "another-secret")
    found = repmgr_pg.reachable(host="127.0.0.1")
    assert found["reach"] == "rejected"
    assert "authentication failed" in found["detail"]
    assert "another-secret" not in found["detail"]


def test_a_pillar_without_password_is_rejected(repmgr_pg, minion, monkeypatch):
    monkeypatch.delitem(minion.pillar["repmgr"], "password")
    found = repmgr_pg.reachable(host="127.0.0.1")
    assert (found["reach"], "password" in found["detail"]) == ("rejected", True)


def test_a_server_without_our_database_is_rejected(repmgr_pg, spare):
    found = repmgr_pg.reachable(host="127.0.0.1", port=spare.port)
    assert found["reach"] == "rejected"
    assert PASSWORD not in found["detail"]


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_closed_port_refuses(repmgr_pg, host):
    (port,) = free_ports(1)
    found = repmgr_pg.reachable(host=host, port=port)
    assert found["reach"] == "refused"
    assert str(port) in found["detail"]


def test_a_name_that_does_not_resolve_is_unreachable(repmgr_pg):
    found = repmgr_pg.reachable(host="no-such-host.invalid")
    assert found["reach"] == "unreachable"
    assert "no-such-host.invalid" in found["detail"]


def test_a_server_that_hangs_is_unreachable(repmgr_pg):
    # The kernel completes the connection; nobody ever speaks.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = repmgr_pg.reachable(host="127.0.0.1", port=silent.getsockname()[1])
    assert (found["reach"], "timeout" in found["detail"]) == ("unreachable", True)
