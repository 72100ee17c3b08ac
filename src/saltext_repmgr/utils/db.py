"""Connections to PostgreSQL servers.

psycopg2 is imported when a connection is asked for and not before: a minion that never
uses the extension must not pay for it.
"""

import contextlib
import os
import pwd
import re
import socket
import threading

from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import QueryFailed
from saltext_repmgr.utils.facts import Reach

# libpq takes 1 for 2; below 2 there is nothing to gain.
CONNECT_TIMEOUT = 2
STATEMENT_TIMEOUT = 10
# One that has not even said so by then does not answer any more.
_HANGS = 5

# What a server shows of who is asking.
NAME = "saltext-repmgr"

# A server ends the session of a host that lost power, which counts as there until then: by itself it
# does so after hours. https://www.postgresql.org/docs/current/runtime-config-connection.html
KEEPALIVES = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"

# What is written here must not wait for a standby that is not there yet.
_OPTIONS = (
    f"-c statement_timeout={STATEMENT_TIMEOUT}s -c search_path= -c synchronous_commit=local"
    f" {KEEPALIVES}"
)

_SAID_BY_SERVER = re.compile(r"FATAL:|failed: [^\s:]+: ")
_euid_lock = threading.Lock()


@contextlib.contextmanager
def effective_user(name):
    """Become ``name`` while a socket is connected.

    The server asks the kernel who connected (SO_PEERCRED), and the kernel answers with
    the effective user of that moment. Only the connect itself runs like this.

    It is the user of the whole process, of its other threads too: whoever asks who it is without
    the lock may see what another thread is for a moment.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise NotInstalledError(f"this host has no user {name}: install postgresql") from None
    with _euid_lock:
        uid, gid = os.geteuid(), os.getegid()
        if uid == user.pw_uid:
            yield
            return
        os.setegid(user.pw_gid)
        try:
            os.seteuid(user.pw_uid)
            try:
                yield
            finally:
                os.seteuid(uid)
        finally:
            os.setegid(gid)


@contextlib.contextmanager
def connect(
    host,
    port,
    user,
    dbname,
    password=None,
    os_user=None,
    timeout=CONNECT_TIMEOUT,
    name=NAME,
):
    """Yield an autocommit connection.

    host
        Address or name, or the directory of a Unix socket.
    password
        Clear text, or None where the server asks for none. It is handed to libpq as a
        parameter of its own and never becomes part of a string.
    os_user
        Operating system user to connect as, for peer authentication.
    timeout
        Seconds for the connection attempt.
    name
        What the server shows as ``application_name``.

    Raises :class:`~saltext_repmgr.utils.errors.ConnectionFailed`, whose ``kind`` is a
    :class:`~saltext_repmgr.utils.facts.Reach`.
    """
    import psycopg2  # pylint: disable=import-outside-toplevel

    parameters = {
        "host": host,
        "port": port,
        "user": user,
        "dbname": dbname,
        "connect_timeout": timeout,
        "application_name": name,
        "options": _OPTIONS,
        # Not the one of root's home: what is not given here shall not be found there.
        "passfile": "/dev/null/none",
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * STATEMENT_TIMEOUT,
    }
    if password is not None:
        parameters["password"] = password
    guard = effective_user(os_user) if os_user else contextlib.nullcontext()
    try:
        with guard:
            connection = psycopg2.connect(**parameters)
    except psycopg2.OperationalError as err:
        text = " ".join(str(err).split())
        raise ConnectionFailed(text, kind=classify(text)) from None
    connection.autocommit = True
    try:
        with _translated(connection):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _translated(connection):
    """Raise an error of ours for one of psycopg2: within a block that holds a connection, too."""
    import psycopg2  # pylint: disable=import-outside-toplevel

    try:
        yield
    except psycopg2.Error as err:
        # The classes of psycopg2 do not tell a server that refuses from one that is gone, save
        # the bare DatabaseError: no refusal is one, and the connection may still look open then.
        text = " ".join(str(err).split())
        if connection.closed or err.__class__ is psycopg2.DatabaseError:
            raise ConnectionFailed(text, kind=Reach.UNREACHABLE) from None
        raise QueryFailed(text) from None


def try_replication(host, port, user, passfile):
    """Connect and disconnect as a WAL receiver does.

    passfile
        Path of the file that libpq takes the password from.

    Raises :class:`~saltext_repmgr.utils.errors.ConnectionFailed`.
    """
    import psycopg2  # pylint: disable=import-outside-toplevel
    from psycopg2.extras import PhysicalReplicationConnection

    parameters = {"host": host, "port": port, "user": user, "dbname": "replication"}
    try:
        psycopg2.connect(
            **parameters,
            passfile=passfile,
            connect_timeout=CONNECT_TIMEOUT,
            application_name=NAME,
            connection_factory=PhysicalReplicationConnection,
        ).close()
    except psycopg2.OperationalError as err:
        text = " ".join(str(err).split())
        raise ConnectionFailed(text, kind=classify(text)) from None


def classify(text):
    """Return the :class:`Reach` of a failed connection attempt.

    libpq gives no code for it. What a server said begins with its severity, one word in
    the server's language and a colon; the rest is libpq's own English.
    """
    if _SAID_BY_SERVER.search(text) or "authentication" in text:
        return Reach.REJECTED
    if "Connection refused" in text or "No such file or directory" in text:
        return Reach.REFUSED
    return Reach.UNREACHABLE


@contextlib.contextmanager
def _limited(connection):
    """Give up on a server elsewhere that took a statement and hangs: neither its own timeout nor that
    of TCP ends the wait for it."""
    if connection.info.host.startswith("/"):
        yield
        return
    watchdog = threading.Timer(STATEMENT_TIMEOUT + _HANGS, _hang_up, [connection.fileno()])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _hang_up(number):
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
        found.shutdown(socket.SHUT_RDWR)


def rows(connection, sql, parameters=None):
    """Run a query and return its rows as dictionaries."""
    with _translated(connection), _limited(connection), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def row(connection, sql, parameters=None):
    """Run a query and return its only row as a dictionary."""
    (only,) = rows(connection, sql, parameters)
    return only


def run(connection, sql, parameters=None, patient=False):
    """Run a statement that returns nothing.

    patient
        It may take as long as it likes; the connection's ``statement_timeout`` has to allow that.
    """
    limited = contextlib.nullcontext() if patient else _limited(connection)
    with _translated(connection), limited, connection.cursor() as cursor:
        cursor.execute(sql, parameters)
