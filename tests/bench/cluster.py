"""What the hosts hold before a measurement and after it."""

import time

from tests.lab import CommandError
from tests.lab import Host
from tests.lab import Lab
from tests.lab import LabError

_PATIENCE_SECONDS = 20

_BARE = "SELECT pg_is_in_recovery(), count(*) FROM pg_database WHERE datname = 'repmgr'"
_STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
_REGISTERED = "SELECT count(*) FROM repmgr.nodes WHERE active"


def _sql(host: Host, statement: str, database: str = "postgres") -> str:
    psql = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
    return host.run(psql, user="postgres").stdout.strip()


def require_bare(lab: Lab) -> None:
    """Raise :class:`LabError` unless all nodes are as their packages left them."""
    for host in lab.nodes:
        found = _when_it_answers(host, _BARE)
        left = host.sh("ls -d /etc/repmgr.conf /etc/repmgr 2>/dev/null || true").split()
        if found != "f|0" or left:
            raise LabError(f"{host.name} is not bare: {found}, files: {', '.join(left) or 'none'}")


def _when_it_answers(host: Host, statement: str) -> str:
    # The server starts when the host boots, but nobody waits for it.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _sql(host, statement)
        except CommandError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.2)


def require_built(lab: Lab) -> None:
    """Raise :class:`LabError` unless all nodes are registered and all standbys stream."""
    primary, *standbys = lab.nodes
    streaming = _sql(primary, _STREAMING)
    registered = _sql(primary, _REGISTERED, "repmgr")
    if (streaming, registered) != (str(len(standbys)), str(len(lab.nodes))):
        raise LabError(
            f"no cluster of {len(lab.nodes)} came of it: {streaming} streaming,"
            f" {registered} registered"
        )
