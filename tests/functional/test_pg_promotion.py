"""repmgr_pg.timeline right after a promotion, when the control file still has the old one."""

import pytest


@pytest.fixture
def throwaway(primary, servers):
    """A standby of the primary that nobody needs afterwards."""
    cluster = servers[4].empty()
    primary.backup(cluster.data)
    yield cluster.start()
    cluster.kill()


def test_the_timeline_is_that_of_the_server(repmgr_pg, primary, throwaway):
    # The checkpoint after the promotion writes slowly, and so has something to do for long.
    primary.sql("CREATE TABLE public.dirty AS SELECT generate_series(1, 100000)")
    position = primary.sql("DROP TABLE public.dirty; SELECT pg_current_wal_flush_lsn()")
    throwaway.eventually(f"SELECT pg_last_wal_replay_lsn() >= '{position}'", "t")
    path = str(throwaway.data)

    assert repmgr_pg.timeline(port=throwaway.port) == 1
    assert throwaway.sql("SELECT pg_promote()") == "t"
    assert repmgr_pg.timeline(port=throwaway.port) == 2
    assert repmgr_pg.timeline(host="127.0.0.1", port=throwaway.port) == 2
    assert repmgr_pg.control_data(data_directory=path)["timeline"] == 1
    throwaway.sql("CHECKPOINT")
    assert repmgr_pg.control_data(data_directory=path)["timeline"] == 2
    assert repmgr_pg.timeline(port=throwaway.port) == 2
