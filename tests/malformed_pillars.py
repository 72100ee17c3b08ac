"""Pillars with mistakes, and the keys that the refusal has to name.

The same table is run against the reader and against real hosts.
"""

from tests.malformed.hosts import HOSTS
from tests.malformed.nodes import NODES
from tests.malformed.nodes import UPSTREAM
from tests.malformed.pgbouncer import PGBOUNCER
from tests.malformed.postgres import HBA
from tests.malformed.postgres import POSTGRES
from tests.malformed.repmgr_settings import REPMGR
from tests.malformed.root import ROOT
from tests.malformed.root import SUBNET
from tests.malformed.secrets import SECRETS
from tests.malformed.server_settings import SETTINGS

CASES = (
    *ROOT,
    *SUBNET,
    *NODES,
    *HOSTS,
    *UPSTREAM,
    *SECRETS,
    *POSTGRES,
    *SETTINGS,
    *HBA,
    *REPMGR,
    *PGBOUNCER,
)
