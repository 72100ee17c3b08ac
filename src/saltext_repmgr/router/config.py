"""What the router is told (by Salt) and what it leaves for others to read."""

import json
from dataclasses import dataclass
from typing import Tuple

from ..guard.config import Peer

CONFIG = "/etc/repmgr/router.json"
STATE_DIRECTORY = "/var/lib/repmgr-router"
# What pgbouncer.ini includes.
DATABASES = f"{STATE_DIRECTORY}/databases.ini"
STATE = f"{STATE_DIRECTORY}/state.json"


@dataclass(frozen=True)
class Config:
    """The host and its cluster.

    members
        The data nodes.
    server_port
        PostgreSQL's, on all of them.
    port, socket_directory
        PgBouncer's.
    waits
        Whether it can hold clients back between two transactions.
    """

    name: str
    members: Tuple[Peer, ...]
    databases: Tuple[str, ...]
    read_only: bool
    waits: bool
    server_port: int
    port: int
    socket_directory: str


def load(path=None):
    """Return the :class:`Config` that Salt wrote."""
    with open(path or CONFIG, encoding="utf-8") as handle:
        told = json.load(handle)
    members = tuple(
        Peer(m["node_id"], m["name"], "", -1, True, m["conninfo"]) for m in told.pop("members")
    )
    return Config(members=members, **{**told, "databases": tuple(told["databases"])})
