"""The files of a host with a PgBouncer: its configuration, the router's programs, their units.

What the router does is in :mod:`saltext_repmgr.router` and docs/design-switchover.md.
"""

import json
from pathlib import Path

from saltext_repmgr import guard
from saltext_repmgr import router
from saltext_repmgr.guard import config
from saltext_repmgr.utils import db
from saltext_repmgr.utils import quoting
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import router_access
from saltext_repmgr.utils.spec import ROUTER_DATABASE
from saltext_repmgr.utils.spec import ROUTER_DETOUR
from saltext_repmgr.utils.spec import ROUTER_ROLE
from saltext_repmgr.utils.spec import Layout

UNIT = "repmgr-router"
SERVICE = "pgbouncer"
PACKAGES = ("pgbouncer", "python3", "python3-psycopg2")
INI = "/etc/pgbouncer/pgbouncer.ini"
USERLIST = "/etc/pgbouncer/userlist.txt"
PASSFILE = "/etc/repmgr/router-pgpass"
DIRECTORY = "/usr/local/lib/repmgr-router"
STATE_DIRECTORY = "/var/lib/repmgr-router"
DATABASES = f"{STATE_DIRECTORY}/databases.ini"
STATE = f"{STATE_DIRECTORY}/state.json"
CONFIG = "/etc/repmgr/router.json"
DROP_IN = f"/etc/systemd/system/{SERVICE}.service.d/repmgr.conf"
# Of the guard the router uses what asks members, and nothing that acts.
_OF_GUARD = tuple(
    f"{name}.py"
    for name in ("__init__", "config", "locks", "probe", "rules", "sessions", "store", "wal")
)

_UNIT = """\
# Written by Salt (saltext-repmgr).
[Unit]
Description=PgBouncer follows the primary of the PostgreSQL cluster {cluster}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=simple
User={user}
Environment=PYTHONPATH={directory} PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m repmgr_router.router.daemon
# Clients wait for it, also on a host with too much to do.
Nice=-10
Restart=always
RestartSec=200ms

[Install]
WantedBy=multi-user.target
"""

_DROP_IN = """\
# Written by Salt (saltext-repmgr).
[Service]
Restart=on-failure
RestartSec=200ms
LimitNOFILE=65536
"""

_IGNORED = "ignore_startup_parameters"
# PgBouncer 1.20 to 1.26.0 can be stopped by whoever reaches its port where this is not among them
# (CVE-2026-107349).
_ALWAYS_IGNORED = "options"
# What pillar's settings may change: a host that is gone is given up after seconds and not after
# minutes, and tried again at once.
DEFAULTS = {
    "listen_addr": "*",
    "logfile": "/var/log/postgresql/pgbouncer.log",
    _IGNORED: f"extra_float_digits,{_ALWAYS_IGNORED}",
    "server_connect_timeout": 2,
    "server_login_retry": 0.2,
    "server_fast_close": 1,
    "tcp_keepidle": 2,
    "tcp_keepintvl": 1,
    "tcp_keepcnt": 3,
    "tcp_user_timeout": 5000,
}


def settings(spec, auth_user=ROUTER_ROLE, auth_query=router_access.AUTH_QUERY, layout=Layout):
    """Return all settings of ``pgbouncer.ini`` by name, as text.

    auth_user, auth_query
        The role as which PgBouncer looks up its clients, and what it asks for that.
    """
    wanted = spec.pgbouncer
    found = {
        **DEFAULTS,
        **wanted.settings,
        "listen_port": wanted.port,
        "unix_socket_dir": layout.socket_directory,
        "pidfile": f"{layout.socket_directory}/pgbouncer.pid",
        "auth_type": "scram-sha-256",
        "auth_file": USERLIST,
        "auth_user": auth_user,
        "auth_query": auth_query,
        "admin_users": layout.os_user,
    }
    found[_IGNORED] = _with_options(str(found[_IGNORED]))
    return {name: _text(value) for name, value in sorted(found.items())}


def _with_options(listed):
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return ",".join(names if _ALWAYS_IGNORED in names else [*names, _ALWAYS_IGNORED])


def _text(value):
    return str(int(value)) if isinstance(value, bool) else quoting.one_line(str(value))


def ini(spec, auth_user=ROUTER_ROLE, auth_query=router_access.AUTH_QUERY):
    """Return the text of ``pgbouncer.ini``; there is no secret in it."""
    found = settings(spec, auth_user, auth_query)
    lines = [f"{name} = {value}\n" for name, value in found.items()]
    return (
        "; Written by Salt (saltext-repmgr); change the pillar 'repmgr' instead.\n"
        f"; Where the databases are, repmgr-router says.\n%include {DATABASES}\n"
        f"[pgbouncer]\n{''.join(lines)}"
    )


def userlist(password, detour=None):
    """Return the text of ``userlist.txt``, which is a secret.

    password
        Of PgBouncer's role.
    detour
        Of the role that stands in for it while its password is changed; None: there is none.

    With the other roles' verifiers PgBouncer can only do what their clients ask for; with its own
    role it logs in by itself, for which it takes the password.
    """
    roles = {ROUTER_ROLE: password, **({ROUTER_DETOUR: detour} if detour else {})}
    return "".join(f'"{role}" {quoting.userlist_field(text)}\n' for role, text in roles.items())


def pgpass(password):
    """Return the text of the router's password file for libpq, which is a secret."""
    return f"*:*:*:{ROUTER_ROLE}:{quoting.pgpass_field(password)}\n"


def conninfo(host, port, dbname, **more):
    """Return the connection string of the router's role, without its password.

    more
        Other parameters of libpq.
    """
    return repmgr_conf.connection_string(
        {
            "host": host,
            "port": port,
            "user": ROUTER_ROLE,
            "dbname": dbname,
            "tcp_user_timeout": repmgr_conf.TCP_USER_TIMEOUT,
            "passfile": PASSFILE,
            **more,
        }
    )


def files(spec, name):
    """Return ``{path: (text, mode)}`` of all that the router of a host is made of.

    name
        The host's minion id.
    """
    return {
        **_programs(),
        CONFIG: (_configuration(spec, name), "0644"),
        f"/etc/systemd/system/{UNIT}.service": (
            _UNIT.format(cluster=spec.cluster, user=Layout.os_user, directory=DIRECTORY),
            "0644",
        ),
    }


def drop_in():
    """Return what is added to PgBouncer's own unit."""
    return _DROP_IN


def texts(spec, password, auth_query=router_access.AUTH_QUERY):
    """Return ``{path: text}`` of what PgBouncer reads when it starts.

    password
        Of its role.
    """
    return {INI: ini(spec, auth_query=auth_query), USERLIST: userlist(password), DROP_IN: _DROP_IN}


def _programs():
    package = f"{DIRECTORY}/repmgr_router"
    source = Path(guard.__file__).parent
    found = {f"{package}/__init__.py": ("", "0644")}
    for path in [source / name for name in _OF_GUARD] + sorted(
        Path(router.__file__).parent.glob("*.py")
    ):
        where = f"{package}/{path.parent.name}/{path.name}"
        found[where] = (path.read_text("utf-8"), "0644")
    return found


def _configuration(spec, name):
    members = [
        {
            "node_id": node.id,
            "name": node.name,
            "conninfo": conninfo(
                node.address or node.host,
                spec.postgres.port,
                ROUTER_DATABASE,
                options=f"{config.PINNED} {db.KEEPALIVES}",
            ),
        }
        for node in spec.data_nodes
    ]
    told = {
        "name": name,
        "members": members,
        "databases": spec.pgbouncer.databases,
        "read_only": spec.pgbouncer.read_only,
        "waits": spec.pgbouncer.waits,
        "server_port": spec.postgres.port,
        "port": spec.pgbouncer.port,
        "socket_directory": Layout.socket_directory,
    }
    return json.dumps(told, indent=1) + "\n"
