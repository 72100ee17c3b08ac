"""A host's part when the password of PgBouncer's role changes.

A role has one password, and a client that logs in at the wrong moment would be refused. So
PgBouncer looks up its clients as another role while its own is changed: a member of it, which
exists for these seconds only.
"""

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import router_act
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import router_observe
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.spec import ROUTER_DETOUR
from saltext_repmgr.utils.spec import ROUTER_ROLE

DETOUR, CHANGE, END = STEPS = ("detour", "change", "end")
_TAKEN_SECONDS = 30
_RELOAD_SECONDS = 10


def take_step(spec, name, layout, step, primary):
    """Do what a step is for this host, and return what became of it, in words.

    name
        Its minion id.
    layout
        Where things lie on the primary.
    step
        One of :data:`STEPS`.
    primary
        Name of the primary.
    """
    if name == primary:
        with observe.local_connection(spec, layout) as connection:
            _ON_PRIMARY[step](connection, spec.pgbouncer.password)
    if name in spec.routers:
        _ON_ROUTER[step](spec)
    return _WORDS[step]


_WORDS = {
    DETOUR: f"clients are looked up as {ROUTER_DETOUR}",
    CHANGE: f"clients are looked up as {ROUTER_ROLE}, with the new password",
    END: "uses the new password",
}


# -- the primary ------------------------------------------------------------------------------


def _make_detour(connection, password):
    taken = metadata.takes(connection, password, ROUTER_DETOUR)
    if taken is None:
        db.run(connection, f"CREATE ROLE {ROUTER_DETOUR} LOGIN IN ROLE {ROUTER_ROLE}")
    if not taken:
        metadata.set_password(connection, password, ROUTER_DETOUR)


def _change(connection, password):
    if not metadata.takes(connection, password, ROUTER_ROLE):
        metadata.set_password(connection, password, ROUTER_ROLE)


def _drop_detour(connection, _):
    db.run(connection, f"DROP ROLE IF EXISTS {ROUTER_DETOUR}")


# -- a PgBouncer ------------------------------------------------------------------------------


def _take_detour(spec):
    wish = spec.pgbouncer.password
    _await_taken(spec, ROUTER_DETOUR)
    _have(spec, passwords.of_router() or wish, wish, ROUTER_DETOUR)


def _return(spec):
    wish, before = spec.pgbouncer.password, passwords.of_router()
    _await_taken(spec, ROUTER_ROLE)
    passwords.write(router_files.PASSFILE, router_files.pgpass(wish))
    _have(spec, wish, wish, ROUTER_ROLE)
    if before in (None, wish):
        return
    said = passwords.all_take(spec, spec.data_nodes, before, ROUTER_ROLE)
    lax = [name for name, taken in said.items() if taken]
    if lax:
        raise CommandFailed(
            f"PostgreSQL on {', '.join(lax)} still lets role {ROUTER_ROLE} in with the old password;"
            " check its pg_hba.conf for lines that ask for no password"
        )


def _forget_detour(spec):
    _have(spec, spec.pgbouncer.password, None, ROUTER_ROLE)


_ON_PRIMARY = {DETOUR: _make_detour, CHANGE: _change, END: _drop_detour}
_ON_ROUTER = {DETOUR: _take_detour, CHANGE: _return, END: _forget_detour}


def _await_taken(spec, role):
    """Wait until every server that answers lets a role in with the new password."""
    said = {}
    for _ in act.polls(_TAKEN_SECONDS):
        said = passwords.all_take(spec, spec.data_nodes, spec.pgbouncer.password, role)
        if any(said.values()) and False not in said.values():
            return
    late = [name for name, taken in said.items() if not taken]
    raise CommandFailed(
        f"PostgreSQL on {', '.join(late)} did not let role {role} in within {_TAKEN_SECONDS} s;"
        " clients are served as before. Run 'salt-run repmgr.rotate_password' again: it continues"
    )


def _have(spec, password, detour, auth_user):
    """Have PgBouncer use these; it goes on with its connections."""
    listed = router_files.userlist(password, detour)
    passwords.write(router_files.USERLIST, listed, 0o640)
    text = router_files.ini(spec, auth_user, router_act.auth_query(spec))
    passwords.write(router_files.INI, text, 0o640)
    act.restart_daemon(router_files.SERVICE, "reload")
    found = ""
    for _ in act.polls(_RELOAD_SECONDS):
        found = _auth_user(spec)
        if found == auth_user:
            return
    raise CommandFailed(
        f"PgBouncer still looks up its clients as role {found}, not {auth_user}, {_RELOAD_SECONDS} s"
        " after its reload; see 'journalctl -u pgbouncer' on this host, then run 'salt-run"
        " repmgr.rotate_password' again"
    )


def _auth_user(spec):
    asked = router_observe.console(spec)
    try:
        return next(r["value"] for r in asked.ask("SHOW CONFIG") if r["key"] == "auth_user")
    finally:
        asked.close()
