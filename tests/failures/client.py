"""A client that never gives up: ``python -m tests.failures.client``, started by :mod:`.running`.

The counting writer commits a row every 20 ms to whichever node takes it. The watcher tries to
write on every node ten times a second and gets there by the server's own socket, so that it sees
a server that nobody else sees any more. There is one connection of each to every node, and none
waits for another: a node that is gone costs the others nothing.

It reads its orders, one line of JSON, from its standard input, writes a line for every
acknowledged write, and ends when its input ends.
"""

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import errors

from tests.lab import HostDown
from tests.lab import Lab

from .records import ROW
from .records import WATCH
from .records import Ack

_ROW_SECONDS = 0.02
_WATCH_SECONDS = 0.1

# A node that fell silent is given up after some seconds, and tried again and again.
_PATIENCE = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}

_IS_STANDBY = "SELECT pg_is_in_recovery()"
_ReadOnly = errors.lookup("25006")
_ABOUT = """
    RETURNING pg_postmaster_start_time()::text,
              ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int,
              current_setting('synchronous_standby_names') <> ''
"""
_WRITE = {
    ROW: f"INSERT INTO rows (number, node) VALUES (%s, %s) {_ABOUT}",
    WATCH: f"INSERT INTO watched (number, node) VALUES (%s, %s) {_ABOUT}",
}


class _Output:
    """Lines, never two at once, each complete before the next thing happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def put(self, ack: Ack) -> None:
        """Write it down."""
        with self._lock:
            sys.stdout.write(ack.line())
            sys.stdout.flush()


class _Attempts(threading.Thread):
    """Writes to one node, as often as it can up to once in ``period`` seconds."""

    def __init__(
        self,
        kind: str,
        node: str,
        period: float,
        connect: Callable[[], Any],
        numbers: Iterator[int],
        output: _Output,
    ) -> None:
        super().__init__(daemon=True)
        self._kind = kind
        self._node = node
        self._period = period
        self._connect = connect
        self._numbers = numbers
        self._output = output
        self._due = time.monotonic()

    def run(self) -> None:
        said = ""
        while True:
            try:
                with closing(self._connect()) as connection:
                    self._use(connection)
            except (psycopg2.Error, HostDown) as err:
                if str(err) != said:
                    said = str(err)
                    print(
                        f"{time.monotonic():.2f} {self._kind} {self._node}: {said}", file=sys.stderr
                    )
            self._wait()

    def _wait(self) -> None:
        now = time.monotonic()
        # What was missed is not made up for.
        self._due = max(self._due + self._period, now)
        time.sleep(self._due - now)

    def _use(self, connection: Any) -> None:
        connection.autocommit = True
        cursor = connection.cursor()
        if self._kind == WATCH:
            # It asks whether the server writes, and not whether others get to know of it.
            cursor.execute("SET synchronous_commit = local")
        standby = True
        while True:
            self._wait()
            if standby:
                # A write refused would be a line in the server's log, fifty times a second.
                cursor.execute(_IS_STANDBY)
                (standby,) = cursor.fetchone()
            if not standby:
                standby = not self._write(cursor)

    def _write(self, cursor: Any) -> bool:
        number, sent = next(self._numbers), time.monotonic()
        try:
            cursor.execute(_WRITE[self._kind], (number, self._node))
        except _ReadOnly:
            return False
        acked = time.monotonic()
        server, timeline, waits = cursor.fetchone()
        waits = waits and self._kind == ROW
        self._output.put(Ack(self._kind, number, self._node, server, timeline, waits, sent, acked))
        return True


def _end(failure: threading.ExceptHookArgs) -> None:
    # One that no longer looks must not pass for one that sees nothing.
    sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)
    os._exit(1)


def main() -> None:
    """Write until the input ends."""
    threading.excepthook = _end
    orders = json.loads(sys.stdin.readline())
    lab = Lab.attach(orders["lab"])
    account = {**orders["account"], **_PATIENCE}
    output, numbers, watched = _Output(), itertools.count(1), itertools.count(1)
    for name in orders["nodes"]:
        host = lab[name]

        def over_network(address: str = host.address) -> Any:
            return psycopg2.connect(host=address, **account)

        def by_socket(host: Any = host) -> Any:
            # Another process each time the host was booted.
            directory = f"/proc/{host.pid}/root/run/postgresql"
            return psycopg2.connect(host=directory, **account)

        _Attempts(ROW, name, _ROW_SECONDS, over_network, numbers, output).start()
        _Attempts(WATCH, name, _WATCH_SECONDS, by_socket, watched, output).start()
    sys.stdin.read()
    # The threads may be waiting for a node that is gone.
    os._exit(0)


if __name__ == "__main__":
    main()
