"""utils.db.connect: who it connects as, and what it says when it fails."""

import os
import shutil
import signal
import threading

import psycopg2
import pytest

from saltext_repmgr.utils import db
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import QueryFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.quoting import pgpass_field
from tests.functional.support.repmgr import PASSFILE
from tests.functional.support.repmgr import PASSWORD


def ids():
    return os.geteuid(), os.getegid(), os.getuid(), os.getgid(), os.getgroups()


@pytest.fixture(autouse=True)
def same_user():
    """Whatever a test does, this process is who it was afterwards."""
    before = ids()
    yield
    assert ids() == before


@pytest.fixture
def sockets(primary):
    return primary.layout.socket_directory


def whoami(connection):
    return db.row(connection, "SELECT current_user AS name")["name"]


def test_peer_authentication_as_root(primary, sockets):
    before = ids()
    with db.connect(sockets, primary.port, "postgres", "postgres", os_user="postgres") as found:
        assert ids() == before, "only the connect itself runs as the other user"
        assert whoami(found) == "postgres"


def test_root_itself_is_no_superuser(primary, sockets):
    with pytest.raises(ConnectionFailed, match="Peer authentication failed") as raised:
        with db.connect(sockets, primary.port, "postgres", "postgres"):
            pass
    assert raised.value.kind is Reach.REJECTED


@pytest.mark.parametrize(
    ("dbname", "port", "kind"),
    [("no_such_database", None, Reach.REJECTED), ("postgres", 1, Reach.REFUSED)],
)
def test_the_user_is_restored_when_the_connect_fails(primary, sockets, dbname, port, kind):
    before = ids()
    with pytest.raises(ConnectionFailed) as raised:
        with db.connect(
            sockets, port or primary.port, "postgres", dbname, os_user="postgres", timeout=2
        ):
            pass
    assert (raised.value.kind, ids()) == (kind, before)


def test_the_user_is_restored_when_the_work_fails(primary, sockets):
    with pytest.raises(KeyError):
        with db.connect(sockets, primary.port, "postgres", "postgres", os_user="postgres"):
            raise KeyError("the caller's own")


def test_a_user_that_this_host_does_not_have(primary, sockets):
    with pytest.raises(RepmgrError, match="no-such-user"):
        with db.connect(sockets, primary.port, "x", "postgres", os_user="no-such-user"):
            pass


def test_one_at_a_time_is_another_user():
    entered, users = threading.Event(), []

    def enter():
        with db.effective_user("postgres"):
            entered.set()
            users.append(ids())

    with db.effective_user("postgres"):
        during = ids()
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.5), "it goes by what the other thread is for this moment"
    thread.join(timeout=10)
    assert users == [during]


def test_many_at_once(primary, sockets):
    found, port = [], primary.port

    def ask():
        with db.connect(sockets, port, "postgres", "postgres", os_user="postgres") as connection:
            found.append(whoami(connection))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["postgres"] * 8


@pytest.mark.parametrize(
    "secret", ["another-secret", "it's another", 'a"b\\c', "x' host='elsewhere", "grüße 100% %s"]
)
def test_a_password_is_in_no_error(primary, secret):
    with pytest.raises(ConnectionFailed) as raised:
        with db.connect("127.0.0.1", primary.port, "repmgr", "repmgr", secret):
            pass
    assert raised.value.kind is Reach.REJECTED
    for text in (str(raised.value), repr(raised.value)):
        assert secret not in text
        assert repr(secret)[1:-1] not in text


def test_a_password_of_a_server_that_is_down_is_in_no_error():
    with pytest.raises(ConnectionFailed) as raised:
        with db.connect("127.0.0.1", 1, "repmgr", "repmgr", PASSWORD):
            pass
    assert raised.value.kind is Reach.REFUSED
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("place", ["home", "environment"])
def test_a_password_is_only_the_one_that_is_passed(primary, monkeypatch, tmp_path, place):
    path = tmp_path / ".pgpass"
    shutil.copy(PASSFILE, path)
    if place == "home":
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.setenv("PGPASSFILE", str(path))
    common = {"host": "127.0.0.1", "port": primary.port, "user": "repmgr", "dbname": "repmgr"}
    psycopg2.connect(**common).close()
    with pytest.raises(ConnectionFailed, match="no password supplied"):
        with db.connect(**common):
            pass


def test_a_statement_that_the_server_refuses(primary):
    with pytest.raises(QueryFailed, match='relation "no_such" does not exist'):
        with primary.connect() as connection:
            db.rows(connection, "SELECT * FROM no_such")


def test_names_are_looked_up_in_the_catalogue_only(primary):
    with primary.connect("repmgr") as connection:
        assert db.row(connection, "SHOW search_path")["search_path"] == ""


def test_every_statement_is_committed(primary):
    with primary.connect() as connection:
        db.run(connection, "CREATE TABLE public.committed ()")
    assert primary.sql("SELECT count(*) FROM public.committed") == "0"
    primary.sql("DROP TABLE public.committed")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_goes_away(spare, mode):
    with pytest.raises(ConnectionFailed) as raised:
        with spare.connect() as connection:
            spare.stop(mode)
            db.rows(connection, "SELECT 1")
    assert raised.value.kind is Reach.UNREACHABLE


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = '50ms'; SELECT pg_sleep(5)",
        "SELECT pg_wal_replay_resume()",
    ],
)
def test_a_server_that_answered_is_not_unreachable(primary, statement):
    with pytest.raises(QueryFailed):
        with primary.connect() as connection:
            db.run(connection, statement)


def test_a_replication_connection_with_a_password_file(primary, tmp_path):
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"127.0.0.1:{primary.port}:replication:repmgr:{pgpass_field(PASSWORD)}\n")
    db.try_replication("127.0.0.1", primary.port, "repmgr", str(passfile))
    passfile.write_text(f"127.0.0.1:{primary.port}:replication:repmgr:another one\n")
    with pytest.raises(ConnectionFailed, match="authentication failed") as raised:
        db.try_replication("127.0.0.1", primary.port, "repmgr", str(passfile))
    assert raised.value.kind is Reach.REJECTED


def test_a_server_that_took_a_statement_and_hangs(primary, monkeypatch):
    monkeypatch.setattr(db, "STATEMENT_TIMEOUT", 1)
    monkeypatch.setattr(db, "_HANGS", 0.5)
    there = ("127.0.0.1", primary.port, "repmgr", "repmgr", PASSWORD)
    with db.connect(*there) as connection:
        pid = db.row(connection, "SELECT pg_backend_pid() AS pid")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionFailed):
                db.row(connection, "SELECT 1 AS one")
        finally:
            os.kill(pid, signal.SIGCONT)
