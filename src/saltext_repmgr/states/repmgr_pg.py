"""
States of the PostgreSQL server below a repmgr cluster, on Debian's layout.

What Salt's own ``postgres_*`` states do, they do; these are for what they lack.
"""

import os

from saltext_repmgr.utils import act
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import existing
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import host
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import managed
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import serverconf
from saltext_repmgr.utils import survey
from saltext_repmgr.utils import trial
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.look import Look
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import Role

__virtualname__ = "repmgr_pg"
_TRIED = "saltext_repmgr.tried"

_BEGIN = "# repmgr, written by Salt: begin"
_END = "# repmgr, written by Salt: end"


def __virtual__():
    return __virtualname__


def _look():
    return Look(__pillar__, __opts__, __context__).allowed()


@reported
def cluster_present(name):
    """
    Have Debian's configuration of the cluster, and the data directory it names.

    Runs ``initdb`` (by ``pg_createcluster``) only where the plan of this node says that a
    new cluster begins here; a data directory that is there is taken as it is.

    name
        Anything; version, cluster name, port and directory come from pillar.

    .. code-block:: yaml

        the server's configuration:
          repmgr_pg.cluster_present: []
    """
    look = _look()
    layout, create = look.layout, look.todo(Step.CREATE)
    what = f"{layout.version}/{layout.cluster}"
    if look.seen.configured and not look.seen.installed:
        # A dry run: its packages come first.
        return result(name, f"{what} is configured")
    if look.seen.configured:
        return _configured(name, what, layout, create)
    content = look.seen.data.content
    changes = {"configuration": {"old": None, "new": layout.config_directory}}
    if create:
        changes["data_directory"] = {"old": content.value, "new": layout.data_directory}
    if look.test:
        reason = create.reason if create else "it has no configuration yet"
        return result(name, f"would make {what}: {reason}", changes)
    if not create and content is not Content.POSTGRES:
        raise CommandFailed(
            f"{layout.data_directory} holds no data, so no server was configured; an earlier step of"
            " this node has the reason"
        )
    settings, notes = {}, []
    if look.plan.role is Role.STANDBY:
        primary = look.spec.nodes[look.plan.primary]
        settings, notes = act.portable_settings(look.spec, layout, primary)
    act.create_cluster(look.spec, layout, settings)
    look.again()
    return result(name, "; ".join([f"made {what}", *notes]), changes)


def _configured(name, what, layout, create):
    """The configuration is there; it must be of the directory that pillar means."""
    configured = act.configured_data_directory(layout)
    # Debian's file may name a link that leads there.
    if os.path.realpath(configured) != os.path.realpath(layout.data_directory):
        raise Refused(
            f"the Debian cluster {what} of this host has its data in {configured or 'no place'},"
            f" the pillar says {layout.data_directory}. Correct repmgr.postgres.data_directory, or"
            " choose another repmgr.postgres.cluster"
        )
    if create is None and membership.has_left(layout):
        changes = {layout.start_file: {"old": "manual", "new": "auto"}}
        if not __opts__["test"]:
            membership.come_back(layout)
        return result(name, f"{what} starts at boot, as its node is back", changes)
    if create is None:
        return result(name, f"{what} is configured for {configured}")
    raise Refused(
        f"{what} is configured, but its data directory {configured} is gone. If a new cluster"
        f" shall begin here, remove the configuration first: 'pg_dropcluster {layout.version}"
        f" {layout.cluster}'"
    )


@reported
def settings_present(name):
    """
    Have the server's settings in a file of ours. Before a changed one is written, PostgreSQL is
    started with it on a scratch directory, in a dry run as well: what keeps it from starting is
    refused, and the old file stays. A server that is new is started with it in the same run.

    name
        Path of the file.

    .. code-block:: yaml

        /etc/postgresql/15/main/conf.d/90-repmgr.conf:
          repmgr_pg.settings_present: []
    """
    look = _look()
    text = limits.text_of(look)
    if not host.holds(name, text) and (look.seen.running or confined.exists(name)):
        _try_out(look)
    return managed.file(
        name,
        text,
        0o644,
        dry=look.test,
        check=lambda text: act.try_settings(look.layout, text),
    )


def _try_out(look):
    """Try the settings and the rules, once a run."""
    spec = look.spec
    tried = (spec.postgres, limits.text_of(look), wanted.hba_block(spec))
    if __context__.get(_TRIED) != tried:
        trial.of_look(look)
        __context__[_TRIED] = tried


@reported
def hba_present(name):
    """
    Have the cluster's lines, and those of pillar's ``postgres: hba``, in a block at the
    head of ``pg_hba.conf``; the file's other lines stay.

    The difference is shown unless a line carries a secret.

    name
        Path of the file.

    .. code-block:: yaml

        /etc/postgresql/15/main/pg_hba.conf:
          repmgr_pg.hba_present: []
    """
    look = _look()
    content, secret = wanted.hba_block(look.spec)
    if not confined.exists(name):
        if not __opts__["test"]:
            raise CommandFailed(f"{name} does not exist; the server is not configured yet")
        changes = {name: {"old": None, "new": "made, with a block of ours"}}
        return result(name, "would be made with the server's configuration", changes)
    old = confined.read(name, errors="surrogateescape")
    text = managed.with_block(old, _BEGIN, _END, content)
    if look.seen.running and text != old:
        _try_out(look)
    return managed.file(name, text, dry=__opts__["test"], show=not secret)


@reported
def start_checked(name):
    """
    Keep ``pg_ctl.conf``: whatever starts the server passes the start check of the guard.

    name
        Path of the file.

    .. code-block:: yaml

        /etc/postgresql/15/main/pg_ctl.conf:
          repmgr_pg.start_checked: []
    """
    look = _look()
    text = guard_files.pg_ctl(look.spec, look.node, look.layout)
    return managed.file(name, text, 0o644, dry=look.test)


@reported
def altered_reset(name):
    """
    Have nothing in ``postgresql.auto.conf`` that keeps this node from its work in the cluster: what
    ALTER SYSTEM said against a setting that repmgr needs, and targets of a former recovery, at which
    a standby would stop or promote itself. All else that ALTER SYSTEM said stays.

    name
        Anything.

    .. code-block:: yaml

        ALTER SYSTEM of this node:
          repmgr_pg.altered_reset: []
    """
    look = _look()
    gone = limits.resets(look)
    if not gone:
        return result(name, "nothing in postgresql.auto.conf has to go")
    changes = {reset.name: {"old": reset.value, "new": None} for reset in gone}
    words = "; ".join(reset.line for reset in gone)
    if look.test:
        return result(name, f"would be done: {words}", changes)
    with look.connection() as connection:
        serverconf.reset(connection, gone)
    look.again()
    left = limits.resets(look)
    return result(name, words, changes, result=not left)


@reported
def running(name, restart=None):
    """
    Have the server running, with its configuration in force.

    Starts it only if the plan of this node says so: a former primary stays down while
    there is another one. A changed file is reloaded. What needs a restart is named in the
    comment, as is what has to wait for other nodes; the restart is done only where it disturbs nobody, before the node is
    registered for the first time, or if asked for.

    name
        Name of the unit.
    restart
        True restarts the server where a setting waits for it, False never does, None
        (default) only on a node that is not registered yet.

    .. code-block:: yaml

        postgresql@15-main:
          repmgr_pg.running: []
    """
    look = _look()
    if not look.seen.running:
        return _start(name, look)
    if restart is None:
        restart = look.seen.server.record(look.node.id) is None
    if look.test and look.plan.action(Step.CLONE):
        # What runs now is put aside before.
        return _start(name, look)
    with look.connection() as connection:
        pending, changes = serverconf.pending(connection), {}
        if pending.stale_files:
            changes["configuration"] = {"old": "older than its files", "new": "reloaded"}
            if not look.test:
                pending = serverconf.reload(connection)
        _require_included(connection, look)
        due = _due(connection, look, pending) if look.test else pending.restart
    if pending.errors:
        raise CommandFailed(
            f"PostgreSQL refuses the new configuration, the old one stays in force: {pending.errors}"
        )
    if due and restart:
        changes["server"] = {"old": f"needs a restart for {due}", "new": "restarted"}
        if look.test:
            act.check_next_start(look.layout, look.seen.server, limits.of_look(look)[0])
            ends = f"{look.seen.server.clients} client session(s) end"
            return result(name, f"would be restarted for {due}; {ends}", changes)
        act.check_next_start(look.layout, look.seen.server)
        act.restart(look.spec, look.layout)
        look.again()
        return result(name, f"restarted for {due}", changes)
    held = limits.of_look(look)[1]
    notes = [h.line for h in held if h.name != limits.SYNCHRONOUS]
    if due:
        notes.insert(0, f"a restart is needed for {due}")
    note = "".join(f"; {line}" for line in notes) + (f" ({survey.RESTART})" if notes else "")
    note += "".join(f"; {h.line}" for h in held if h.name == limits.SYNCHRONOUS)
    if look.test and pending.stale_files:
        note = f", and would be reloaded for {pending.stale_files}{note}"
    return result(name, f"running{note}", changes)


def _due(connection, look, pending):
    """Return the settings that will wait for a restart, once this run has written them."""
    settings, _ = limits.of_look(look)
    gone = {reset.name for reset in limits.resets(look)}
    others = {n for n in pending.restart.split(", ") if n not in gone and n not in settings}
    found = serverconf.restarted_for(connection, look.layout, settings)
    return ", ".join(sorted({*filter(None, others), *found}))


def _require_included(connection, look):
    if not serverconf.configuration(connection, look.layout.settings_file).included:
        raise Refused(f"{existing.NOT_INCLUDED}: {existing.INCLUDE}")


def _start(name, look):
    changes = {"server": {"old": "down", "new": "running"}}
    action = look.todo(Step.START)
    if action is None:
        raise Refused("PostgreSQL went down during this run and was not started: run this again")
    note = ""
    if look.seen.data.backup_label and look.seen.data.standby:
        # A copy that was not started yet.
        forget = act.left_of_recovery if look.test else act.forget_recovery
        gone = forget(look.spec, look.layout)
        words = ", ".join(f"{n} = '{value}'" for n, value in gone.items())
        note = words and f"; left of a recovery of its source and reset: {words}"
    if look.test:
        return result(name, f"would be started: {action.reason}{note}", changes)
    try:
        act.start(look.spec, look.layout)
    except CommandFailed as err:
        # It may be a key of pillar.
        words = trial.objection(look)
        raise CommandFailed("; ".join(filter(None, (str(err), words)))) from err
    look.again()
    with look.connection() as connection:
        errors = serverconf.pending(connection).errors
        _require_included(connection, look)
    if errors:
        raise CommandFailed(f"started, but its configuration has errors: {errors}")
    return result(name, f"started: {action.reason}{note}", changes)


@reported
def mod_watch(name, sfun=None, **_kwargs):
    """
    Announce the reload that a changed file will bring (``running`` only).

    In a real run ``running`` has seen the changed file itself, so this is reached in test
    mode, where the file has not changed yet.
    """
    changes = {"configuration": {"old": "as running", "new": "reloaded"}}
    if sfun == "running" and __opts__["test"]:
        return result(name, "would be reloaded for its changed configuration", changes)
    return result(name, "its configuration is in force")
