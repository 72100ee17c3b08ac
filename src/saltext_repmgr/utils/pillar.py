"""Read the pillar ``repmgr`` and refuse it with every mistake at once."""

import ipaddress
from collections.abc import Mapping

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import election
from saltext_repmgr.utils import pillar_nodes
from saltext_repmgr.utils import pillar_pgbouncer
from saltext_repmgr.utils import pillar_postgres
from saltext_repmgr.utils import pillar_secrets
from saltext_repmgr.utils import repmgr_settings
from saltext_repmgr.utils.checks import MISSING
from saltext_repmgr.utils.spec import ClusterSpec

ROOT = "repmgr"
KEYS = (
    "cluster",
    "subnet",
    "nodes",
    "password",
    "ssh",
    "fence",
    "failover_after",
    "rejoin",
    "synchronous",
    "force",
    "manage_hosts",
    "history_days",
    "postgres",
    "settings",
    "pgbouncer",
)
REJOIN = ("auto", "ask", "never")
_REJOIN_SYNONYMS = {"automatic": "auto", "manual": "never", "off": "never", "on": "auto"}
_SYNONYMS = {
    "name": "cluster",
    "cluster_name": "cluster",
    "network": "subnet",
    "networks": "subnet",
    "cidr": "subnet",
    "members": "nodes",
    "hosts": "nodes",
    "secret": "password",
    "ssh_keys": "ssh",
    "postgresql": "postgres",
    "hba": "postgres",
    "repmgr": "settings",
    "conf": "settings",
    "keep_history": "history_days",
    "bouncer": "pgbouncer",
    "router": "pgbouncer",
    "routers": "pgbouncer",
}
MAX_HISTORY_DAYS = 36500


def read(pillar):
    """Turn the value of the pillar key ``repmgr`` into a validated specification.

    pillar
        The mapping as Salt hands it out, unmasked; it is not changed.

    Returns a :class:`~saltext_repmgr.utils.spec.ClusterSpec`. Raises
    :class:`~saltext_repmgr.utils.errors.PillarError` with every mistake found; no
    message contains the password or the private key.
    """
    problems = checks.Problems()
    if pillar is None or not isinstance(pillar, Mapping):
        found = "is missing" if pillar is None else f"is {checks.kind(pillar)}"
        problems.add(ROOT, f"{found}; write a mapping, see pillar.example")
        problems.raise_any()
    checks.every_text(problems, ROOT, pillar)
    checks.unknown_keys(problems, ROOT, pillar, KEYS, _SYNONYMS)
    postgres = pillar_postgres.read(problems, f"{ROOT}.postgres", pillar.get("postgres", MISSING))
    manage_hosts = checks.boolean(
        problems, f"{ROOT}.manage_hosts", pillar.get("manage_hosts", MISSING), False
    )
    fence = checks.boolean(problems, f"{ROOT}.fence", pillar.get("fence", MISSING), True)
    subnets = _subnets(problems, pillar.get("subnet", MISSING))
    nodes = pillar_nodes.read(
        problems, f"{ROOT}.nodes", pillar.get("nodes", MISSING), subnets, manage_hosts
    )
    spec = ClusterSpec(
        cluster=_cluster(problems, pillar.get("cluster", MISSING)),
        subnets=subnets,
        nodes=nodes,
        password=pillar_secrets.password(
            problems, f"{ROOT}.password", pillar.get("password", MISSING)
        ),
        postgres=postgres,
        settings=repmgr_settings.read(
            problems, f"{ROOT}.settings", pillar.get("settings", MISSING), fence
        ),
        force=checks.boolean(problems, f"{ROOT}.force", pillar.get("force", MISSING), False),
        fence=fence,
        failover_after=checks.integer(
            problems, f"{ROOT}.failover_after", pillar.get("failover_after", 4), 3, 3600
        ),
        rejoin=_rejoin(problems, pillar.get("rejoin", MISSING)),
        synchronous=pillar_nodes.synchronous(
            problems, f"{ROOT}.synchronous", pillar.get("synchronous", 0), nodes
        ),
        manage_hosts=manage_hosts,
        history_days=_history_days(problems, pillar.get("history_days", 30)),
        ssh=pillar_secrets.ssh(problems, f"{ROOT}.ssh", pillar.get("ssh", MISSING)),
        pgbouncer=pillar_pgbouncer.read(
            problems,
            f"{ROOT}.pgbouncer",
            pillar.get("pgbouncer", MISSING),
            nodes,
            postgres.port,
        ),
    )
    pillar_postgres.check_capacity(
        problems,
        f"{ROOT}.postgres.settings",
        postgres.settings,
        sum(not node.absent for node in nodes.values()),
    )
    _promotable(problems, spec)
    _confirmed(problems, spec)
    problems.raise_any()
    return spec


def _promotable(problems, spec):
    """Refuse a cluster of which no node ever takes over from another one."""
    readable = all(node.location and node.priority is not None for node in spec.nodes.values())
    if len(problems) or not readable or not election.is_automatic(spec.settings):
        return
    found = election.obstacles(spec.members)
    if len(found) > 1 and all(found.values()):
        name, why = next(iter(found.items()))
        problems.add(
            f"{ROOT}.nodes",
            f"nobody is promoted whichever node is lost: of {name}, {why}; correct priority or"
            " location of the nodes, or write 'settings: {failover: manual}'",
        )


def _confirmed(problems, spec):
    """Refuse commits that wait for no standby where pillar says that standbys confirm them."""
    value = spec.postgres.settings.get("synchronous_commit")
    if spec.synchronous and (
        value is False or str(value).lower() in ("off", "local", "false", "no")
    ):
        problems.add(
            f"{ROOT}.postgres.settings.synchronous_commit",
            f"is {checks.show(value)}, with which a commit waits for no standby, but repmgr.synchronous"
            " asks for that; remove one of them (a role or a transaction may still be set so)",
        )


def _history_days(problems, value):
    return checks.integer(problems, f"{ROOT}.history_days", value, 1, MAX_HISTORY_DAYS)


def _cluster(problems, value):
    key = f"{ROOT}.cluster"
    if value is MISSING:
        problems.add(key, "is missing; write the cluster's name, for example 'cluster: foobar'")
        return None
    return checks.name(problems, key, value, "the cluster's name")


def _rejoin(problems, value):
    if value is MISSING:
        return ClusterSpec.rejoin
    synonyms = {"automatic": "auto", "always": "auto", "manual": "ask", "no": "never"}
    return checks.choice(problems, f"{ROOT}.rejoin", value, REJOIN, synonyms)


def _subnets(problems, value):
    key = f"{ROOT}.subnet"
    if value is MISSING or value is None or value in ("", []):
        problems.add(
            key,
            "is missing; write the network (or a list of them) that may connect to replicate,"
            " for example '192.168.1.0/24'",
        )
        return ()
    many = isinstance(value, (list, tuple))
    found = {}
    for index, item in enumerate(value if many else [value]):
        item_key = f"{key}.{index}" if many else key
        network = _subnet(problems, item_key, item)
        if network is None:
            continue
        if network in found:
            problems.add(item_key, f"{network} is already in {found[network]}; remove one of them")
            continue
        found[network] = item_key
    return tuple(found)


def _subnet(problems, key, value):
    if not isinstance(value, str):
        problems.add(
            key,
            f"is {checks.show(value)} ({checks.kind(value)}); write a network as a string,"
            " for example '192.168.1.0/24'",
        )
        return None
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        problems.add(key, f"is {checks.show(value)}; write a network, for example '192.168.1.0/24'")
        return None
    if "/" not in value:
        problems.add(
            key,
            f"is {value!r}, an address without a prefix length; write '{network}' for that one"
            " host or the network's prefix length after a slash",
        )
    elif network.prefixlen == 0:
        problems.add(
            key, f"is {value!r}, which lets everybody connect; write the network of the nodes"
        )
    elif value.partition("/")[2] != str(network.prefixlen):
        problems.add(key, f"is {value!r}; write '{network}'")
    elif ipaddress.ip_address(value.partition("/")[0]) != network.network_address:
        problems.add(key, f"is {value!r}, which is an address inside a network; write '{network}'")
    else:
        return network
    return None
