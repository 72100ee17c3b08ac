"""repmgr_pg.hba_rules."""

import pytest

FIELDS = {
    *("line_number", "type", "database", "user_name", "address", "netmask", "auth_method"),
    *("options", "error"),
}


@pytest.fixture
def hba(primary):
    """The pg_hba.conf of the primary; the server does not load it."""
    before = primary.hba.read_text()
    yield primary.hba
    primary.hba.write_text(before)


def test_rules_are_those_of_the_file(repmgr_pg, hba):
    hba.write_text(
        "# a comment\n"
        "local all postgres peer map=m\n"
        "\n"
        "hostssl app,replication +readers,u 10.0.0.0/8 cert map=m\n"
    )
    found = repmgr_pg.hba_rules()
    assert [set(rule) for rule in found] == [FIELDS, FIELDS]
    local, ssl = found
    assert (local["line_number"], local["type"], local["auth_method"]) == (2, "local", "peer")
    assert (local["database"], local["user_name"], local["address"]) == (
        ["all"],
        ["postgres"],
        None,
    )
    assert local["options"] == ["map=m"]
    assert (ssl["line_number"], ssl["database"]) == (4, ["app", "replication"])
    assert (ssl["user_name"], ssl["address"]) == (["+readers", "u"], "10.0.0.0")
    assert ssl["netmask"] == "255.0.0.0"
    assert sorted(ssl["options"]) == ["clientcert=verify-full", "map=m"]


def test_a_broken_line_has_an_error(repmgr_pg, hba):
    hba.write_text("local all postgres peer\nhost all all 10.0.0.0/8 no-such-method\n")
    good, broken = repmgr_pg.hba_rules()
    assert (good["line_number"], good["error"]) == (1, None)
    assert (broken["line_number"], broken["auth_method"]) == (2, None)
    assert "no-such-method" in broken["error"]
