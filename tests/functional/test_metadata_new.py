"""utils.metadata on a server that has nothing of it yet, and what its log learns."""

from saltext_repmgr.utils import metadata
from tests.functional.support.repmgr import PASSWORD

ALL = ["role", "password", "database", "extension", "rights"]


def test_from_nothing(fresh):
    assert metadata.missing(fresh.connect, PASSWORD) == ALL
    metadata.create(fresh.connect, PASSWORD)
    assert metadata.missing(fresh.connect, PASSWORD) == []


def test_the_password_is_not_in_the_servers_log(fresh):
    fresh.sql("ALTER SYSTEM SET log_statement = 'all'")
    fresh.sql("ALTER SYSTEM SET log_min_duration_statement = 0")
    fresh.stop().start()
    start = fresh.log.stat().st_size
    metadata.create(fresh.connect, PASSWORD)
    fresh.sql("ALTER ROLE repmgr PASSWORD NULL")
    metadata.create(fresh.connect, PASSWORD)
    metadata.missing(fresh.connect, "another-secret")
    logged = fresh.log.read_text(encoding="utf-8")[start:]
    assert logged.count("ALTER ROLE repmgr PASSWORD 'SCRAM-SHA-256$") >= 2
    assert PASSWORD not in logged
    assert PASSWORD.replace("'", "''") not in logged
    assert "another-secret" not in logged
