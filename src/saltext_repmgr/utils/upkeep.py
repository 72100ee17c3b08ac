"""A node's part in rolling work: its server is restarted, or gets new programs."""

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import downtime
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import host
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import packages
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import serverconf
from saltext_repmgr.utils import trial
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError

RESTART_MINUTES = 2
UPGRADE_MINUTES = 15
_STREAM_SECONDS = 60

# One that has never been in our file comes from another one yet.
_PENDING = """
SELECT name, current_setting(name) AS value FROM pg_settings
 WHERE pending_restart AND name = ANY (%(names)s)
"""


def configure(look):
    """Write the server's settings, as far as they may be in force now, and have it read them.

    Returns whether anything had, or in a dry run has, to be written.
    """
    text, gone = limits.text_of(look.allowed()), limits.resets(look)
    if look.test:
        return bool(gone) or not host.holds(look.layout.settings_file, text)
    if not host.holds(look.layout.settings_file, text):
        trial.of_look(look)
    changed = act.write_settings(look.layout, text)
    with look.connection() as connection:
        serverconf.reset(connection, gone)
    with look.connection() as connection:
        errors = serverconf.reload(connection).errors
    if errors:
        raise CommandFailed(
            f"PostgreSQL refuses the new configuration, the old one stays in force: {errors}"
        )
    return changed or bool(gone)


def restart(look, name, others):
    """Do this node's part while the server of ``name`` is restarted; return what was, in words.

    others
        Names of those that keep still meanwhile.
    """
    if look.node.name != name:
        return downtime.keep_still(look, look.spec.nodes[name], RESTART_MINUTES)
    _require(look, others)
    configure(look)
    with downtime.going_down(look, others, RESTART_MINUTES):
        _restart(look)
        _await_stream(look)
    return "restarted"


def upgrade(look, name, others, salt):
    """The same while ``name`` gets newer packages.

    salt
        Salt's ``__salt__``.
    """
    if look.node.name != name:
        return downtime.keep_still(look, look.spec.nodes[name], UPGRADE_MINUTES)
    if is_primary(look):
        raise Refused(
            f"{name} is the primary; run 'salt-run repmgr.upgrade', which moves the primary first"
        )
    _require(look, others)
    configure(look)
    with downtime.going_down(look, others, UPGRADE_MINUTES):
        try:
            found = packages.upgrade(look.layout, salt)
        finally:
            _run_new_programs(look)
        _await_stream(look)
    act.restart_daemon(guard_files.UNIT)
    if look.node.is_witness and look.again().seen.server.outgrown:
        # Nothing is replicated to it.
        _update_extension(look)
    # It would not run with another extension than its own, and is started once that is new, too.
    verb = "stop" if look.again().seen.server.outgrown else "restart"
    act.restart_daemon(observe.REPMGRD_UNIT, verb)
    return "upgraded" if found else "runs the installed packages now"


def update_extension(look):
    """Bring repmgr's extension to the version that the installed packages have, on the primary."""
    if not is_primary(look):
        raise Refused(
            f"{look.node.name} is not the primary; the extension repmgr is updated on the primary"
        )
    return f"extension repmgr {_update_extension(look)}"


def _update_extension(look):
    with observe.local_connection(look.spec, look.layout) as connection:
        db.run(connection, "ALTER EXTENSION repmgr UPDATE")
    # What is new in it.
    metadata.create(look.connection, look.spec.password)
    return look.again().seen.server.extension


def is_primary(look):
    """Whether this node acts as the primary."""
    return not look.node.is_witness and look.seen.running and not look.seen.server.in_recovery


def _require(look, others):
    """Refuse to take a primary away unless nobody fails over meanwhile."""
    still = {look.node.name, *others}
    awake = [name for name in planning.visible(look.seen) if name not in still]
    if is_primary(look) and awake:
        raise Refused(
            f"{look.node.name} is the primary, and repmgrd of {', '.join(awake)} could fail over"
            f" meanwhile; run 'salt-run repmgr.restart nodes={look.node.name}' instead"
        )


def _restart(look):
    layout = look.layout
    names = list(pg_settings.server_settings(look.spec, look.node))
    with look.connection() as connection:
        former = db.rows(connection, _PENDING, {"names": names})
    act.check_next_start(layout, look.seen.server)
    _stop(look)
    try:
        act.start(look.spec, layout)
    except RepmgrError as err:
        # It ran with these.
        settings, _ = limits.settle(look.spec, look.node, look.seen)
        settings.update((row["name"], row["value"]) for row in former)
        act.write_settings(layout, pg_settings.render(settings))
        act.start(look.spec, layout)
        names = ", ".join(row["name"] for row in former)
        raise CommandFailed(
            f"PostgreSQL on {look.node.name} does not start with the new settings ({names}) and runs"
            f" with the old ones again. Correct the settings in pillar: {err}"
        ) from err


def _stop(look):
    if not is_primary(look):
        act.stop(look.layout)
        return
    # Clients wait, and others may take it for lost once they are not told to keep still any more.
    act.begin_stop(look.layout)
    for _ in turn.looks(turn.STOP_SECONDS):
        if not act.runs(look.layout):
            return
    act.stop_at_once(look.layout)


def _run_new_programs(look):
    """Packages stop and start the server by themselves, but not on every host."""
    pid = host.postmaster_pid(look.layout.data_directory)
    if pid is None:
        act.start(look.spec, look.layout)
    elif host.replaced({"postgres": pid}):
        act.restart(look.spec, look.layout)


def _await_stream(look):
    if not look.node.is_witness and look.seen.server.in_recovery:
        act.wait_streaming(look.spec, look.layout, _STREAM_SECONDS)
