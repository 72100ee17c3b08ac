"""States of the server, as far as they need none."""

import pytest

from saltext_repmgr.states import repmgr_pg


@pytest.mark.parametrize(("dry", "sfun"), [(True, "running"), (False, "running"), (True, "other")])
def test_a_file_that_will_change_announces_a_reload(monkeypatch, dry, sfun):
    monkeypatch.setattr(repmgr_pg, "__opts__", {"test": dry}, raising=False)
    done = repmgr_pg.mod_watch("postgresql@15-main", sfun=sfun)
    announced = dry and sfun == "running"
    assert done["result"] is (None if announced else True)
    assert bool(done["changes"]) == announced
