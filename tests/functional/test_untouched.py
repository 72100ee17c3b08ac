"""Proof that a server holds nothing: by its catalogs while it runs, by the control file when not."""

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import PostgresSpec

IN_USE = {
    "a table": "CREATE TABLE t ()",
    "a function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a type": "CREATE TYPE mood AS ENUM ('sad')",
    "a schema": "CREATE SCHEMA app",
    "an extension": "CREATE EXTENSION pageinspect",
    "a role": "CREATE ROLE somebody",
    "a database": "CREATE DATABASE app",
    "a database nobody may connect to": "CREATE DATABASE app ALLOW_CONNECTIONS false",
    "a large object": "SELECT lo_create(0)",
    "a large object with a number of its own": "SELECT lo_create(5)",
    "a publication": "CREATE PUBLICATION everything FOR ALL TABLES",
    "a slot": "SELECT pg_create_physical_replication_slot('keep')",
    "a tablespace": "SET allow_in_place_tablespaces = on; CREATE TABLESPACE s LOCATION ''",
}
# What leaves nothing behind, or nothing that is not in the directory that is kept.
EMPTY = {
    "nothing": "SELECT 1",
    "settings": "ALTER SYSTEM SET work_mem = '8MB'; ALTER ROLE postgres PASSWORD 'example'",
    "statistics, as autovacuum makes them": "ANALYZE",
    "a table that is gone": "CREATE TABLE t (); DROP TABLE t",
    "a table in a transaction that failed": "BEGIN; CREATE TABLE t (); ROLLBACK",
}


def seen(cluster):
    """What bears on it in the observation of a host that has this server."""
    layout = cluster.layout
    spec = ClusterSpec("functional", (), {}, "", postgres=PostgresSpec(port=cluster.port))
    running = cluster.pid is not None
    return Observation(
        *("node1", cluster.version, True, True, False),
        data=host.data_directory(layout),
        running=running,
        server=observe.own_server(spec, layout, Repmgrd())[0] if running else None,
    )


@pytest.mark.parametrize("use", IN_USE)
def test_what_is_kept_in_a_running_server_is_seen(fresh, use):
    assert seen(fresh).untouched
    fresh.sql(IN_USE[use])
    assert not seen(fresh).untouched


@pytest.mark.parametrize("database", ["template1", "postgres"])
def test_every_database_is_looked_into(fresh, database):
    fresh.sql("CREATE TABLE t ()", database=database)
    assert not seen(fresh).untouched
    fresh.sql("DROP TABLE t", database=database)
    assert seen(fresh).untouched


@pytest.mark.parametrize("use", EMPTY)
def test_what_leaves_nothing_behind_counts_as_nothing(fresh, use):
    fresh.sql(EMPTY[use])
    assert seen(fresh).untouched


def test_the_stop_shows_what_was_written_meanwhile(fresh):
    found = seen(fresh)
    fresh.stop()
    assert found.unwritten(host.control_file(fresh.layout))
    found = seen(fresh.start())
    fresh.sql("CREATE TABLE t ()")
    fresh.stop()
    assert not found.unwritten(host.control_file(fresh.layout))


def test_what_initdb_made_is_untouched_when_it_is_down(fresh):
    fresh.stop()
    assert seen(fresh).untouched
    fresh.start().stop("immediate")
    found = seen(fresh)
    assert (found.data.control.state, found.untouched) == ("in production", False)


@pytest.mark.parametrize("use", ["a table", "a role", "a slot", "a tablespace"])
def test_what_is_kept_shows_when_it_is_down(fresh, use):
    fresh.sql(IN_USE[use])
    fresh.stop()
    assert not seen(fresh).untouched


@pytest.mark.parametrize("use", list(EMPTY)[2:])
def test_a_server_that_is_down_proves_nothing_once_anything_was_made(fresh, use):
    # To look into its catalogs, it has to run.
    fresh.sql(EMPTY[use])
    fresh.stop()
    assert not seen(fresh).untouched
    assert seen(fresh.start()).untouched


def test_a_promoted_copy_is_not_untouched(fresh):
    fresh.stop()
    (fresh.data / "standby.signal").touch()
    fresh.start()
    fresh.sql("SELECT pg_promote()")
    fresh.stop()
    found = seen(fresh)
    assert (found.data.control.timeline, found.data.control.state) == (2, "shut down")
    assert not found.untouched
