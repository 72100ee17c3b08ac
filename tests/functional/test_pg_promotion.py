"""A promotion: the one of a switchover, and repmgr_pg.timeline right after one."""

import contextlib
import os
import signal
import threading
import time

import pytest

from saltext_repmgr.guard import processes
from saltext_repmgr.guard import start
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import promotion
from saltext_repmgr.utils import succession_act
from saltext_repmgr.utils import turn
from tests.functional.support.clusters import as_postgres


@pytest.fixture
def throwaway(primary, servers):
    """A standby of the primary that nobody needs afterwards."""
    cluster = servers[4].empty()
    primary.backup(cluster.data)
    yield cluster.start()
    cluster.kill()


@pytest.fixture
def orphan(fresh, servers):
    """A standby whose primary has gone; for a minute it does not ask for that one by itself."""
    cluster = servers[4].empty()
    fresh.backup(cluster.data)
    (cluster.data / "postgresql.auto.conf").open("a").write("wal_retrieve_retry_interval = '60s'\n")
    cluster.start()
    fresh.eventually("SELECT count(*) FROM pg_stat_replication", "1")
    fresh.stop()
    yield cluster
    cluster.kill()


def waits_for(connection, event):
    """Wait until the startup process waits for that; return its process id."""
    query = "SELECT pid, wait_event FROM pg_stat_activity WHERE backend_type = 'startup'"
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while True:
            cursor.execute(query)
            pid, found = cursor.fetchone()
            if found == event:
                return pid
            assert time.monotonic() < deadline, f"it waits for {found} and not {event}"
            time.sleep(0.02)


@contextlib.contextmanager
def standing_still(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_that_takes_note_and_sleeps_is_woken(orphan):
    # PostgreSQL's startup process, asked to promote while it waits for a WAL receiver that was
    # asked for and is no process yet, takes note and sleeps. Here the postmaster, which makes
    # the process, stands still meanwhile, as it does for a moment on a busy machine.
    with orphan.connect() as own, orphan.connect() as watch:
        startup = waits_for(watch, "RecoveryRetrieveRetryInterval")
        with standing_still(orphan.pid):
            os.kill(startup, signal.SIGHUP)
            waits_for(watch, "RecoveryWalStream")
            promoting = threading.Thread(target=promotion.promote, args=(own, "orphan"))
            promoting.start()
            deadline = time.monotonic() + 30
            while not (orphan.data / "promote").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.kill(startup, signal.SIGUSR2)
            waits_for(watch, "RecoveryRetrieveRetryInterval")
        promoting.join(timeout=turn.PROMOTE_SECONDS + 10)
    assert orphan.sql("SELECT pg_is_in_recovery()") == "f"


def test_one_that_has_only_the_history_of_a_lost_timeline_is_promoted(orphan):
    """Of a new primary that was lost as soon as somebody connected to it."""
    end = orphan.sql("SELECT pg_last_wal_replay_lsn()")
    orphan.stop()
    history = orphan.data / "pg_wal" / "00000002.history"
    as_postgres("sh", "-c", f"printf '1\\t{end}\\tno recovery target specified\\n' > {history}")
    orphan.start()
    whole = f"SELECT {wal.TIMELINE}, {succession_act.WHOLE}"
    # That it asks for more of what it has begun to stream is no part of it.
    orphan.eventually(
        "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'",
        "RecoveryRetrieveRetryInterval",
    )
    assert orphan.sql(whole) == "2|t"
    segment = orphan.sql("SELECT max(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
    part = orphan.data / "pg_wal" / f"00000002{segment[8:]}"
    as_postgres("touch", str(part))
    assert orphan.sql(whole) == "2|f"
    part.unlink()
    with orphan.connect() as own:
        promotion.promote(own, "orphan")
    assert orphan.sql(f"SELECT {wal.TIMELINE}, pg_is_in_recovery()") == "3|f"
    assert orphan.sql("CREATE TABLE t (); CHECKPOINT; SELECT count(*) FROM t") == "0"


def test_the_timeline_is_that_of_the_server(repmgr_pg, primary, throwaway):
    # The checkpoint after the promotion writes slowly, and so has something to do for long.
    primary.sql("CREATE TABLE public.dirty AS SELECT generate_series(1, 100000)")
    position = primary.sql("DROP TABLE public.dirty; SELECT pg_current_wal_flush_lsn()")
    throwaway.eventually(f"SELECT pg_last_wal_replay_lsn() >= '{position}'", "t")
    path = str(throwaway.data)

    assert repmgr_pg.timeline(port=throwaway.port) == 1
    assert processes.is_standby(path)
    assert throwaway.sql("SELECT pg_promote()") == "t"
    assert not processes.is_standby(path)
    assert repmgr_pg.timeline(port=throwaway.port) == 2
    assert repmgr_pg.timeline(host="127.0.0.1", port=throwaway.port) == 2
    # Its last checkpoint is on the former one; a start check must not take it for a former primary.
    control = "SELECT timeline_id FROM pg_control_checkpoint()"
    assert throwaway.sql(control) == "1"
    assert repmgr_pg.control_data(data_directory=path)["timeline"] == 1
    assert start.control(path, throwaway.layout.bindir)[0] == 2
    throwaway.sql("CHECKPOINT")
    assert throwaway.sql(control) == "2"
    assert repmgr_pg.control_data(data_directory=path)["timeline"] == 2
    assert repmgr_pg.timeline(port=throwaway.port) == 2
