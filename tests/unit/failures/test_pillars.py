"""The pillars that failures are tested and measured with."""

import pytest

from saltext_repmgr.utils import pillar
from saltext_repmgr.utils.repmgr_parameters import DEFAULTS
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from tests.failures import pillars
from tests.malformed.base import GOOD

# What the cluster could not be built with otherwise, and what costs a failover no time.
_KEPT = {"failover", "log_level", "use_replication_slots"}


@pytest.mark.parametrize("part", [None, pillars.SHIPPED, pillars.SYNCHRONOUS])
def test_they_are_right(part):
    wanted = pillars.for_client(part)
    spec = pillar.read({**GOOD, **wanted})
    assert len(spec.postgres.hba) == 2
    assert set(part or {}) <= set(wanted)


def test_the_client_is_added_to_what_is_there():
    part = {"synchronous": 1, "postgres": {"settings": {"work_mem": "5MB"}}}
    wanted = pillars.for_client(part)
    assert wanted["postgres"]["settings"] == {"work_mem": "5MB"}
    assert "hba" in wanted["postgres"] and "hba" not in part["postgres"]


def test_shipped_is_what_repmgr_has_by_itself():
    shipped = pillars.SHIPPED["settings"]
    assert shipped == {name: PARAMETERS[name].default for name in shipped}
    ours = {name for name, value in DEFAULTS.items() if PARAMETERS[name].default != value}
    assert ours - _KEPT <= set(shipped)
