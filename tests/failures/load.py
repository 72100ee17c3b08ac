"""pgbench as clients that notice every error: each transaction is a row."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field

from tests.lab import Host
from tests.lab import LabError

from .pillars import DATABASE
from .pillars import ROLE

#: By which clients reach PgBouncer.
PORT = 6432

_DIRECTORY = "/tmp/load"
_SCRIPT = "INSERT INTO load (client) VALUES (:client_id);\n"
_PREPARE = f"""
SET password_encryption = 'scram-sha-256';
SELECT 'CREATE ROLE {ROLE} LOGIN' WHERE NOT EXISTS (
  SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
SELECT 'CREATE DATABASE {DATABASE} OWNER {ROLE}' WHERE NOT EXISTS (
  SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
ALTER ROLE {ROLE} PASSWORD '{{password}}';
\\connect {DATABASE}
DROP TABLE IF EXISTS load;
SET ROLE {ROLE};
CREATE TABLE load (number bigint GENERATED ALWAYS AS IDENTITY, client int NOT NULL);
"""
_DONE = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_END_SECONDS = 30


@dataclass(frozen=True)
class Found:
    """What became of the clients' work.

    done, failed
        Transactions that were confirmed, and clients that met an error, which ends them.
    longest_wait
        The longest time in which no client was confirmed anything, in seconds.
    complaints
        What pgbench says of errors.
    """

    done: int
    failed: int
    longest_wait: float
    complaints: str


@dataclass
class Work:
    """pgbench at work; there is a result when it has ended."""

    found: Found | None = field(default=None)

    def result(self) -> Found:
        """Return what became of it."""
        if self.found is None:
            raise LabError("pgbench has not ended")
        return self.found


class Load:
    """Clients with a password that nobody else knows.

    :param primary: where their table is made, anew.
    """

    def __init__(self, primary: Host) -> None:
        self._primary = primary
        self._password = secrets.token_urlsafe(16)

    def prepare(self) -> None:
        """Make their role, database and table."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
        script = _PREPARE.format(password=self._password)
        self._primary.run(argv, user="postgres", input=script)

    @contextmanager
    def running(
        self, host: Host, clients: int, rate: int | None = None, through: str = "127.0.0.1"
    ) -> Iterator[Work]:
        """Have pgbench at work on a host, for ten minutes at most.

        :param rate: transactions a second of all clients together; as many as they can by default.
        :param through: address of the PgBouncer.
        """
        host.sh(f"rm -rf {_DIRECTORY}; install -d -o postgres {_DIRECTORY}")
        host.write(f"{_DIRECTORY}/script.sql", _SCRIPT)
        argv = ["pgbench", "-n", "-l", "--log-prefix=log", "-f", "script.sql", "-T", "600"]
        argv += ["-c", str(clients), "-j", "2", *(["-R", str(rate)] if rate else [])]
        argv += ["-h", through, "-p", str(PORT), "-U", ROLE, DATABASE]
        command = f"cd {_DIRECTORY} && echo $$ > pid && exec {' '.join(argv)}"
        work = Work()
        with host.popen(
            ["sh", "-ec", command],
            user="postgres",
            env={"PGPASSWORD": self._password},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield work
            finally:
                # It ends as it does when its time is over.
                host.sh(f"kill -ALRM $(cat {_DIRECTORY}/pid) 2>/dev/null || true")
                said, _ = process.communicate(timeout=_END_SECONDS)
        logs = host.sh(f"cat {_DIRECTORY}/log.* 2>/dev/null || true")
        work.found = read(said, logs)


def read(said: str, logs: str) -> Found:
    """Return what pgbench's words and its log of transactions amount to."""
    done = _DONE.search(said)
    if done is None:
        raise LabError(f"pgbench did nothing: {said[-2000:]}")
    complaints = [line for line in said.splitlines() if "error" in line.lower()]
    # Each line: client, number, latency, script, seconds and microseconds of its end.
    words = [line.split() for line in logs.splitlines()]
    moments = sorted(int(w[4]) + int(w[5]) / 1e6 for w in words if len(w) >= 6)
    waits = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    return Found(int(done[1]), len(complaints), max(waits, default=0.0), "\n".join(complaints))
