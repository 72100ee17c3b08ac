"""utils.metadata on a server that had all of it: what is missing is found and mended."""

import pytest

from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils.errors import RepmgrError
from tests.functional.support import repmgr
from tests.functional.support.clusters import as_postgres
from tests.functional.support.repmgr import PASSWORD

# What somebody did to the server, in which database, and what is missing then.
GAPS = {
    "no login": ("ALTER ROLE repmgr NOLOGIN", "postgres", ["role"]),
    "no replication": ("ALTER ROLE repmgr NOREPLICATION", "postgres", ["role"]),
    "no pg_monitor": ("REVOKE pg_monitor FROM repmgr", "postgres", ["role"]),
    "other password": ("ALTER ROLE repmgr PASSWORD 'another-secret'", "postgres", ["password"]),
    "no password": ("ALTER ROLE repmgr PASSWORD NULL", "postgres", ["password"]),
    "MD5 password": (
        f"SET password_encryption = md5; ALTER ROLE repmgr PASSWORD $${PASSWORD}$$",
        "postgres",
        ["password"],
    ),
    "no database": ("DROP DATABASE repmgr", "postgres", ["database", "extension", "rights"]),
    "no extension": ("DROP EXTENSION repmgr", "repmgr", ["extension", "rights"]),
    "no schema": ("REVOKE USAGE ON SCHEMA repmgr FROM repmgr", "repmgr", ["rights"]),
    "one table": ("REVOKE DELETE ON repmgr.events FROM repmgr", "repmgr", ["rights"]),
    "one view": ("REVOKE SELECT ON repmgr.show_nodes FROM repmgr", "repmgr", ["rights"]),
    "role and rights": (
        "ALTER ROLE repmgr NOLOGIN; REVOKE ALL ON repmgr.nodes FROM repmgr",
        "repmgr",
        ["role", "rights"],
    ),
    **{
        function: (f"REVOKE EXECUTE ON FUNCTION {function} FROM repmgr", "repmgr", ["rights"])
        for function in metadata._FUNCTIONS  # pylint: disable=protected-access
    },
}


def dump(cluster):
    """Everything the server holds about roles, databases, objects and their rights."""
    common = ("-h", cluster.layout.socket_directory, "-p", cluster.port)
    text = as_postgres("pg_dumpall", *common, "--globals-only")
    text += as_postgres("pg_dump", *common, "-d", "repmgr", "--create")
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestr"))]


def verifier(cluster):
    return cluster.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'repmgr'")


@pytest.fixture(scope="module")
def server(pristine):
    """A server that several tests have to do with, one after the other."""
    yield pristine.reset()
    pristine.kill()


@pytest.fixture
def whole(server):
    """The server with all that repmgr needs, whatever an earlier test did."""
    metadata.create(server.connect, PASSWORD)
    assert metadata.missing(server.connect, PASSWORD) == []
    return server


@pytest.mark.parametrize("gap", GAPS)
def test_a_gap_is_found_and_mended(whole, gap):
    statement, database, missing = GAPS[gap]
    whole.sql(statement, database)
    assert metadata.missing(whole.connect, PASSWORD) == missing
    metadata.create(whole.connect, PASSWORD)
    assert metadata.missing(whole.connect, PASSWORD) == []


def test_a_second_time_changes_nothing(whole):
    before, stored = dump(whole), verifier(whole)
    metadata.create(whole.connect, PASSWORD)
    assert verifier(whole) == stored
    assert dump(whole) == before


def test_what_repmgr_stored_stays(whole):
    whole.sql("INSERT INTO repmgr.events VALUES (7, 'kept', true, now(), '')", "repmgr")
    whole.sql("REVOKE ALL ON repmgr.events FROM repmgr; ALTER ROLE repmgr PASSWORD NULL", "repmgr")
    metadata.create(whole.connect, PASSWORD)
    assert whole.sql("SELECT event FROM repmgr.events WHERE node_id = 7", "repmgr") == "kept"


def test_a_new_password_of_the_pillar_replaces_the_old_one(whole):
    assert metadata.missing(whole.connect, "a new password") == ["password"]
    metadata.create(whole.connect, "a new password")
    assert metadata.missing(whole.connect, "a new password") == []
    with db.connect("127.0.0.1", whole.port, "repmgr", "repmgr", "a new password") as connection:
        assert db.row(connection, "SELECT current_user AS name") == {"name": "repmgr"}
    assert metadata.missing(whole.connect, PASSWORD) == ["password"]


def test_a_role_gets_another_password(whole):
    with whole.connect() as connection:
        assert metadata.takes(connection, PASSWORD, "nobody") is None
        assert metadata.takes(connection, "the next one") is False
        metadata.set_password(connection, "the next one")
        assert metadata.takes(connection, "the next one") is True
        assert metadata.takes(connection, PASSWORD) is False


def test_the_role_is_no_superuser(whole):
    rights = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_authid"
    assert whole.sql(f"{rights} WHERE rolname = 'repmgr'") == "f|f|f|f"


def test_the_role_can_register_a_primary(whole, minion):
    repmgr.configure(whole)
    done = minion.modules.repmgr.primary_register(version=whole.version, config=repmgr.conf(whole))
    assert done["changed"] is True
    assert whole.sql("SELECT node_id, type, active FROM repmgr.nodes", "repmgr") == "3|primary|t"


def test_the_role_can_use_what_pg_rewind_reads_with(whole):
    with db.connect("127.0.0.1", whole.port, "repmgr", "repmgr", PASSWORD) as connection:
        found = db.rows(connection, "SELECT pg_ls_dir('global', true, false) AS name")
        assert "pg_control" in {row["name"] for row in found}
        row = db.row(connection, "SELECT length(pg_read_binary_file('PG_VERSION')) AS size")
        assert row["size"] == len(f"{whole.version}\n")


@pytest.mark.parametrize("function", ["pg_promote(false, 1)", "pg_wal_replay_resume()"])
def test_only_recovery_is_missing_for_a_promotion(whole, function):
    with pytest.raises(RepmgrError, match="recovery is not in progress"):
        with db.connect("127.0.0.1", whole.port, "repmgr", "repmgr", PASSWORD) as connection:
            db.run(connection, f"SELECT {function}")
