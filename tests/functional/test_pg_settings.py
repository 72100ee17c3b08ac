"""repmgr_pg.settings."""

import pytest
from salt.exceptions import SaltInvocationError


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_setting_with_its_unit_and_its_source(repmgr_pg, primary, host):
    assert repmgr_pg.settings("shared_buffers,wal_level", host=host) == {
        "shared_buffers": {
            "value": "16MB",
            "source": "configuration file",
            "sourcefile": str(primary.conf),
            "pending_restart": False,
        },
        "wal_level": {
            "value": "replica",
            "source": "configuration file",
            "sourcefile": str(primary.conf),
            "pending_restart": False,
        },
    }


def test_a_setting_in_its_default(repmgr_pg):
    assert repmgr_pg.settings("work_mem") == {
        "work_mem": {
            "value": "4MB",
            "source": "default",
            "sourcefile": None,
            "pending_restart": False,
        }
    }


def test_without_names_those_that_were_set(repmgr_pg, primary):
    found = repmgr_pg.settings()
    assert found["wal_level"]["sourcefile"] == str(primary.conf)
    assert "work_mem" not in found
    assert {setting["source"] for setting in found.values()} & {"default", "override"} == set()


def test_a_setting_that_waits_for_a_restart(repmgr_pg, spare):
    spare.configure(max_worker_processes=11)
    spare.sql("SELECT pg_reload_conf()")
    spare.eventually("SELECT count(*) FROM pg_settings WHERE pending_restart", "1")
    (found,) = repmgr_pg.settings("max_worker_processes", port=spare.port).values()
    assert (found["pending_restart"], found["value"]) == (True, "8")
    waiting = {
        name
        for name, setting in repmgr_pg.settings(port=spare.port).items()
        if setting["pending_restart"]
    }
    assert waiting == {"max_worker_processes"}


def test_a_setting_in_its_default_that_waits_for_a_restart(repmgr_pg, spare):
    spare.conf.write_text(spare.conf.read_text().replace("shared_buffers", "# shared_buffers"))
    spare.sql("SELECT pg_reload_conf()")
    spare.eventually("SELECT count(*) FROM pg_settings WHERE pending_restart", "1")
    assert repmgr_pg.settings(port=spare.port)["shared_buffers"]["pending_restart"] is True


def test_a_name_the_server_does_not_know(repmgr_pg):
    with pytest.raises(SaltInvocationError, match="knows no setting no_such, nor_this$"):
        repmgr_pg.settings(["wal_level", "nor_this", "no_such"])


def test_names_in_lower_case(repmgr_pg, primary):
    # The server takes TimeZone and timezone for the same.
    (found,) = repmgr_pg.settings("timezone").values()
    assert found["value"] == primary.sql("SHOW timezone")
