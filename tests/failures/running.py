"""Starts the client, stops it, and reads what it wrote down."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab import Host
from tests.lab import Lab
from tests.lab import LabError
from tests.lab.paths import CHECKOUT
from tests.lab.process import CLEAN_ENV
from tests.lab.process import wait_until

from . import judge
from .pillars import DATABASE
from .pillars import ROLE
from .records import ROW
from .records import WATCH
from .records import Ack
from .records import parse

_BEGIN_SECONDS = 15
_END_SECONDS = 10

_PREPARE = f"""
SET password_encryption = 'scram-sha-256';
SELECT 'CREATE ROLE {ROLE} LOGIN' WHERE NOT EXISTS (
  SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
SELECT 'CREATE DATABASE {DATABASE} OWNER {ROLE}' WHERE NOT EXISTS (
  SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
ALTER ROLE {ROLE} PASSWORD '{{password}}';
\\connect {DATABASE}
DROP TABLE IF EXISTS rows, watched;
SET ROLE {ROLE};
CREATE TABLE rows (number bigint PRIMARY KEY, node text NOT NULL);
CREATE TABLE watched (number bigint, node text NOT NULL);
"""


def _psql(host: Host, port: int, database: str, script: str) -> str:
    argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(port), "-d", database]
    return host.run(argv, user="postgres", input=script).stdout


class Client:
    """The client of a cluster. As a context manager, it writes in the block.

    :param nodes: names of the data nodes.
    :param primary: where its tables are made, anew; old rows are gone.
    :param through: another port of the hosts, which need not be those with the data then.
    """

    def __init__(
        self,
        lab: Lab,
        nodes: Iterable[str],
        primary: str,
        port: int = 5432,
        through: int | None = None,
    ) -> None:
        self._lab = lab
        self._nodes = list(nodes)
        self._primary = primary
        self._port = port
        self._through = through or port
        self._process: subprocess.Popen[str] | None = None
        # pylint: disable-next=consider-using-with
        self._directory = tempfile.TemporaryDirectory(prefix="failures-")
        self._acks: list[Ack] = []
        self._read = 0

    @property
    def _records(self) -> Path:
        return Path(self._directory.name) / "acks"

    @property
    def _errors(self) -> Path:
        return Path(self._directory.name) / "errors"

    def __enter__(self) -> "Client":
        password = secrets.token_urlsafe(16)
        script = _PREPARE.format(password=password)
        _psql(self._lab[self._primary], self._port, "postgres", script)
        orders = {
            "lab": self._lab.name,
            "nodes": self._nodes,
            "account": {
                "port": self._through,
                "dbname": DATABASE,
                "user": ROLE,
                "password": password,
            },
        }
        with self._records.open("w") as out, self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*self._lab.outside(), sys.executable, "-B", "-m", "tests.failures.client"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                text=True,
                cwd=CHECKOUT,
                env={**CLEAN_ENV, **_environment(self._lab)},
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        try:
            self._require_writes()
        except BaseException:
            self.stop()
            raise
        return self

    def _require_writes(self) -> None:
        # A watcher that cannot get in sees nothing wrong, ever.
        def both() -> bool:
            return {ack.kind for ack in self.acks()} == {ROW, WATCH}

        if not wait_until(both, _BEGIN_SECONDS):
            raise LabError(
                f"the client cannot write on {self._primary}: is pillars.for_client() in the"
                f" pillar? {self._complaints()}"
            )

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()

    def stop(self) -> None:
        """Let it end; nothing is written any more."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(_END_SECONDS)
            self._process = None

    # -- looks ------------------------------------------------------------------------------

    def acks(self) -> list[Ack]:
        """All acknowledged writes until now, in the order in which they were written down.

        :raises LabError: the client has come to an end by itself.
        """
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"the client ended: {self._complaints()}")
        with self._records.open("rb") as records:
            records.seek(self._read)
            more, taken = parse(records.read())
        self._read += taken
        self._acks += more
        return list(self._acks)

    def _complaints(self) -> str:
        return self._errors.read_text(encoding="utf-8")[-2000:]

    def wait_for_row(self, since: float, timeout: float, besides: str | None = None) -> Ack | None:
        """Wait for a row that was sent from ``since`` on; ``None`` when there was none.

        :param since: moment of the monotonic clock.
        :param timeout: seconds.
        :param besides: a node whose rows do not count.
        """
        deadline = time.monotonic() + timeout
        while True:
            for ack in judge.rows(self.acks()):
                if ack.sent >= since and ack.node != besides:
                    return ack
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)

    def lost(self, primary: str, acks: Iterable[Ack] | None = None) -> list[int]:
        """Numbers of acknowledged rows, by default all, that a primary does not have."""
        acknowledged = self.acks() if acks is None else list(acks)
        query = "SELECT number FROM rows"
        found = _psql(self._lab[primary], self._port, DATABASE, query).split()
        return judge.lost(acknowledged, set(map(int, found)))


def _environment(lab: Lab) -> dict[str, Any]:
    """Where Python finds this project and psycopg2, which the Salt of the lab's hosts has."""
    own = os.environ.get("REPMGR_LAB_RUNS")
    runs = {"REPMGR_LAB_RUNS": own} if own else {}
    return {"PYTHONPATH": f"{CHECKOUT}:{lab.packages}", **runs}
