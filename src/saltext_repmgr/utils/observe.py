"""Gather the facts of one node: its own host and server, and the other members."""

import contextlib
import dataclasses
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import contents
from saltext_repmgr.utils import db
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import host
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import server
from saltext_repmgr.utils import serverconf
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import LIMITS
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import Guard
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Passwords
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Repmgrd
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME
from saltext_repmgr.utils.spec import ROUTER_DETOUR
from saltext_repmgr.utils.spec import ROUTER_ROLE

REPMGRD_UNIT = "repmgrd"
_STARTING_SECONDS = 5
# A standby is a moment behind.
_DETOUR = """
SELECT NOT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s) AS yes
"""


def local_connection(spec, layout, dbname=DATABASE_NAME):
    """Return a context manager with a superuser connection over the local socket."""
    configured = (layout.socket_directory, spec.postgres.port)
    directory, port = host.postmaster_socket(layout.data_directory) or configured
    return db.connect(
        host=directory or layout.socket_directory,
        port=port,
        user=layout.os_user,
        dbname=dbname,
        os_user=layout.os_user,
    )


@contextlib.contextmanager
def member_connection(spec, node, dbname=DATABASE_NAME, name=db.NAME):
    """Yield a connection to a member, as repmgr's role: with the password that is in force here,
    and where that is refused with the one of pillar.

    name
        What the server shows as ``application_name``.
    """
    with contextlib.ExitStack() as stack:
        *first, last = passwords.of_member(spec, node)
        there = (node.host, spec.postgres.port, ROLE_NAME, dbname)
        connection = None
        for password in first:
            try:
                connection = stack.enter_context(db.connect(*there, password=password, name=name))
            except ConnectionFailed as err:
                if err.kind is not Reach.REJECTED:
                    raise
        if connection is None:
            connection = stack.enter_context(db.connect(*there, password=last, name=name))
        yield connection


def host_key():
    """Return the public key by which this host is known over SSH; empty where there is none."""
    for kind in ("ed25519", "ecdsa", "rsa"):
        with contextlib.suppress(OSError):
            return Path(f"/etc/ssh/ssh_host_{kind}_key.pub").read_text(encoding="utf-8").strip()
    return ""


def observe(spec, node, layout):
    """Return the :class:`~saltext_repmgr.utils.facts.Observation` of this host.

    spec, node
        The wanted cluster and the node in it that this host is.
    layout
        Where things lie on this host.
    """
    installed = Path(layout.bindir, "postgres").exists()
    data = host.data_directory(layout, installed)
    if data.content is not Content.POSTGRES or data.unfinished_clone:
        unmounted = host.unmounted(layout.data_directory)
        data = dataclasses.replace(data, unmounted=unmounted)
    postmaster = host.postmaster_pid(layout.data_directory)
    running = postmaster is not None
    units = host.units(layout.clone_unit, REPMGRD_UNIT, guard_files.UNIT)
    daemon = units[REPMGRD_UNIT]
    repmgrd = Repmgrd(daemon.state, daemon.pid, daemon.started, loaded=daemon.loaded)
    own, error = None, ""
    if running:
        own, repmgrd, error = _ask_own_server(spec, layout, repmgrd)
    return Observation(
        node=node.name,
        version=layout.version,
        installed=installed,
        configured=confined.exists(f"{layout.config_directory}/postgresql.conf"),
        member=confined.exists(layout.settings_file),
        data=data,
        running=running,
        cloning=units[layout.clone_unit].state in ("active", "activating"),
        server=own,
        server_error=error,
        repmgrd=repmgrd,
        guard=_guard(layout, units[guard_files.UNIT]),
        replaced=host.replaced({"postgres": postmaster, "repmgrd": daemon.pid}),
        members=_members(spec, [n for n in spec.members if n.name != node.name]),
        drained=own_mark(layout),
    )


def own_mark(layout):
    """Return the :class:`~saltext_repmgr.utils.facts.Drained` of this host, or None."""
    try:
        return drained.read(confined.read(layout.start_file, errors="replace"))
    except OSError:
        return None


def _ask_own_server(spec, layout, repmgrd):
    """Ask a server that runs but may be on its way up or down, and give it some seconds."""
    deadline = time.monotonic() + _STARTING_SECONDS
    while True:
        try:
            return (*own_server(spec, layout, repmgrd), "")
        except ConnectionFailed as err:
            if time.monotonic() >= deadline:
                return None, repmgrd, str(err)
        except RepmgrError as err:
            return None, repmgrd, str(err)
        time.sleep(0.2)


def own_server(spec, layout, repmgrd):
    """Return the :class:`~saltext_repmgr.utils.facts.Server` that runs on this host, and what
    it adds to what is known of ``repmgrd``."""
    try:
        with local_connection(spec, layout) as connection:
            facts = _described(connection, layout)
            if facts.nodes is not None:
                attached = repmgrd.pid is not None and facts.repmgrd_pid == repmgrd.pid
                paused = facts.repmgrd_paused
                repmgrd = dataclasses.replace(repmgrd, attached=attached, paused=paused)
            return facts, repmgrd
    except ConnectionFailed as err:
        if err.kind is not Reach.REJECTED:
            raise
    # No repmgr database yet.
    with local_connection(spec, layout, dbname="postgres") as connection:
        # Limits of a server that a clone takes the place of are not the clone's.
        facts = dataclasses.replace(_described(connection, layout), other_limits={})
        if not facts.in_recovery:
            used = _is_used(spec, layout, contents.databases(connection))
            facts = dataclasses.replace(facts, user_objects=used)
        return facts, repmgrd


def _described(connection, layout):
    path = layout.settings_file
    return dataclasses.replace(
        server.describe(connection, ROLE_NAME),
        other_limits=serverconf.otherwise(connection, LIMITS, path),
        configuration=serverconf.configuration(connection, path),
    )


def _is_used(spec, layout, databases):
    for name in databases:
        with local_connection(spec, layout, dbname=name) as connection:
            if contents.of_users(connection):
                return True
    return False


def _guard(layout, unit):
    said = host.read_json(f"{layout.guard_state}/state.json") or {}
    return Guard(
        unit=unit.state,
        pid=unit.pid,
        started=unit.started,
        attached=unit.pid is not None and said.get("pid") == unit.pid,
        state=said.get("state", ""),
        reason=said.get("reason", ""),
        since=said.get("since", 0),
        paused_until=host.read_json(f"{layout.guard_state}/paused-until"),
    )


def ask_member(spec, node):
    """Return the :class:`~saltext_repmgr.utils.facts.Member` that ``node`` is from here."""
    try:
        with member_connection(spec, node) as connection:
            return Member(Reach.ANSWERED, server=server.describe(connection, ROLE_NAME))
    except ConnectionFailed as err:
        return Member(err.kind or Reach.UNREACHABLE, detail=str(err))
    except RepmgrError as err:
        return Member(Reach.REJECTED, detail=str(err))


def _members(spec, others):
    if not others:
        return {}
    with ThreadPoolExecutor(max_workers=len(others)) as pool:
        return dict(zip((n.name for n in others), pool.map(lambda n: ask_member(spec, n), others)))


def resolve(nodes):
    """Return ``{node name: address, or ""}`` as this host resolves the nodes' ``host``."""
    found = {}
    for node in nodes:
        try:
            found[node.name] = socket.getaddrinfo(node.host, None, type=socket.SOCK_STREAM)[0][4][0]
        except OSError:
            found[node.name] = ""
    return found


def observe_passwords(spec, name, layout=None, salt=""):
    """Return the :class:`~saltext_repmgr.utils.facts.Passwords` of this host.

    name
        Its minion id.
    layout
        Where things lie on a node; None: it is no node of the cluster.
    salt
        For the comparison of the pillars; without it there is none.
    """
    stale, roles = (), {}
    if layout is not None:
        found = passwords.read(spec)
        stale = tuple(n for n, password in found.items() if password != spec.password)
        # A server that is taken over gets pillar's with its metadata: there is none to change.
        roles = _roles(spec, layout) if Path(layout.settings_file).exists() else {}
    return Passwords(
        stale=stale,
        router_stale=name in spec.routers and passwords.router_is_stale(spec),
        digest=passwords.digest(spec, salt) if salt else "",
        **roles,
    )


def _roles(spec, layout):
    """What its own server says of the roles."""
    if host.postmaster_pid(layout.data_directory) is None:
        return {}
    try:
        with local_connection(spec, layout, "postgres") as connection:
            found = {"role": metadata.takes(connection, spec.password)}
            if spec.pgbouncer:
                found["router_role"] = metadata.takes(
                    connection, spec.pgbouncer.password, ROUTER_ROLE
                )
                found["detour"] = db.row(connection, _DETOUR, {"role": ROUTER_DETOUR})["yes"]
            return found
    except RepmgrError:
        return {}
