"""PgBouncer's console, over its socket: the user it runs as needs no password there."""

import contextlib
import select
import socket
import time

import psycopg2
from psycopg2 import extensions

_PATIENCE = 2.0
# PAUSE answers when the last transaction has ended; what it asks for is done at once.
_PAUSE_PATIENCE = 0.1


class Console:
    """A connection that is made when it is needed.

    socket_directory, port
        PgBouncer's.
    becoming
        Function that returns a context manager in which this process is the user that PgBouncer
        runs as; the daemon is.
    """

    def __init__(self, socket_directory, port, becoming=contextlib.nullcontext):
        self._place = {"host": socket_directory, "port": port}
        self._becoming = becoming
        self._connection = None
        self._holding = []

    def ask(self, command):
        """Run a command and return its rows as dictionaries.

        Raises ``psycopg2.Error``; the next call connects anew.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            return _ask(self._connection, command, _PATIENCE)
        except psycopg2.Error:
            self.close()
            raise

    def pause(self, names):
        """Let no transaction begin on these databases, and have their servers let go of."""
        self._let_go()
        try:
            for name in names:
                connection = self._connect()
                # It would be taken back when nobody waits for it any more.
                self._holding.append(connection)
                with contextlib.suppress(_Slow):
                    _ask(connection, f'PAUSE "{name}"', _PAUSE_PATIENCE)
        except psycopg2.Error:
            self._let_go()
            raise

    @property
    def holds(self):
        """Whether :meth:`pause` reached PgBouncer, and nothing ended it."""
        return bool(self._holding)

    def paused(self):
        """Whether what :meth:`pause` asked for is done: no client is being served any more."""
        return bool(self._holding) and all(
            connection.poll() == extensions.POLL_OK for connection in self._holding
        )

    def is_gone(self):
        """Whether no PgBouncer is there, and so no client of one."""
        path = f"{self._place['host']}/.s.PGSQL.{self._place['port']}"
        with socket.socket(socket.AF_UNIX) as one:
            one.setblocking(False)
            try:
                one.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return True
            except OSError:
                pass
        return False

    def resume(self, names):
        """Let transactions begin again on these databases, whether they were held back or not."""
        for name in names:
            try:
                self.ask(f'RESUME "{name}"')
            except psycopg2.Error as err:
                if "not paused" not in str(err):
                    raise
        self._let_go()

    def _let_go(self):
        for connection in self._holding:
            connection.close()
        self._holding = []

    def close(self):
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self):
        with self._becoming():
            connection = psycopg2.connect(
                **self._place,
                user="pgbouncer",
                dbname="pgbouncer",
                application_name="repmgr-router",
                async_=1,
            )
        try:
            _wait(connection, _PATIENCE)
        except psycopg2.Error:
            connection.close()
            raise
        return connection


class _Slow(psycopg2.OperationalError):
    """There is no answer yet."""


def _ask(connection, command, seconds):
    with connection.cursor() as cursor:
        cursor.execute(command)
        _wait(connection, seconds)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def _wait(connection, seconds):
    """Wait for what goes on on an asynchronous connection: PgBouncer may hang, too."""
    deadline = time.monotonic() + seconds
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        read, write = state == extensions.POLL_READ, state == extensions.POLL_WRITE
        left = max(0, deadline - time.monotonic())
        ready = select.select([connection] * read, [connection] * write, [], left)
        if not any(ready):
            raise _Slow(f"PgBouncer does not answer within {seconds} s")
