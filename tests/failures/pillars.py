"""Parts of a pillar: what the client needs, and what clusters are compared by."""

from collections.abc import Mapping
from typing import Any

from tests.lab.spec import SUBNET

DATABASE = "failures"
ROLE = "client"

_MATCH = {"database": DATABASE, "user": ROLE, "method": "scram-sha-256"}
_HBA = [{"type": "local", **_MATCH}, {"type": "host", "address": SUBNET, **_MATCH}]

#: A row is acknowledged when a standby has it, too.
SYNCHRONOUS: Mapping[str, Any] = {"synchronous": 1}

#: What repmgr has where its configuration says nothing, and nothing that keeps a second primary
#: away.
SHIPPED: Mapping[str, Any] = {
    "fence": False,
    "settings": {
        "monitor_interval_secs": 2,
        "reconnect_attempts": 6,
        "reconnect_interval": 10,
        "primary_notification_timeout": 60,
        "election_rerun_interval": 15,
    },
}


def for_client(part: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A part of a pillar, by default nothing, that also lets the client in."""
    wanted = dict(part or {})
    return {**wanted, "postgres": {**wanted.get("postgres", {}), "hba": _HBA}}
