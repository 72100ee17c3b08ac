"""Proof that nobody ever used a server: has_user_objects, and the control file after the stop."""

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils import server

USED = {
    "a table that is gone": "CREATE TABLE t (); DROP TABLE t",
    "a table in a transaction that failed": "BEGIN; CREATE TABLE t (); ROLLBACK",
    "a role": "CREATE ROLE somebody",
    "a role that is gone": "CREATE ROLE somebody; DROP ROLE somebody",
    "a database": "CREATE DATABASE app",
    # Nothing is lost by that: it is refused, and can be forced.
    "statistics too wide for a row": "ANALYZE",
}
UNUSED = """
SELECT count(*) FROM pg_class;
VACUUM;
CHECKPOINT;
ALTER SYSTEM SET work_mem = '8MB';
ALTER ROLE postgres PASSWORD 'example';
"""


def proof(cluster):
    """What the running server says, and its control file after a clean stop."""
    with cluster.connect() as connection:
        running = not server.has_user_objects(connection)
    cluster.stop()
    return running, host.control_file(cluster.layout).untouched


@pytest.mark.parametrize("use", USED)
def test_use_is_seen(fresh, use):
    fresh.sql(USED[use])
    assert proof(fresh) == (False, False)


def test_what_initdb_made_is_untouched(fresh):
    assert proof(fresh) == (True, True)
    fresh.start()
    assert proof(fresh) == (True, True), "and after a restart"
    fresh.start().sql(UNUSED)
    assert proof(fresh) == (True, True), "nobody created anything"
    fresh.start().stop("immediate")
    control = host.control_file(fresh.layout)
    assert (control.state, control.clean) == ("in production", False)
    assert not control.untouched, "a crash proves nothing"


def test_use_in_another_database_is_seen(fresh):
    fresh.sql("CREATE TABLE t (); DROP TABLE t", database="template1")
    assert proof(fresh) == (False, False)
    fresh.start()
    assert proof(fresh) == (False, False), "and after a restart"


def test_a_slot_is_seen(fresh):
    fresh.sql("SELECT pg_create_physical_replication_slot('keep')")
    with fresh.connect() as connection:
        assert server.has_user_objects(connection)
    assert host.data_directory(fresh.layout).slots == ("keep",)
    fresh.sql("SELECT pg_drop_replication_slot('keep')")
    assert proof(fresh) == (True, True)
    assert not host.data_directory(fresh.layout).slots


def test_a_tablespace_is_seen(fresh):
    fresh.sql("SET allow_in_place_tablespaces = on; CREATE TABLESPACE s LOCATION ''")
    assert proof(fresh) == (False, False)
    assert host.data_directory(fresh.layout).tablespaces == 1


def test_a_promoted_copy_is_not_untouched(fresh):
    fresh.stop()
    (fresh.data / "standby.signal").touch()
    fresh.start()
    fresh.sql("SELECT pg_promote()")
    fresh.stop()
    control = host.control_file(fresh.layout)
    assert (control.timeline, control.state, control.untouched) == (2, "shut down", False)
