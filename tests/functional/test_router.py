"""The router, PgBouncer and PostgreSQL as they are, on this machine: who is led where, and when.

The tests of this file are one story and run in its order.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from saltext_repmgr.guard import locks
from saltext_repmgr.guard import sessions
from saltext_repmgr.router import rules
from saltext_repmgr.utils import router_access
from saltext_repmgr.utils import router_act
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.spec import ROUTER_ROLE
from tests.functional.support.pgbouncer import ADDRESSES
from tests.functional.support.pgbouncer import CLIENT
from tests.functional.support.pgbouncer import PASSWORD
from tests.functional.support.pgbouncer import Stage
from tests.functional.support.pgbouncer import until

WRITE = "INSERT INTO t VALUES (1) RETURNING host(inet_server_addr())"
WHERE = "SELECT host(inet_server_addr())"
LOCK = f"SELECT pg_advisory_lock({locks.CLASS}, {locks.PLANNED})"
# What the switchover waits for.
TOLD = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{sessions.ROUTER_PAUSED}'"
# Before pg_temp was named as the last place to look, a function of a superuser found there what its
# caller had put there.
TAKE_OVER = """
CREATE FUNCTION pg_temp.take_over() RETURNS name LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'ALTER ROLE pgbouncer SUPERUSER';
  RETURN 'x';
END $$;
CREATE TEMP VIEW pg_authid AS
  SELECT pg_temp.take_over() AS rolname, 'x' AS rolpassword, true AS rolcanlogin,
         false AS rolsuper, false AS rolreplication, null::timestamptz AS rolvaliduntil;
GRANT SELECT ON pg_authid TO PUBLIC;
"""
# As releases before this one made it.
FORMER = """
CREATE SCHEMA pgbouncer;
CREATE FUNCTION pgbouncer.get_auth(role text) RETURNS TABLE (usename text, passwd text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS
'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin\
 AND NOT rolsuper AND NOT rolreplication\
 AND (rolvaliduntil IS NULL OR rolvaliduntil > now())';
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
"""
# As other tools make it.
OTHERS = """
CREATE SCHEMA pgbouncer;
CREATE FUNCTION pgbouncer.get_auth(p_usename text) RETURNS TABLE (username text, password text)
LANGUAGE sql SECURITY DEFINER AS
'SELECT usename::text, passwd::text FROM pg_catalog.pg_shadow WHERE usename = p_usename';
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
"""
IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = 'pgbouncer'"


@pytest.fixture(scope="module")
def stage(servers, version):  # pylint: disable=unused-argument
    made = Stage(version)
    try:
        first, second = made.servers
        first.begin()
        first.sql(f"CREATE ROLE {CLIENT[0]} LOGIN PASSWORD $${CLIENT[1]}$$")
        first.sql("CREATE ROLE admin LOGIN SUPERUSER PASSWORD 'a superuser'")
        first.sql("CREATE ROLE repmgr LOGIN REPLICATION PASSWORD 'replicates'")
        first.sql(f"CREATE DATABASE app OWNER {CLIENT[0]}")
        first.sql("CREATE DATABASE repmgr")
        first.sql(f"CREATE TABLE t (a int); ALTER TABLE t OWNER TO {CLIENT[0]}", "app")
        second.begin(first)
        yield made
    finally:
        made.down()


class TestAccess:
    def test_what_is_missing_is_made(self, stage):
        connect = stage.servers[0].connect
        assert router_access.absent(connect, ("app", "other")) == ["other"]
        missing = ["role", "password", "function in app"]
        assert router_access.missing(connect, ["app"]) == missing
        router_access.create(connect, PASSWORD, ["app"])
        assert router_access.missing(connect, ["app"]) == []

    @pytest.mark.parametrize(
        ("damage", "missing"),
        [
            ("ALTER ROLE pgbouncer NOLOGIN", ["role"]),
            ("ALTER ROLE pgbouncer SUPERUSER CREATEDB", ["role without SUPERUSER, CREATEDB"]),
            ("ALTER ROLE pgbouncer REPLICATION", ["role without REPLICATION"]),
            ("GRANT postgres TO pgbouncer", ["role without membership in postgres"]),
            ("ALTER ROLE pgbouncer PASSWORD NULL", ["password"]),
            ("DROP FUNCTION repmgr_pgbouncer.get_auth", ["function in app"]),
            ("DROP SCHEMA repmgr_pgbouncer CASCADE", ["function in app"]),
            ("GRANT EXECUTE ON FUNCTION repmgr_pgbouncer.get_auth TO public", ["function in app"]),
            (f"ALTER FUNCTION repmgr_pgbouncer.get_auth OWNER TO {CLIENT[0]}", ["function in app"]),
            ("ALTER FUNCTION repmgr_pgbouncer.get_auth SECURITY INVOKER", ["function in app"]),
            ("ALTER FUNCTION repmgr_pgbouncer.get_auth RESET search_path", ["function in app"]),
            (
                "ALTER FUNCTION repmgr_pgbouncer.get_auth SET search_path = pg_catalog",
                ["function in app"],
            ),
            (f"ALTER SCHEMA repmgr_pgbouncer OWNER TO {CLIENT[0]}", ["function in app"]),
            ("REVOKE USAGE ON SCHEMA repmgr_pgbouncer FROM pgbouncer", ["function in app"]),
        ],
    )
    def test_what_somebody_changed_is_mended(self, stage, damage, missing):
        server = stage.servers[0]
        server.sql(damage, "app")
        assert router_access.missing(server.connect, ["app"]) == missing
        router_access.create(server.connect, PASSWORD, ["app"])
        assert router_access.missing(server.connect, ["app"]) == []

    def test_a_second_time_changes_nothing(self, stage):
        server = stage.servers[0]
        query = "SELECT oid, xmin FROM pg_proc WHERE proname = 'get_auth'"
        before = server.sql(query, "app")
        router_access.create(server.connect, PASSWORD, ["app"])
        assert server.sql(query, "app") == before

    def test_the_function_tells_of_clients_and_of_nobody_else(self, stage):
        query = "SELECT usename FROM pg_roles r, repmgr_pgbouncer.get_auth(r.rolname) ORDER BY 1"
        assert stage.servers[0].sql(query, "app").split() == [CLIENT[0], "pgbouncer"]

    def test_it_is_nobody_elses(self, stage):
        query = f"SET ROLE {CLIENT[0]}; SELECT repmgr_pgbouncer.get_auth('{CLIENT[0]}')"
        with pytest.raises(AssertionError, match="permission denied"):
            stage.servers[0].sql(query, "app")


def take_over(stage, function):
    """Have the role of PgBouncer try to become a superuser by way of a function."""
    server = stage.servers[0]
    place = {"host": server.address, "port": server.port, "dbname": "app"}
    with contextlib.closing(
        psycopg2.connect(**place, user="pgbouncer", password=PASSWORD)
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(TAKE_OVER)
            cursor.execute(f"SELECT * FROM {function}('x')")
            return cursor.fetchall()


class TestRights:
    def test_its_role_does_not_become_a_superuser(self, stage):
        take_over(stage, "repmgr_pgbouncer.get_auth")
        assert stage.servers[0].sql(IS_SUPERUSER) == "f"

    def test_not_by_the_function_of_a_former_release_either(self, stage):
        server = stage.servers[0]
        server.sql(FORMER, "app")
        try:
            take_over(stage, "pgbouncer.get_auth")
            assert server.sql(IS_SUPERUSER) == "t"
            missing = ["role without SUPERUSER", "former function in app made safe"]
            assert router_access.missing(server.connect, ["app"]) == missing
            router_access.create(server.connect, PASSWORD, ["app"])
            assert router_access.missing(server.connect, ["app"]) == []
            take_over(stage, "pgbouncer.get_auth")
            assert server.sql(IS_SUPERUSER) == "f"
            # A PgBouncer with the files of before goes on to log its clients in by it.
            names = f"SELECT usename FROM pgbouncer.get_auth('{CLIENT[0]}')"
            assert server.sql(names, "app") == CLIENT[0]
        finally:
            server.sql("DROP SCHEMA pgbouncer CASCADE", "app")

    def test_what_another_tool_made_stays_as_it_is(self, stage):
        server = stage.servers[0]
        server.sql(OTHERS, "app")
        try:
            row = (
                "SELECT p.oid, p.xmin, p.prosrc, p.proacl, n.nspacl, n.nspowner FROM pg_proc p"
                " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pgbouncer'"
            )
            before = server.sql(row, "app")
            assert router_access.missing(server.connect, ["app"]) == []
            router_access.create(server.connect, PASSWORD, ["app"])
            assert before and server.sql(row, "app") == before
        finally:
            server.sql("DROP SCHEMA pgbouncer CASCADE", "app")

    def test_the_password_of_a_role_that_was_there_stays(self, stage):
        server = stage.servers[0]
        stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'pgbouncer'"
        before = server.sql(stored)
        router_access.create(server.connect, "another", ["app"])
        assert server.sql(stored) == before

    @pytest.fixture
    def former_file(self, stage, tmp_path, monkeypatch):
        """A PgBouncer host that still has the query of a former release."""
        path = tmp_path / "pgbouncer.ini"
        monkeypatch.setattr(router_files, "INI", str(path))
        text = router_files.ini(stage.spec, auth_query=router_access.FORMER_QUERY)
        path.write_text(text, encoding="utf-8")
        nodes = {
            name: dataclasses.replace(node, host=address)
            for (name, node), address in zip(stage.spec.nodes.items(), ADDRESSES)
        }
        return dataclasses.replace(stage.spec, nodes=nodes)

    def test_a_pgbouncer_asks_the_function_that_its_servers_have(self, stage, former_file):
        server = stage.servers[0]
        assert router_act.auth_query(former_file) == router_access.AUTH_QUERY
        server.sql("DROP SCHEMA repmgr_pgbouncer CASCADE", "app")
        stage.await_replay()
        assert router_act.auth_query(former_file) == router_access.FORMER_QUERY
        assert router_act.auth_query(former_file, test=True) == router_access.AUTH_QUERY
        router_access.create(server.connect, PASSWORD, ["app"])
        stage.await_replay()
        assert router_act.auth_query(former_file) == router_access.AUTH_QUERY


@pytest.fixture(scope="module")
def routed(stage):
    stage.start_pgbouncer()
    stage.start_daemon()
    until(lambda: len(stage.console("SHOW DATABASES")) == 3, "the databases")
    return stage


class TestUse:
    def test_clients_write_on_the_primary(self, routed):
        assert routed.ask(WRITE) == routed.servers[0].address

    def test_clients_read_on_a_standby(self, routed):
        until(lambda: routed.ask(WHERE, "app_ro") == routed.servers[1].address, "the standby")
        assert routed.ask("SELECT pg_is_in_recovery()", "app_ro") is True

    @pytest.mark.parametrize(
        ("user", "password"),
        [
            (CLIENT[0], "a wrong one"),
            ("admin", "a superuser"),
            ("repmgr", "replicates"),
            ("nobody", "at all"),
        ],
    )
    def test_who_is_not_let_in(self, routed, user, password):
        with pytest.raises(psycopg2.OperationalError, match="FATAL|failed"):
            routed.ask(WHERE, user=user, password=password)

    def test_a_client_may_name_options(self, routed):
        # PgBouncer 1.20 to 1.26.0 that does not ignore them can be stopped by anybody.
        place = {"host": "127.0.0.1", "port": routed.port, "dbname": "app"}
        account = {"user": CLIENT[0], "password": CLIENT[1]}
        options = {"options": "-c statement_timeout=77s"}
        with contextlib.closing(psycopg2.connect(**place, **account, **options)) as client:
            with client.cursor() as cursor:
                cursor.execute("SHOW statement_timeout")
                assert cursor.fetchone() == ("0",)

    def test_its_own_role_can_look(self, routed):
        query = "SELECT to_regprocedure('repmgr_pgbouncer.get_auth(text)') IS NOT NULL"
        assert routed.ask(query, user="pgbouncer", password=PASSWORD) is True

    def test_the_daemon_tells_itself_apart(self, routed):
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'repmgr-router'"
        until(lambda: routed.servers[0].sql(query) == "1", "one session, and no former one")

    def test_a_file_that_somebody_changed_is_put_right(self, routed):
        routed.write("DATABASES", "[databases]\napp = host=127.0.0.9\n")
        right = until(lambda: "127.0.0.9" not in routed.path("DATABASES").read_text(), "the file")
        assert right and routed.ask(WRITE) == routed.servers[0].address

    def test_a_pgbouncer_that_was_restarted(self, routed):
        routed.end(routed.pgbouncer)
        until(lambda: routed.state()["error"], "the daemon says that it is gone")
        routed.start_pgbouncer()
        until(lambda: not routed.state()["error"], "the daemon says that it is back")
        assert routed.ask(WRITE) == routed.servers[0].address


@pytest.fixture
def none_left():
    """No PgBouncer runs that did not before."""

    def running():
        here = ["--ns", str(os.getpid()), "--nslist", "pid"]
        found = subprocess.run(
            ["pgrep", "-x", "pgbouncer", *here], capture_output=True, check=False
        )
        return found.stdout.split()

    before = running()
    yield
    assert running() == before


@pytest.mark.usefixtures("none_left")
class TestTrial:
    def test_what_pgbouncer_takes(self, stage):
        router_act.try_out(stage.ini())

    @pytest.mark.parametrize("line", ["pool_mode = sometimes", "no_such_setting = 1"])
    def test_what_pgbouncer_does_not_take(self, stage, line):
        with pytest.raises(Refused, match=line.partition(" ")[0]):
            router_act.try_out(f"{stage.ini()}{line}\n")


class Writer(threading.Thread):
    """Writes again and again, as the role of a client; ``done`` are moments and addresses."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self._stage = stage
        self._on = True
        self.done, self.errors = [], []

    def run(self):
        while self._on:
            with contextlib.suppress(psycopg2.Error):
                with contextlib.closing(self._stage.client()) as connection:
                    self._use(connection.cursor())

    def _use(self, cursor):
        while self._on:
            try:
                cursor.execute(WRITE)
            except psycopg2.Error as err:
                self.errors.append(err)
                raise
            self.done.append((time.monotonic(), cursor.fetchone()[0]))
            time.sleep(0.01)

    def stop(self):
        self._on = False
        self.join(10)

    def gap(self):
        """The longest time between two writes, in seconds."""
        moments = [at for at, _ in self.done]
        return max(after - before for before, after in zip(moments, moments[1:]))


@pytest.fixture
def writer(routed):
    made = Writer(routed)
    made.start()
    until(lambda: made.done, "the first write")
    yield made
    made.stop()


class TestPlanned:
    def test_clients_wait_while_the_flag_is_up(self, routed, writer):
        server = routed.servers[0]
        others = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'client'"
        with server.connect("repmgr") as connection:
            with connection.cursor() as cursor:
                cursor.execute(LOCK)
                began = time.monotonic()
                until(lambda: routed.state()["paused"], "the pause")
                until(lambda: server.sql(TOLD) == "1", "the word that all wait")
                until(lambda: server.sql(others) == "0", "the end of their sessions")
                print(f"paused after {time.monotonic() - began:.2f} s")
                count = len(writer.done)
                time.sleep(1)
                assert len(writer.done) == count
                assert routed.ask(WHERE, "app_ro") == routed.servers[1].address
        until(lambda: len(writer.done) > count, "writes go on")
        until(lambda: server.sql(TOLD) == "0", "the end of that word")
        assert writer.errors == []

    def test_a_transaction_is_waited_for(self, routed):
        server = routed.servers[0]
        with contextlib.closing(routed.client()) as client, client.cursor() as cursor:
            cursor.execute("BEGIN; INSERT INTO t VALUES (2)")
            with server.connect("repmgr") as connection, connection.cursor() as flag:
                flag.execute(LOCK)
                until(lambda: routed.state()["paused"], "the pause")
                time.sleep(0.5)
                assert server.sql(TOLD) == "0"
                cursor.execute("COMMIT")
                until(lambda: server.sql(TOLD) == "1", "the word that all wait")
            until(lambda: not routed.state()["paused"], "the end of the pause")
            cursor.execute("SELECT count(*) FROM t WHERE a = 2")
            assert cursor.fetchone() == (1,)

    def test_clients_do_not_wait_for_ever(self, routed, writer):
        server = routed.servers[0]
        with server.connect("repmgr") as connection, connection.cursor() as cursor:
            cursor.execute(LOCK)
            until(lambda: routed.state()["paused"], "the pause")
            until(lambda: not routed.state()["paused"], "its end", rules.HOLD_SECONDS + 2)
            count = len(writer.done)
            until(lambda: len(writer.done) > count, "writes go on")
        assert writer.gap() > rules.HOLD_SECONDS - 1
        assert writer.errors == []

    def test_everybodys_lock_is_none(self, routed):
        with contextlib.closing(routed.client()) as client, client.cursor() as cursor:
            cursor.execute(f"BEGIN; {LOCK}")
            time.sleep(1)
            assert routed.state()["paused"] is False

    def test_a_lock_of_anybody_keeps_no_router_from_its_word(self, routed):
        server = routed.servers[0]
        place = {"host": server.address, "port": server.port, "dbname": "postgres"}
        account = {"user": CLIENT[0], "password": CLIENT[1]}
        with contextlib.closing(psycopg2.connect(**place, **account)) as other:
            for number in range(1, 8):
                other.cursor().execute(f"SELECT pg_advisory_lock({locks.CLASS}, {number})")
            with server.connect("repmgr") as connection, connection.cursor() as cursor:
                cursor.execute(LOCK)
                until(lambda: server.sql(TOLD) == "1", "the word that all wait")
        until(lambda: not routed.state()["paused"], "the end of the pause")

    def test_what_anybody_calls_a_session_is_no_router(self, routed):
        server = routed.servers[0]
        with contextlib.closing(routed.client()) as client, client.cursor() as cursor:
            cursor.execute(f"BEGIN; SET application_name = '{sessions.ROUTER}'")
            with server.connect("repmgr") as connection:
                until(
                    lambda: turn.sessions(connection, sessions.ROUTER, ROUTER_ROLE) == 1,
                    "the router's own session, and no other",
                )

    def test_a_daemon_that_died_leaves_nobody_waiting(self, routed, writer):
        server = routed.servers[0]
        with server.connect("repmgr") as connection, connection.cursor() as cursor:
            cursor.execute(LOCK)
            until(lambda: server.sql(TOLD) == "1", "the word that all wait")
            routed.daemon.kill()
            routed.daemon.wait()
        count = len(writer.done)
        time.sleep(0.5)
        assert len(writer.done) == count
        routed.start_daemon()
        until(lambda: len(writer.done) > count, "writes go on")

    def test_a_pgbouncer_that_is_gone_is_not_waited_for(self, routed):
        server = routed.servers[0]
        routed.end(routed.pgbouncer)
        with server.connect("repmgr") as connection, connection.cursor() as cursor:
            cursor.execute(LOCK)
            until(lambda: server.sql(TOLD) == "1", "the word that nobody is served")
        routed.start_pgbouncer()
        until(lambda: not routed.state()["paused"], "the end of the pause")
        assert routed.ask(WHERE) == server.address

    def test_a_pgbouncer_that_dies_is_not_waited_for_any_more(self, routed):
        server = routed.servers[0]
        with contextlib.closing(routed.client()) as client, client.cursor() as of_client:
            of_client.execute("BEGIN; INSERT INTO t VALUES (3)")
            with server.connect("repmgr") as connection, connection.cursor() as cursor:
                cursor.execute(LOCK)
                until(lambda: routed.state()["paused"], "the pause")
                time.sleep(0.5)
                assert server.sql(TOLD) == "0"
                routed.end(routed.pgbouncer)
                until(lambda: server.sql(TOLD) == "1", "the word that nobody is served")
        routed.start_pgbouncer()
        until(lambda: not routed.state()["paused"], "the end of the pause")
        assert routed.ask(WHERE) == server.address

    def test_clients_of_session_pools_are_not_waited_for(self, routed):
        server, spec = routed.servers[0], routed.spec
        settings = {**spec.pgbouncer.settings, "pool_mode": "session"}
        pools = dataclasses.replace(spec.pgbouncer, settings=settings)
        routed.restart(dataclasses.replace(spec, pgbouncer=pools))
        try:
            with contextlib.closing(routed.client()) as client, client.cursor() as of_client:
                of_client.execute("SET search_path = public")
                with server.connect("repmgr") as connection, connection.cursor() as cursor:
                    cursor.execute(LOCK)
                    until(lambda: server.sql(TOLD) == "1", "the word that it may go on")
                    of_client.execute(WRITE)
                until(lambda: not routed.state()["paused"], "the end of it")
        finally:
            routed.restart(spec)


class TestTls:
    def test_to_the_clients_and_to_the_servers(self, routed):
        spec, server = routed.spec, routed.servers[0]
        key, certificate = routed.certificate()
        server.sql(f"ALTER SYSTEM SET ssl_key_file = '{key}'")
        server.sql(f"ALTER SYSTEM SET ssl_cert_file = '{certificate}'")
        server.sql("ALTER SYSTEM SET ssl = on")
        server.sql("SELECT pg_reload_conf()")
        settings = {
            **spec.pgbouncer.settings,
            "client_tls_sslmode": "require",
            "client_tls_key_file": str(key),
            "client_tls_cert_file": str(certificate),
            "server_tls_sslmode": "require",
        }
        tls = dataclasses.replace(spec.pgbouncer, settings=settings)
        routed.restart(dataclasses.replace(spec, pgbouncer=tls))
        try:
            with contextlib.closing(routed.client()) as client, client.cursor() as cursor:
                assert client.info.ssl_in_use
                cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                assert cursor.fetchone() == (True,)
            with pytest.raises(psycopg2.OperationalError, match="TLS required|SSL required"):
                routed.client(sslmode="disable")
        finally:
            routed.restart(spec)


class TestFailover:
    def test_a_primary_that_stands_still(self, routed, writer):
        """Clients in the middle of something are let go when there is another primary."""
        first, second = routed.servers
        first.signal(signal.SIGSTOP)
        time.sleep(2)
        promoted = time.monotonic()
        second.sql("SELECT pg_promote()")
        until(lambda: writer.done[-1][1] == second.address, "writes on the new primary")
        after = next(at for at, where in writer.done if where == second.address)
        print(f"writes {after - promoted:.2f} s after the promotion, gap {writer.gap():.2f} s")
        assert routed.state()["points_to"] == "node2"
        # There is no standby any more.
        until(lambda: routed.ask(WHERE, "app_ro") == second.address, "reads on the primary")

    def test_the_old_one_comes_back_as_a_second_primary(self, routed, writer):
        first, second = routed.servers
        first.signal(signal.SIGCONT)
        time.sleep(2)
        assert {where for _, where in writer.done} == {second.address}
        assert routed.state()["points_to"] == "node2"

    def test_the_old_one_is_all_there_is(self, routed):
        """It is not gone back to, but after a long time."""
        routed.servers[1].stop()
        time.sleep(3)
        assert routed.state()["points_to"] == "node2"
        assert "127.0.0.2" not in routed.path("DATABASES").read_text()
