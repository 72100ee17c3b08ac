"""The candidate's part in a switchover: it waits for the last byte, and promotes itself."""

import contextlib
import logging
import select

from saltext_repmgr.guard import locks
from saltext_repmgr.guard import sessions
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.spec import Role

log = logging.getLogger(__name__)

# Of a hundredth of a second and more each; nearly all promotions are over by then.
_WAKE_LOOKS = 20


def take_over(look, primary, salt):
    """Be the primary once the old one is down and nothing of it is missing; return that in words.

    primary
        The node that is it now.
    salt
        Salt's ``__salt__``.
    """
    spec, layout = look.spec, look.layout
    with observe.local_connection(spec, layout) as own:
        receivers = db.rows(own, "SELECT received_tli AS tli FROM pg_stat_wal_receiver")
        if not receivers:
            raise CommandFailed(
                f"candidate {look.node.name} no longer streams from {primary.name}; nothing was"
                " changed. The PostgreSQL log of the candidate has the reason"
            )
        timeline = receivers[0]["tli"]
        _watch(spec, primary, f"{turn.TAKEOVER}-{look.node.id}")
        # From here on a start check elsewhere waits for this node.
        with announced(spec, layout):
            _await_last_byte(look, primary, own, timeline)
            become_primary(look, own)
    settle(look, salt)
    return "now the primary"


def settle(look, salt):
    """Have repmgr, and whoever hears of its events, know of this new primary."""
    if look.again().plan.role is Role.PRIMARY:
        registration.register(look, salt)
    settling.settle(look.again(), salt)


def become_primary(look, own, lost=None):
    """Promote this node and record it as the primary, or leave it the standby that it is.

    own
        A superuser's connection to its server.
    lost
        The node that was the primary in between, and is gone; or None.
    """
    try:
        promote(own, look.node.name)
    except RepmgrError:
        if not turn.is_primary(look.spec, look.node):
            _withdraw(look.layout)
            raise
    try:
        registration.lead(own, look.node, lost)
    except RepmgrError as err:
        # It is the primary; the rest is done by repmgr's own command.
        log.warning("%s is promoted, and not yet in repmgr's metadata: %s", look.node.name, err)


def promote(own, name):
    """Have the server promote itself; what repmgr's own command does, without its start.

    That and its looks at the others take a third of the time for which clients wait.

    own
        A superuser's connection to it.
    name
        What it is called where that fails.
    """
    db.row(own, "SELECT pg_promote(false) AS asked")
    for number, _ in enumerate(turn.looks(turn.PROMOTE_SECONDS, 0.01), start=1):
        if db.row(own, turn.IS_PRIMARY)["yes"]:
            return
        if number % _WAKE_LOOKS == 0:
            # A server that is asked while it starts a WAL receiver for the one that has gone takes
            # note, and then sleeps for what is left of wal_retrieve_retry_interval. This wakes it.
            db.row(own, "SELECT pg_reload_conf() AS asked")
    raise CommandFailed(
        f"{name} was told to promote itself and is still a standby after {turn.PROMOTE_SECONDS} s;"
        " its PostgreSQL log has the reason"
    )


def _withdraw(layout):
    """Make sure that a promotion which was asked for does not happen any more.

    PostgreSQL has no other means for that than an end and a start. Meanwhile the old primary waits
    for this node, and a server that was promoted in the last moment is left down.
    """
    act.stop_at_once(layout)
    if host.data_directory(layout).standby:
        host.change(["systemctl", "start", "--no-block", layout.service])


def _watch(spec, primary, name):
    """Return when the old primary ends its sessions, or what it holds is gone."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, primary, name=name) as connection:
            while locks.BEGUN in turn.locks_held(connection):
                # The end of the session can be read from its socket.
                select.select([connection.fileno()], [], [], 0.5)


@contextlib.contextmanager
def announced(spec, layout, name=sessions.VOTE):
    """Tell the others something, by the name of a session on this server, in the block."""
    with observe.local_connection(spec, layout) as connection:
        db.run(connection, "SELECT set_config('application_name', %(name)s, false)", {"name": name})
        yield


def _await_last_byte(look, primary, own, timeline):
    """Wait until the old primary has ended its WAL in good order and this node has all of it."""
    for _ in turn.looks(turn.HEIR_SECONDS + turn.MARGIN_SECONDS, 0.02):
        with own.cursor() as cursor:
            down = wal.shut_down_cleanly(cursor, look.layout.data_directory, timeline)
        # A server that was started again may not have written anything yet.
        if turn.is_primary(look.spec, primary):
            raise CommandFailed(
                f"{look.node.name} was not promoted: {primary.name} is still the primary. The reason"
                f" stands under 'nodes', in the line of {primary.name}"
            )
        if down:
            return
    raise CommandFailed(
        f"{look.node.name} was not promoted and stays a standby: {primary.name} did not shut down"
        " cleanly, or its last WAL did not arrive. Check 'salt-run repmgr.status'"
    )
