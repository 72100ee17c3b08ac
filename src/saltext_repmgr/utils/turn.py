"""What nodes tell each other before a server goes down, through locks and sessions on it.

Each goes by what it sees, and by nobody's word. docs/design-switchover.md has the order of things
and why it is safe; all times that have to fit each other are here.
"""

import contextlib
import time

from saltext_repmgr.guard import locks
from saltext_repmgr.guard import sessions as names
from saltext_repmgr.utils import db
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pause
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.spec import ROUTER_ROLE

# All nodes get their parts at once; a busy minion is some seconds late.
BEGIN_SECONDS = 30
CHECKPOINT_SECONDS = 600
LAST_CHECKPOINT_SECONDS = 20
READY_SECONDS = 30
ROUTER_SECONDS = 5
# A server waits for its archive and its standbys before it is down.
STOP_SECONDS = 60
# From then on it does not wait for standbys that do not become the primary ...
SENDER_SECONDS = 1
# ... and nobody waits for one that should.
HEIR_SECONDS = 15
MARGIN_SECONDS = 5
PROMOTE_SECONDS = 30
JOIN_SECONDS = 60
# A new primary that nobody reaches is frozen and killed by its guard well within that time.
GONE_SECONDS = 15
# What is left then, the next orchestration does.
MOVE_SECONDS = 5
# The guards end the pause by then, whatever became of those that began it.
LEASE_MINUTES = 2
# Whoever follows has the new primary recorded by then, which is done in a moment ...
RECORD_SECONDS = 5
# ... and its repmgrd watches it.
WATCH_SECONDS = 20
# Where the new primary is lost at once, another one is it by then.
SUCCEED_SECONDS = 60
TAKEOVER = "repmgr-takeover"

_TAKE = "SELECT pg_try_advisory_lock(%(class)s, %(lock)s) AS taken"
# Anybody may call a session so; those of another role do not count.
_SESSIONS = """
SELECT count(*) AS number FROM pg_stat_activity
 WHERE application_name = %(name)s AND usename = %(role)s
"""
IS_PRIMARY = "SELECT NOT pg_is_in_recovery() AS yes"
_PAUSED = "SELECT coalesce(repmgr.repmgrd_is_paused(), false) AS yes"


@contextlib.contextmanager
def pausing(look, minutes=LEASE_MINUTES):
    """Pause repmgrd on this node in the block, and for that many minutes at most; a boot ends it."""
    pause.begin(look.spec, look.layout, minutes, lasting=False)
    try:
        yield
    finally:
        # A server that is down cannot be told; the guard does it when it is up.
        with contextlib.suppress(RepmgrError):
            pause.end(look.spec, look.layout)


def locks_held(connection, lock_class=locks.CLASS):
    """Return the numbers of the locks of a class that are held on a server."""
    return [row["lock"] for row in db.rows(connection, locks.HELD, {"class": lock_class})]


def await_turn(spec, primary, whose):
    """Wait until a node is about to change on behalf of ``whose``, and of nobody else."""
    _await_lock(spec, primary, locks.BEGUN, BEGIN_SECONDS)
    _await_lock(spec, primary, locks.READY, CHECKPOINT_SECONDS)
    with observe.member_connection(spec, primary) as connection:
        turns = locks_held(connection, locks.TURN_CLASS)
    if turns != [whose.id]:
        names = [n.name for n in spec.members if n.id in turns]
        if not names:
            raise CommandFailed(
                f"{primary.name} ended the operation for {whose.name} early: nothing was changed on this"
                f" node. The own line of {primary.name} has the reason"
            )
        raise CommandFailed(
            f"{primary.name} is busy with another operation, for {', '.join(names)}: nothing was changed"
            f" on this node for {whose.name}. Wait until that is over, then run this again"
        )


def _await_lock(spec, primary, lock, seconds):
    """Wait until the old primary is that far; it was given up when what it holds is gone."""
    began = False
    for _ in looks(seconds):
        with observe.member_connection(spec, primary) as connection:
            held = locks_held(connection)
        if lock in held:
            return
        if began and locks.BEGUN not in held:
            break
        began = began or locks.BEGUN in held
    raise CommandFailed(
        f"{primary.name} aborted before anything was changed; its own line has the reason"
    )


def goes_on(spec, primary):
    """Whether the old primary is up and about to hand over; None where it does not answer as a
    primary."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, primary) as connection:
            begun = locks.BEGUN in locks_held(connection)
            return begun if db.row(connection, IS_PRIMARY)["yes"] else None
    return None


def looks(seconds, pause_seconds=0.1):
    """Yield again and again until so many seconds are over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause_seconds)


class PrimaryLost(CommandFailed):
    """The new primary is not there any more."""


class Presence:
    """Whether a new primary is still there.

    spec, node
        The wanted cluster and the node that was the primary a moment ago.
    """

    def __init__(self, spec, node):
        self._spec, self._node = spec, node
        self._seen = time.monotonic()

    def check(self):
        """Return whether it answers; raise :class:`PrimaryLost` where it has not for ``GONE_SECONDS``."""
        there = is_there(self._spec, self._node)
        if there:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > GONE_SECONDS:
            raise PrimaryLost(f"{self._node.name} was lost right after its promotion")
        return there

    def is_lost(self):
        """Return True when it has not answered for so long, and False as soon as it does."""
        try:
            for _ in looks(2 * GONE_SECONDS, 0.5):
                if self.check():
                    break
        except PrimaryLost:
            return True
        return False


def is_primary(spec, node):
    """Whether a node's server answers as a primary."""
    return _acts_as_primary(spec, node) is True


def is_there(spec, node):
    """Whether a node's server answers as a primary, or has no room for this session."""
    return _acts_as_primary(spec, node) in (True, Reach.REJECTED)


def is_standby(spec, node):
    """Whether a node's server answers as a standby."""
    return _acts_as_primary(spec, node) is False


def _acts_as_primary(spec, node):
    """Return whether it does; of one that does not say so the ``Reach``, or None."""
    try:
        with observe.member_connection(spec, node) as connection:
            return db.row(connection, IS_PRIMARY)["yes"]
    except ConnectionFailed as err:
        return err.kind
    except RepmgrError:
        return None


def begin(connection, whose):
    """Have others know for whom something is about to happen here, once this server is fit for a
    short stop.

    connection
        A superuser's to this node's server; what is told ends with it.
    whose
        The node (:class:`~saltext_repmgr.utils.spec.NodeSpec`) that is to be the primary, or that
        goes down and comes back.
    """
    _take(connection, locks.BEGUN)
    _take(connection, whose.id, locks.TURN_CLASS)
    _checkpoint(connection, CHECKPOINT_SECONDS)
    _take(connection, locks.READY)


def _take(connection, lock, lock_class=locks.CLASS):
    if not db.row(connection, _TAKE, {"class": lock_class, "lock": lock})["taken"]:
        raise CommandFailed(
            "another switchover or restart is under way on this node; nothing was changed. Wait until"
            " it is over, then run this again"
        )


def _checkpoint(connection, seconds):
    db.run(connection, f"SET statement_timeout = '{seconds}s'")
    db.run(connection, "CHECKPOINT")


def have_clients_wait(connection):
    """Return when the next stop is a short one and every router has paused."""
    # What was written since the first one; the next one is the shutdown's. Nobody is paused for ever.
    _checkpoint(connection, LAST_CHECKPOINT_SECONDS)
    _take(connection, locks.PLANNED)
    _await_routers(connection)


def _await_routers(connection):
    """Wait until every router that looks at this server has paused."""
    for _ in looks(ROUTER_SECONDS, 0.02):
        waiting = sessions(connection, names.ROUTER, ROUTER_ROLE)
        if not waiting:
            return
    routers = waiting + sessions(connection, names.ROUTER_PAUSED, ROUTER_ROLE)
    raise CommandFailed(
        f"{waiting} of {routers} PgBouncers did not pause within {ROUTER_SECONDS} s; nothing"
        " was changed, and their clients continue. Either a transaction stays open ('SHOW SERVERS' in"
        " the console of PgBouncer), or a PgBouncer hangs ('salt-run repmgr.status' names it)"
    )


def sessions(connection, name, role):
    """Return how many sessions of that name and role a server has."""
    return db.row(connection, _SESSIONS, {"name": name, "role": role})["number"]


def not_paused(spec, nodes):
    """Return the names of those whose repmgrd is not known to be paused."""
    return [n.name for n in nodes if not _is_paused(spec, n)]


def _is_paused(spec, node):
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, node) as connection:
            return db.row(connection, _PAUSED)["yes"]
    return False


def await_none(find):
    """Wait until a function returns no names any more, of those that are not ready."""
    for _ in looks(READY_SECONDS):
        waiting = find()
        if not waiting:
            return
    raise CommandFailed(
        f"{', '.join(waiting)} did not get ready within {READY_SECONDS} s; nothing was changed. Check"
        " 'salt-run repmgr.status', then run this again"
    )
