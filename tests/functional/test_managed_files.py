"""The states that write the server's files."""

import stat

import pytest

from saltext_repmgr.utils import act
from saltext_repmgr.utils import host


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch):
    """This machine may have none; no unit is known then."""
    monkeypatch.setattr(host, "units", lambda *names: {name: host.Unit() for name in names})


@pytest.fixture
def states(minion):
    return minion.states


def test_the_settings_are_tried_and_written(states, tmp_path, monkeypatch):
    path = tmp_path / "90-repmgr.conf"
    announced = states.repmgr_pg.settings_present(name=str(path), test=True)
    assert (announced.result, announced.changes) == (None, {"diff": "New file"})
    done = states.repmgr_pg.settings_present(name=str(path))
    assert done.result is True, done.comment
    assert "shared_preload_libraries" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    again = states.repmgr_pg.settings_present(name=str(path))
    assert (again.result, again.changes) == (True, {})
    assert not list(tmp_path.glob(".*"))
    path.write_text("wal_level = replica\n")
    tried = []
    monkeypatch.setattr(act, "try_settings", lambda layout, text: tried.append(text))
    assert (
        "-wal_level = replica" in states.repmgr_pg.settings_present(name=str(path)).changes["diff"]
    )


def test_settings_that_the_server_refuses_are_not_written(primary, tmp_path):
    with pytest.raises(act.CommandFailed, match="invalid value for parameter .work_mem"):
        act.try_settings(primary.layout, "work_mem = lots\n")
    assert not list(tmp_path.iterdir())


def test_the_block_of_pg_hba_conf(states, tmp_path):
    path = tmp_path / "pg_hba.conf"
    path.write_text("local all all peer\n")
    path.chmod(0o640)
    done = states.repmgr_pg.hba_present(name=str(path))
    assert done.result is True, done.comment
    lines = path.read_text().splitlines()
    assert lines[0] == "# repmgr, written by Salt: begin"
    assert lines[-2:] == ["# repmgr, written by Salt: end", "local all all peer"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert states.repmgr_pg.hba_present(name=str(path)).changes == {}


def test_the_start_check(states, tmp_path):
    done = states.repmgr_pg.start_checked(name=str(tmp_path / "pg_ctl.conf"))
    assert done.result is True, done.comment
    assert "pg_ctl_options = '-p " in (tmp_path / "pg_ctl.conf").read_text()
