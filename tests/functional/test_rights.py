"""What roles other than superusers can do to the nodes of a cluster: each test tries it."""

import contextlib

import psycopg2
import pytest

from saltext_repmgr.guard import config
from saltext_repmgr.guard import daemon
from saltext_repmgr.guard import locks
from saltext_repmgr.guard import probe
from saltext_repmgr.guard import sessions
from saltext_repmgr.guard import takeover
from saltext_repmgr.guard import vote
from saltext_repmgr.utils import db
from saltext_repmgr.utils import deliver
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import roles
from saltext_repmgr.utils import rotate
from saltext_repmgr.utils import succession_act
from saltext_repmgr.utils import wanted
from tests.functional.support.attacks import ATTACKS
from tests.functional.support.attacks import DENIED
from tests.functional.support.attacks import attempt
from tests.functional.support.attacks import session
from tests.functional.support.clusters import as_postgres
from tests.functional.support.repmgr import PASSWORD
from tests.lab.process import wait_until

OTHER = ("app", "the application's")


@pytest.fixture(scope="module")
def server(pristine):
    """A server with what repmgr needs, and the role of an application."""
    made = pristine.reset()
    made.sql(f"CREATE ROLE {OTHER[0]} LOGIN PASSWORD $${OTHER[1]}$$")
    made.sql(f"CREATE DATABASE app OWNER {OTHER[0]}")
    metadata.create(made.connect, PASSWORD)
    yield made
    pristine.kill()


# -- repmgr's role ----------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS)
def test_repmgrs_role_cannot_have(server, attack):
    with pytest.raises(psycopg2.Error, match=DENIED):
        attempt(server, ATTACKS[attack])


@pytest.mark.parametrize("group", ["postgres", "pg_execute_server_program", "admins"])
def test_a_role_is_no_superuser_by_way_of_another_one(server, group):
    server.sql("CREATE ROLE admins IN ROLE postgres")
    try:
        server.sql(f"GRANT {group} TO repmgr")
        found = f"role without membership in {group}"
        # Members of a superuser have its rights as well.
        assert metadata.missing(server.connect, PASSWORD)[0] == found
        metadata.create(server.connect, PASSWORD)
        assert metadata.missing(server.connect, PASSWORD) == []
        held = "SELECT count(*) FROM pg_auth_members WHERE member = 'repmgr'::regrole"
        assert server.sql(f"{held} AND roleid = '{group}'::regrole") == "0"
    finally:
        server.sql("DROP ROLE admins")


def test_of_a_role_that_is_not_there_nothing_is_taken(server):
    with server.connect() as connection:
        assert roles.excess(connection, "nobody") == []
        roles.take_away(connection, "nobody")


# -- sessions of superusers -------------------------------------------------------------------


RECORD = """
INSERT INTO repmgr.nodes (node_id, active, node_name, type, conninfo, repluser, config_file)
VALUES (99, true, 'node99', 'standby', 'host=192.0.2.99', 'repmgr', '/none')
"""


@pytest.fixture
def trapped(server):
    """A server whose database leads everybody to a schema of somebody else first."""
    server.sql("CREATE SCHEMA evil", "repmgr")
    body = "LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END'"
    with server.connect("repmgr") as connection:
        for name, returns in (
            ("pg_is_in_recovery()", "boolean"),
            ("now()", "timestamptz"),
            ("same(int, int)", "boolean"),
        ):
            db.run(connection, f"CREATE FUNCTION evil.{name} RETURNS {returns} {body}")
        db.run(
            connection,
            "CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.same)",
        )
        db.run(connection, RECORD)
    server.sql("ALTER DATABASE repmgr SET search_path = evil, pg_catalog")
    server.sql("ALTER ROLE postgres SET search_path = evil, pg_catalog")
    with contextlib.closing(
        server._superuser("repmgr")
    ) as bare:  # pylint: disable=protected-access
        with pytest.raises(psycopg2.Error, match="trapped"):
            bare.cursor().execute("SELECT pg_is_in_recovery()")
    yield server
    server.sql("ALTER DATABASE repmgr RESET search_path; ALTER ROLE postgres RESET search_path")
    server.sql("DROP SCHEMA evil CASCADE; DELETE FROM repmgr.nodes", "repmgr")


def told(server):
    """What the guard of a server is told."""
    return config.Config(
        node_id=server.number,
        name=server.name,
        host="127.0.0.1",
        port=server.port,
        socket_directory=server.layout.socket_directory,
        data_directory=str(server.data),
        service="none",
        witness=False,
        fence=True,
        vote_seconds=1,
    )


@contextlib.contextmanager
def postgres():
    """Be the user as which the guard runs."""
    with db.effective_user("postgres"):
        yield


class TestNobodyElsesFunctionRunsInASessionOf:
    def test_the_minion(self, trapped):
        with trapped.connect("repmgr") as connection:
            assert db.row(connection, "SELECT pg_is_in_recovery() AS it") == {"it": False}

    def test_the_guard(self, trapped):
        assert answer_of(trapped).in_recovery is False

    def test_a_takeover(self, trapped):
        with postgres():
            rows = takeover._rows(  # pylint: disable=protected-access
                told(trapped).own_conninfo, "SELECT pg_is_in_recovery() AS it"
            )
        assert rows == [{"it": False}]

    def test_the_guards_housekeeping(self, trapped, capsys):
        with postgres():
            daemon._tidy(  # pylint: disable=protected-access
                told(trapped).own_conninfo, {99}, set(), False
            )
        assert "node 99 is inactive" in capsys.readouterr().out
        assert trapped.sql("SELECT active FROM repmgr.nodes", "repmgr") == "f"

    def test_a_vote(self, trapped):
        with postgres():
            verdict = vote.judge(told(trapped))
        assert "does not say which node it watches" in verdict.reason

    def test_the_timer_that_deletes_old_history(self, trapped, minion_of):
        spec, _, _ = wanted.subject(minion_of(trapped).pillar, trapped.name)
        units = wanted.purge_units(spec, trapped.layout)
        text = next(t for path, t in units.items() if path.endswith(".service"))
        lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        environment = lines["Environment"].strip('"')
        command = lines["ExecStart"].split(' -c "')
        statement = command[1].rstrip('"')
        as_postgres(
            "env", environment, *command[0].split(), "-v", "ON_ERROR_STOP=1", "-c", statement
        )


def test_the_records_do_not_say_as_whom_a_guard_logs_in(server):
    conninfo = (
        f"host=127.0.0.1 port={server.port} user={OTHER[0]} dbname=app password=x"
        " options='-c search_path=evil'"
    )
    peer = config.Peer(9, "node9", "standby", 1, True, conninfo)
    asking = probe.Probe(peer, 0.01)
    assert wait_until(lambda: probe.step_all([asking]) and asking.error, 20)
    assert 'password authentication failed for user "repmgr"' in asking.error
    asking.close()


# -- any login role ---------------------------------------------------------------------------


def test_nobody_else_gets_into_repmgrs_database(server):
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        with session(server, *OTHER, "repmgr"):
            pass


NAMES = (sessions.VOTE, f"{sessions.WITHOUT}1", f"{sessions.RECORDED}1", f"{sessions.START}1")


def answer_of(server, question=probe.GUARD):
    asking = probe.Probe(
        config.Peer(server.number, server.name, "", -1, True, told(server).own_conninfo),
        0.01,
        own=True,
        question=question,
    )
    with postgres():
        assert wait_until(lambda: probe.step_all([asking]) and asking.answer, 20), asking.error
    asking.close()
    return asking.answer


def said(answer):
    return (answer.voting, list(answer.without), list(answer.starting))


@pytest.mark.parametrize("name", NAMES)
def test_what_another_role_calls_its_session_is_no_word(server, name):
    with session(server, *OTHER, "app", application_name=name):
        assert said(answer_of(server)) == (False, [], [])
        with postgres():
            (state,) = takeover._rows(  # pylint: disable=protected-access
                told(server).own_conninfo, takeover._STATE  # pylint: disable=protected-access
            )
        assert state["voting"] is False
        with server.connect("repmgr") as connection:
            names = {"claim": f"{sessions.WITHOUT}1", "recorded": f"{sessions.RECORDED}1"}
            query = succession_act._STATE  # pylint: disable=protected-access
            found = db.row(connection, query, {"id": 1, **names})
        assert (found["voting"], found["claim"], found["recorded"]) == (False, None, False)


def test_what_a_superuser_calls_its_session_is_one(server):
    with server.connect("repmgr") as connection:
        db.run(connection, f"SET application_name = '{sessions.VOTE}'")
        assert answer_of(server).voting is True


def test_another_role_does_not_make_ready_for_a_new_password(server, minion_of):
    _, node, _ = wanted.subject(minion_of(server).pillar, server.name)
    name = rotate._session(node)  # pylint: disable=protected-access
    armed = rotate._armed  # pylint: disable=protected-access
    with server.connect("repmgr") as connection:
        with session(server, *OTHER, "app", application_name=name):
            assert armed(connection, [node]) == []
        with session(server, "repmgr", PASSWORD, "repmgr", application_name=name):
            assert armed(connection, [node]) == [node]


LOCKS = (
    (locks.CLASS, locks.BEGUN),
    (locks.CLASS, locks.READY),
    (locks.CLASS, locks.PLANNED),
    (locks.CLASS, locks.ROTATED),
    (locks.TURN_CLASS, 1),
)


def held(server, lock_class):
    with server.connect("repmgr") as connection:
        return db.rows(connection, locks.HELD, {"class": lock_class})


def take(connection, lock):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", lock)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(
    ("user", "password", "dbname"),
    [(*OTHER, "app"), (*OTHER, "postgres"), ("repmgr", PASSWORD, "repmgr")],
)
def test_a_lock_of_another_role_is_no_word(server, lock, user, password, dbname):
    with session(server, user, password, dbname) as connection:
        assert take(connection, lock)
        assert held(server, lock[0]) == []


@pytest.mark.parametrize("dbname", ["app", "postgres"])
def test_a_lock_elsewhere_keeps_nobody_from_a_switchover(server, dbname):
    with session(server, *OTHER, dbname) as connection:
        assert all(take(connection, lock) for lock in LOCKS)
        with server.connect("repmgr") as ours:
            assert all(take(ours, lock) for lock in LOCKS)
            assert [row["lock"] for row in held(server, locks.TURN_CLASS)] == [1]


def test_the_details_of_events_are_read_by_a_superuser_that_is_not_led_astray(trapped, minion_of):
    spec, node, _ = wanted.subject(minion_of(trapped).pillar, trapped.name)
    assert deliver.with_details(spec, node, trapped.layout, []) == []
