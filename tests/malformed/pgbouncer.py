"""Mistakes in ``repmgr:pgbouncer``."""

from tests.malformed.base import PASSWORD
from tests.malformed.base import REMOVE
from tests.malformed.base import many
from tests.malformed.base import one

WANTED = {"password": PASSWORD, "databases": ["app"]}


def wrong(name, path, value, fragment, key=None):
    """A case with one changed value of a good section."""
    changes = {"pgbouncer": WANTED, f"pgbouncer:{path}": value}
    keys = key or f"repmgr.pgbouncer.{path.replace(':', '.')}"
    return many(f"pgbouncer {name}", changes, keys, fragment)


PGBOUNCER = [
    wrong(
        "setting that would be two lines",
        "settings:server_reset_query",
        "0\x85auth_type = any",
        "U+0085, a line break",
    ),
    wrong("setting in quotes", "settings:server_tls_sslmode", "'require'", "without them"),
    one("pgbouncer a string", "pgbouncer", "yes", "write a mapping"),
    one("pgbouncer a list", "pgbouncer", [WANTED], "write a mapping"),
    many(
        "pgbouncer empty",
        {"pgbouncer": {}},
        ("repmgr.pgbouncer.password", "repmgr.pgbouncer.databases"),
        "is missing; write a password",
    ),
    wrong("unknown key", "portt", 6432, "did you mean 'port'?"),
    wrong("unknown key, synonym", "pool_mode", "session", "did you mean 'settings'?"),
    wrong("unknown key, unlike any", "zzz", 1, "known keys: password, databases"),
    wrong("password missing", "password", REMOVE, "is missing"),
    wrong("password short", "password", "short", "too short"),
    wrong("password masked", "password", "**********", "only asterisks"),
    wrong("databases missing", "databases", REMOVE, "is missing"),
    wrong("databases empty", "databases", [], "is missing"),
    wrong("databases a string", "databases", "app", "is a string; write a list"),
    wrong("databases a mapping", "databases", {"app": {}}, "is a mapping; write a list"),
    wrong("database a number", "databases", [7], "in quotes", "repmgr.pgbouncer.databases.0"),
    wrong(
        "database with a space",
        "databases",
        ["app", "my app"],
        "consists of letters",
        "repmgr.pgbouncer.databases.1",
    ),
    wrong(
        "database with a long name",
        "databases",
        ["a" * 64],
        "63 at most",
        "repmgr.pgbouncer.databases.0",
    ),
    wrong(
        "database twice",
        "databases",
        ["app", "app"],
        "once more",
        "repmgr.pgbouncer.databases.1",
    ),
    wrong(
        "database of PgBouncer",
        "databases",
        ["pgbouncer"],
        "is PgBouncer's own console",
        "repmgr.pgbouncer.databases.0",
    ),
    wrong(
        "database of repmgr",
        "databases",
        ["app", "repmgr"],
        "is repmgr's own",
        "repmgr.pgbouncer.databases.1",
    ),
    wrong(
        "database of that name for standbys",
        "databases",
        ["app_ro", "app"],
        "standbys are reached",
        "repmgr.pgbouncer.databases.0",
    ),
    wrong("hosts a list", "hosts", ["node1"], "write a mapping of minion id"),
    wrong("hosts empty", "hosts", {}, "is empty; write a mapping"),
    wrong(
        "host without an address",
        "hosts",
        {"node1": {}, "router1": {}},
        "router1 is no node",
        "repmgr.pgbouncer.hosts.router1.host",
    ),
    wrong(
        "host misspelt",
        "hosts",
        {"nod1": None},
        "did you mean 'node1'?",
        "repmgr.pgbouncer.hosts.nod1.host",
    ),
    wrong(
        "host with a name for an address",
        "hosts",
        {"router1": {"host": "router1.example"}},
        "is not an IP address",
        "repmgr.pgbouncer.hosts.router1.host",
    ),
    wrong(
        "host with a loopback address",
        "hosts",
        {"router1": {"host": "127.0.0.1"}},
        "is this host for every host",
        "repmgr.pgbouncer.hosts.router1.host",
    ),
    wrong(
        "host with an unknown key",
        "hosts",
        {"router1": {"address": "192.168.1.60", "host": "192.168.1.60"}},
        "did you mean 'host'?",
        "repmgr.pgbouncer.hosts.router1.address",
    ),
    wrong(
        "host that is a string",
        "hosts",
        {"router1": "192.168.1.60"},
        "write a mapping",
        "repmgr.pgbouncer.hosts.router1",
    ),
    wrong(
        "host that left",
        "hosts",
        {"node5": {}},
        "is marked 'ensure: absent'",
        "repmgr.pgbouncer.hosts.node5",
    ),
    wrong("port a string", "port", "6432", "without quotes"),
    wrong("port too big", "port", 65536, "1 to 65535"),
    wrong("port of PostgreSQL", "port", 5432, "PostgreSQL's own"),
    wrong("read_only a string", "read_only", "yes", "write true or false"),
    wrong("settings a list", "settings", ["pool_mode"], "write a mapping"),
    wrong(
        "settings in upper case", "settings", {"Pool_Mode": "session"}, "write 'pool_mode'"
    )._replace(keys=("repmgr.pgbouncer.settings.Pool_Mode",)),
    wrong("pool_mode unknown", "settings:pool_mode", "transactions", "did you mean 'transaction'?"),
    wrong("a setting with its own key", "settings:listen_port", 6433, "repmgr.pgbouncer.port"),
    wrong("a setting that is ours", "settings:auth_type", "trust", "it is scram-sha-256"),
    wrong("a setting empty", "settings:max_client_conn", None, "is empty"),
    wrong("a setting a list", "settings:listen_addr", ["*"], "is a list"),
    wrong("a setting on two lines", "settings:logfile", "a\nauth_type = any", "on one line"),
]
