"""Read ``repmgr:pgbouncer``: where PgBouncer runs, and which databases it leads to."""

import re
from collections.abc import Mapping

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import pillar_secrets
from saltext_repmgr.utils.checks import MISSING
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import PgBouncerSpec

KEYS = ("password", "databases", "hosts", "port", "read_only", "settings")
HOST_KEYS = ("host",)
READ_ONLY = "_ro"
_SYNONYMS = {
    "secret": "password",
    "database": "databases",
    "dbs": "databases",
    "host": "hosts",
    "minions": "hosts",
    "nodes": "hosts",
    "listen_port": "port",
    "readonly": "read_only",
    "standbys": "read_only",
    "config": "settings",
    "conf": "settings",
    "pool_mode": "settings",
}
_HOST_SYNONYMS = {"address": "host", "ip": "host"}
# What both PgBouncer's parser and PostgreSQL's 63 bytes allow.
_DATABASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_SETTING = re.compile(r"[a-z][a-z0-9_]*")
# Names with a meaning of their own: to PgBouncer, to pg_hba.conf, to repmgr.
_RESERVED = {
    "pgbouncer": "is PgBouncer's own console",
    "all": "means every database in pg_hba.conf",
    "sameuser": "has a meaning of its own in pg_hba.conf",
    "samerole": "has a meaning of its own in pg_hba.conf",
    "samegroup": "has a meaning of its own in pg_hba.conf",
    "replication": "has a meaning of its own in pg_hba.conf",
    "template0": "is a template that nobody can connect to",
    DATABASE_NAME: "is repmgr's own; clients have no business there",
}

# Settings that follow from other keys, or without which nothing works.
OWNED = {
    "listen_port": "use repmgr.pgbouncer.port",
    "auth_type": "it is scram-sha-256, remove it",
    "auth_user": "it is the role pgbouncer, remove it",
    "auth_query": "it asks a function that is made for it, remove it",
    "auth_file": "its content is repmgr.pgbouncer.password, remove it",
    "auth_dbname": "each listed database has its own function, remove it",
    "auth_hba_file": "it would take the place of scram-sha-256, remove it",
    "unix_socket_dir": "the router and local administration use /var/run/postgresql, remove it",
    "admin_users": "it is the postgres user of the host, over the socket; remove it",
    "user": "the unit runs it as postgres, remove it",
    "pidfile": "the unit knows its process, remove it",
    "service_name": "it is for Windows, remove it",
}
POOL_MODES = ("session", "transaction", "statement")


def read(problems, key, value, nodes, server_port):
    """The section as a :class:`~saltext_repmgr.utils.spec.PgBouncerSpec`, or ``None`` where
    there is none.

    nodes
        The cluster's nodes by minion id.
    server_port
        The port of PostgreSQL, which may run on the same host.
    """
    if value is MISSING:
        return None
    section = checks.mapping_or_none(problems, key, value)
    if section is None:
        return None
    checks.unknown_keys(problems, key, section, KEYS, _SYNONYMS)
    port = checks.integer(problems, f"{key}.port", section.get("port", 6432), 1, 65535)
    hosts = _hosts(problems, f"{key}.hosts", section.get("hosts"), nodes)
    if port is not None and port == server_port and any(h in nodes for h in hosts or nodes):
        problems.add(f"{key}.port", f"is {port}, PostgreSQL's own; write another, such as 6432")
    read_only = checks.boolean(
        problems, f"{key}.read_only", section.get("read_only", MISSING), True
    )
    return PgBouncerSpec(
        password=pillar_secrets.password(
            problems, f"{key}.password", section.get("password", MISSING)
        ),
        databases=_databases(
            problems, f"{key}.databases", section.get("databases", MISSING), read_only
        ),
        hosts=hosts,
        port=port,
        read_only=read_only,
        settings=_settings(problems, f"{key}.settings", section.get("settings", MISSING)),
    )


def _databases(problems, key, value, read_only):
    if value is MISSING or value in (None, "", [], {}):
        problems.add(key, "is missing; write a list of names of databases, for example '[app]'")
        return ()
    if not isinstance(value, (list, tuple)):
        problems.add(key, f"is {checks.kind(value)}; write a list, for example '[app]'")
        return ()
    found = []
    for index, name in enumerate(value):
        item_key = f"{key}.{index}"
        letters = "letters, digits, '_', '.' and '-', 63 at most"
        if checks.name(problems, item_key, name, "a database's name", _DATABASE, letters) is None:
            continue
        if name in _RESERVED:
            problems.add(item_key, f"is {name!r}, which {_RESERVED[name]}; remove it")
        elif name in found:
            problems.add(item_key, f"is {name!r} once more; remove one of them")
        found.append(name)
    for index, name in enumerate(value if read_only else ()):
        if isinstance(name, str) and name.removesuffix(READ_ONLY) in set(found) - {name}:
            problems.add(
                f"{key}.{index}",
                f"is {name!r}, the name under which standbys are reached with read_only; remove"
                " it, or set 'read_only: false'",
            )
    return tuple(found)


def _hosts(problems, key, value, nodes):
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not value:
        problems.add(
            key,
            f"is {checks.kind(value) if value else 'empty'}; write a mapping of minion id to"
            " settings, for example 'node1: {}', or remove it: every data node has a PgBouncer"
            " then",
        )
        return {}
    found = {}
    for name, entry in value.items():
        host_key = f"{key}.{name}"
        if checks.name(problems, host_key, name, "a minion id") is None:
            continue
        settings = checks.mapping_or_none(problems, host_key, entry)
        if settings is None:
            continue
        checks.unknown_keys(problems, host_key, settings, HOST_KEYS, _HOST_SYNONYMS)
        address = settings.get("host")
        if address is not None:
            address = checks.peer_address(problems, f"{host_key}.host", address)
        elif name not in nodes:
            meant = checks.likely(name, nodes)
            hint = f"did you mean {meant!r}? If not, write" if meant else "write"
            problems.add(
                f"{host_key}.host",
                f"is missing; {name} is no node of the cluster: {hint} the address that it"
                " connects from, for example '192.168.1.60'",
            )
        elif nodes[name].absent:
            problems.add(host_key, "is marked 'ensure: absent' in repmgr.nodes; remove it here")
        found[name] = address
    return found


def _settings(problems, key, value):
    mapping = checks.mapping_or_none(problems, key, value)
    settings = {}
    for name, found in (mapping or {}).items():
        setting_key = f"{key}.{name}"
        if not isinstance(name, str) or not _SETTING.fullmatch(name):
            lower = str(name).lower().replace("-", "_")
            hint = f"write {lower!r}" if _SETTING.fullmatch(lower) else "write its lower case name"
            problems.add(setting_key, f"is not a name of a PgBouncer setting; {hint}")
        elif name in OWNED:
            problems.add(setting_key, f"cannot be set here; {OWNED[name]}")
        elif name == "pool_mode":
            settings[name] = checks.choice(problems, setting_key, found, POOL_MODES)
        elif isinstance(found, (bool, int, float)):
            settings[name] = found
        elif checks.has_own_quotes(found):
            problems.add(
                setting_key, "is in quotes that become part of the value; write it without them"
            )
        elif isinstance(found, str) and found.strip() and checks.is_one_line(found):
            settings[name] = found
        else:
            problems.add(
                setting_key,
                f"is {'empty' if found in (None, '') else checks.kind(found)}; write a number, a"
                " boolean or a string on one line, or remove it for the default",
            )
    return settings
