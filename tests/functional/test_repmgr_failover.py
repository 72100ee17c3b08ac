"""modules.repmgr in a failover by hand: promote the standby, bring the old primary back.

The metadata are those that utils.metadata makes: its role, which is no superuser, must do.
"""

import pytest
from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import metadata
from tests.functional.support import repmgr
from tests.functional.support.repmgr import PASSWORD


@pytest.fixture(scope="module")
def duo(pristine, servers):
    """Two servers; which of them is the primary changes."""
    first, second = pristine.reset(), servers[4].kill()
    metadata.create(first.connect, PASSWORD)
    repmgr.configure(first)
    repmgr.repmgr(first, "primary", "register")
    repmgr.make_standby(second, first)
    yield first, second
    first.kill()
    second.kill()


@pytest.fixture
def roles(duo, minion, monkeypatch):
    """The present ``(primary, standby)``, each with its own cluster as the one of the pillar."""
    primary, standby = sorted(duo, key=lambda c: c.sql("SELECT pg_is_in_recovery()"))
    monkeypatch.setitem(minion.pillar["repmgr"]["postgres"], "cluster", primary.name)
    assert minion.modules.config.get("repmgr:postgres:cluster") == primary.name
    return primary, standby


def promote(command, standby):
    assert command("standby_promote", standby, dry_run=True)["changed"] is False
    assert command("standby_promote", standby)["changed"] is True
    assert standby.sql("SELECT pg_is_in_recovery()") == "f"
    # What pg_rewind goes by.
    standby.sql("CHECKPOINT")


def assert_whole(command, primary, standby):
    repmgr.await_streaming(primary, standby)
    found = command("cluster_show", primary, detail=True)
    assert {node["name"]: (node["role"], node["status"]) for node in found["nodes"]} == {
        primary.name: ("primary", "* running"),
        standby.name: ("standby", "running"),
    }
    assert found["healthy"] is True


def test_a_primary_that_was_stopped(command, roles):
    old, new = roles
    old.stop()
    assert command("node_shutdown_state", old)["state"] == "SHUTDOWN"
    promote(command, new)
    source = repmgr.conninfo(new)
    assert command("node_rejoin", old, conninfo=source, dry_run=True)["changed"] is False
    assert old.pid is None
    assert command("node_rejoin", old, conninfo=source)["changed"] is True
    assert_whole(command, new, old)


def test_a_primary_that_went_its_own_way(command, roles):
    old, new = roles
    old.stop()
    promote(command, new)
    old.start().sql("CREATE TABLE public.lost (); CHECKPOINT")
    new.sql("CREATE TABLE public.kept ()")
    old.stop()
    source = repmgr.conninfo(new)
    with pytest.raises(CommandExecutionError, match=r"failed with REJOIN_FAIL \(24\)") as raised:
        command("node_rejoin", old, conninfo=source)
    assert "Next: " in str(raised.value)
    done = command("node_rejoin", old, conninfo=source, force_rewind=True, dry_run=True)
    assert done["changed"] is False
    assert command("node_rejoin", old, conninfo=source, force_rewind=True)["changed"] is True
    assert_whole(command, new, old)
    tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relname IN ('lost', 'kept')"
    old.eventually(tables, "kept")
    new.sql("DROP TABLE public.kept")


def test_a_primary_that_crashed(command, roles, version):
    old, new = roles
    old.stop("immediate")
    state = command("node_shutdown_state", old)
    assert state == {"state": "UNCLEAN_SHUTDOWN", "last_checkpoint_lsn": None}
    promote(command, new)
    if version < 15:
        # pg_rewind cannot be told where the configuration is.
        old.start().stop()
    done = command("node_rejoin", old, conninfo=repmgr.conninfo(new), force_rewind=True)
    assert (f"--config-file={old.etc}/postgresql.conf" in done["command"]) is (version >= 15)
    assert_whole(command, new, old)
