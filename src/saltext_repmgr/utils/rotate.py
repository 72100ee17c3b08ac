"""A node's part when the password of repmgr's role changes; docs/passwords.md has the order.

Each goes by what it sees of the others' servers, and by nobody's word.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from saltext_repmgr.guard import locks
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.spec import ROLE_NAME
from saltext_repmgr.utils.spec import Layout

# All nodes get their parts at once; a busy minion is some seconds late.
READY_SECONDS = 30
SWITCH_SECONDS = 60
AWAY_SECONDS = 3
# Whoever is refused in between is a client of repmgr's own, and tries again.
_STEP_SECONDS = 0.01

_SESSION = "repmgr-password-"
# Anybody may call a session so; those of repmgr's role count.
_ARMED = """
SELECT application_name AS name FROM pg_stat_activity
 WHERE application_name = ANY (%(names)s) AND usename = %(role)s
"""
_TAKE = "SELECT pg_advisory_lock(%(class)s, %(lock)s)"


def take_part(look, primary, nodes):
    """Do this node's part and return what became of it, in words.

    look
        A :class:`~saltext_repmgr.utils.look.Look` at this node, with the new password in its
        pillar.
    primary
        Name of the primary.
    nodes
        Names of all nodes that take part.
    """
    spec, node = look.spec, look.node
    before = passwords.read(spec).get(node.name)
    if node.name == primary:
        left = _lead(look, nodes)
    else:
        _await_change(spec, node, spec.nodes[primary])
        if node.is_witness:
            with observe.local_connection(spec, look.layout) as connection:
                _change(connection, spec.password)
        left = _switch(spec, nodes)
    if left:
        names = ", ".join(left)
        raise CommandFailed(
            f"PostgreSQL on {names} did not accept the new password within {SWITCH_SECONDS} s. Once it"
            " answers and has replayed all WAL, run 'salt-run repmgr.rotate_password' again: it"
            " continues"
        )
    _check_refused(spec, node, before)
    _check_replication(look)
    return "uses the new password"


# -- the primary ------------------------------------------------------------------------------


def _lead(look, nodes):
    """Change the role once everybody waits for it, and hold the word of it while they switch."""
    spec = look.spec
    others = [spec.nodes[name] for name in nodes if name != look.node.name]
    with observe.local_connection(spec, look.layout) as connection:
        if not metadata.takes(connection, spec.password):
            _take(connection, locks.ROTATING)
            _await_armed(connection, others)
            _change(connection, spec.password)
        _take(connection, locks.ROTATED)
        left = _switch(spec, nodes)
        for _ in act.polls(READY_SECONDS):
            if not _armed(connection, others):
                break
    return left


def _change(connection, password):
    # Only the witness may have it already.
    if not metadata.takes(connection, password):
        metadata.set_password(connection, password)


def _take(connection, lock):
    db.row(connection, _TAKE, {"class": locks.CLASS, "lock": lock})


def _session(node):
    return f"{_SESSION}{node.id}"


def _armed(connection, nodes):
    names = {_session(node): node for node in nodes}
    rows = db.rows(connection, _ARMED, {"names": list(names), "role": ROLE_NAME})
    return [names[row["name"]] for row in rows]


def _await_armed(connection, others):
    waiting = others
    for _ in act.polls(READY_SECONDS):
        here = _armed(connection, others)
        waiting = [node.name for node in others if node not in here]
        if not waiting:
            return
    raise CommandFailed(
        f"{', '.join(waiting)} did not get ready within {READY_SECONDS} s; no password was changed."
        " Its own line has the reason; then run 'salt-run repmgr.rotate_password' again"
    )


# -- the others -------------------------------------------------------------------------------


def _await_change(spec, node, primary):
    """Return when the role was changed on the primary; a session there says that one waits."""
    if passwords.takes(spec, primary, spec.password):
        return
    parameters, began = {"class": locks.CLASS}, False
    with observe.member_connection(spec, primary, name=_session(node)) as connection:
        deadline = time.monotonic() + 2 * READY_SECONDS
        while time.monotonic() < deadline:
            said = [row["lock"] for row in db.rows(connection, locks.HELD, parameters)]
            if locks.ROTATED in said:
                return
            if began and locks.ROTATING not in said:
                break
            began = began or locks.ROTATING in said
            time.sleep(_STEP_SECONDS)
    raise CommandFailed(
        f"{primary.name} aborted before any password was changed; its own line has the reason"
    )


# -- all --------------------------------------------------------------------------------------


def _switch(spec, nodes):
    """Put the new password into this host's file, for each member as soon as its server takes it,
    and return the names of those that did not."""
    found = passwords.read(spec)
    lock, began = threading.Lock(), time.monotonic()

    def follow(node):
        seconds = SWITCH_SECONDS if node.name in nodes else AWAY_SECONDS
        while not passwords.takes(spec, node, spec.password):
            if time.monotonic() - began >= seconds:
                if node.name in nodes:
                    return node.name
                # It will, when it is back or has been made.
                break
            time.sleep(_STEP_SECONDS)
        with lock:
            if found.get(node.name) != spec.password:
                found[node.name] = spec.password
                lines = {n.name: found.get(n.name, spec.password) for n in spec.members}
                passwords.write(Layout.passfile, repmgr_conf.pgpass(spec, lines))
        return None

    with ThreadPoolExecutor(max_workers=len(spec.members)) as pool:
        return [name for name in pool.map(follow, spec.members) if name]


def _check_refused(spec, node, before):
    if before in (None, spec.password):
        return
    if passwords.takes(spec, node, before) is not False:
        raise CommandFailed(
            f"PostgreSQL on {node.name} may still accept the old password; check its pg_hba.conf for"
            f" lines that let role {ROLE_NAME} in without a password"
        )


def _check_replication(look):
    """Connect as the WAL receiver does when it has to begin anew."""
    server = look.seen.server
    upstream = upstreams.upstream_of(look.spec, server) if server and server.in_recovery else None
    if upstream is None:
        return
    try:
        db.try_replication(upstream.host, look.spec.postgres.port, ROLE_NAME, Layout.passfile)
    except ConnectionFailed as err:
        raise CommandFailed(
            f"{upstream.name} refuses a new replication connection of {look.node.name}: {err}. The"
            " present stream continues; fix this before it ends"
        ) from err
