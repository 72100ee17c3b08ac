"""
States of a host with a PgBouncer that follows the primary, and of what it needs in the databases.
They are part of the ``repmgr`` SLS files.
"""

import time

from saltext_repmgr.utils import act
from saltext_repmgr.utils import host
from saltext_repmgr.utils import managed
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import router_access
from saltext_repmgr.utils import router_act
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import router_observe
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.look import Look
from saltext_repmgr.utils.spec import Layout
from saltext_repmgr.utils.spec import Role

__virtualname__ = "repmgr_router"

_READY_SECONDS = 15


def __virtual__():
    return __virtualname__


def _spec():
    return wanted.router_of(__pillar__, __opts__["id"])


@reported
def access_present(name):
    """
    Have PgBouncer's role in the server of this node, and in each database of pillar's
    ``pgbouncer: databases`` the function that tells it how clients prove who they are. On a
    standby they come from the primary, and nothing is done. A database that does not exist is
    not made, but told.

    name
        Anything.

    .. code-block:: yaml

        PgBouncer's role:
          repmgr_router.access_present: []
    """
    look = Look(__pillar__, __opts__, __context__).allowed()
    wants = look.spec.pgbouncer
    if look.plan.role is not Role.PRIMARY:
        return result(name, "comes with the replication")
    if look.seen.server is None:
        if not look.test:
            raise CommandFailed("the server does not run")
        changes = {"pgbouncer": {"old": None, "new": "role and functions"}}
        return result(name, "would be made once the server runs", changes)
    absent = router_access.absent(look.connection, wants.databases)
    there = [database for database in wants.databases if database not in absent]
    told = [f"database {n} does not exist; create it and run again" for n in absent]
    missing = router_access.missing(look.connection, there)
    if not missing:
        return result(name, "; ".join(["role and functions are as they should be", *told]))
    changes = {item: {"old": None, "new": "present"} for item in missing}
    if look.test:
        return result(name, "; ".join([f"would make: {'; '.join(missing)}", *told]), changes)
    router_access.create(look.connection, wants.password, there)
    left = router_access.missing(look.connection, there)
    if left:
        return result(name, f"still missing after the attempt: {'; '.join(left)}", changes, False)
    return result(name, "; ".join([f"made: {'; '.join(missing)}", *told]), changes)


@reported
def installed(name):
    """
    Have the programs of the router, its configuration and its unit on this host, and a file for
    PgBouncer to include.

    name
        Directory of the programs.

    .. code-block:: yaml

        /usr/local/lib/repmgr-router:
          repmgr_router.installed: []
    """
    files = router_files.files(_spec(), __opts__["id"])
    missing = [path for path, (text, mode) in files.items() if not host.holds(path, text, mode)]
    changes = {path: {"old": None, "new": "written"} for path in missing}
    if not router_act.has_databases():
        changes[router_files.DATABASES] = {"old": None, "new": "written, empty"}
    if not changes or __opts__["test"]:
        return result(name, "would be written" if changes else "all is in place", changes)
    missing_files = {path: files[path] for path in missing}
    act.install(router_files.STATE_DIRECTORY, Layout.os_user, missing_files)
    router_act.have_databases()
    return result(name, f"{len(changes)} files written", changes)


@reported
def passfile(name):
    """
    Keep the file libpq takes the password of PgBouncer's role from (0600, of the postgres user).

    name
        Path of the file.

    .. code-block:: yaml

        /etc/repmgr/router-pgpass:
          repmgr_router.passfile: []
    """
    return _secret(name, router_files.pgpass(passwords.router_password(_spec())), 0o600)


@reported
def userlist(name):
    """
    Keep the file PgBouncer takes the password of its own role from (0640, of the postgres user).

    name
        Path of the file.

    .. code-block:: yaml

        /etc/pgbouncer/userlist.txt:
          repmgr_router.userlist: []
    """
    return _secret(name, router_files.userlist(passwords.router_password(_spec())), 0o640)


def _secret(name, text, mode):
    return managed.secret(name, text, mode, Layout, __opts__["test"])


@reported
def configured(name):
    """
    Keep ``pgbouncer.ini``. PgBouncer itself reads a new one first, on no port: one that it does
    not take is refused, and the old one stays.

    name
        Path of the file.

    .. code-block:: yaml

        /etc/pgbouncer/pgbouncer.ini:
          repmgr_router.configured: []
    """
    spec = _spec()
    query = router_act.auth_query(spec, __opts__["test"])
    done = managed.file(
        name,
        router_files.ini(spec, auth_query=query),
        0o640,
        Layout.os_user,
        dry=__opts__["test"],
        check=router_act.try_out,
    )
    if query == router_access.FORMER_QUERY:
        done["comment"] += (
            f"; a server does not have {router_access.FUNCTION} yet, so PgBouncer goes on to ask the"
            " former function: run 'salt-run state.orchestrate repmgr.cluster'"
        )
    return done


@reported
def pgbouncer_running(name):
    """
    Have PgBouncer running with its present configuration. What it can take while it runs is
    reloaded; clients only notice a restart.

    name
        Name of the unit.

    .. code-block:: yaml

        pgbouncer:
          repmgr_router.pgbouncer_running: []
    """
    spec, unit = _spec(), host.units(name)[name]
    query = router_act.auth_query(spec, __opts__["test"])
    texts = router_files.texts(spec, passwords.router_password(spec), query)
    if __opts__["test"]:
        stale = [path for path, text in texts.items() if not host.holds(path, text)]
    else:
        stale = [path for path in texts if host.changed_since(path, unit.loaded)]
    if unit.state == "active" and not stale:
        return result(name, f"running as {unit.pid}")
    if unit.state != "active":
        verb, old = "restart", f"not running ({unit.state})"
    else:
        fixed = router_files.DROP_IN in stale or router_act.needs_restart(spec)
        verb, old = ("restart" if fixed else "reload"), f"older than {', '.join(stale)}"
    changes = {name: {"old": old, "new": f"{verb}ed"}}
    if __opts__["test"]:
        return result(name, f"would be {verb}ed", changes)
    began = time.time()
    act.restart_daemon(name, verb)
    error = "it did not start"
    for _ in act.polls(_READY_SECONDS):
        error = router_act.console_error(spec)
        if not error:
            host.settle_times(texts, began)
            return result(name, f"{verb}ed", changes)
    comment = f"it does not answer: {error}; look at 'journalctl -u {name}' on this host"
    return result(name, comment, changes, result=False)


@reported
def running(name):
    """
    Have the router running, with its present files.

    name
        Name of the unit.

    .. code-block:: yaml

        repmgr-router:
          repmgr_router.running: []
    """
    spec, minion = _spec(), __opts__["id"]
    files = router_files.files(spec, minion)
    found = router_observe.daemon()
    if __opts__["test"]:
        stale = [path for path, (text, _) in files.items() if not host.holds(path, text)]
    else:
        stale = [path for path in files if host.changed_since(path, found.started)]
    if found.attached and not stale:
        return result(name, f"running as {found.pid}")
    old = f"older than {', '.join(stale)}" if found.attached else f"not running ({found.unit})"
    changes = {name: {"old": old, "new": "running"}}
    if __opts__["test"]:
        return result(name, "would be restarted", changes)
    began = time.time()
    act.restart_daemon(name)
    for _ in act.polls(_READY_SECONDS):
        if router_observe.daemon().attached:
            host.settle_times(files, began)
            return result(name, "restarted", changes)
    comment = f"it does not stay up; look at 'journalctl -u {name}' on this host"
    return result(name, comment, changes, result=False)
