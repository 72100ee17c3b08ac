"""A node's part in a switchover. Each goes by what it sees of the others, and by nobody's word.

docs/design-switchover.md has the order of things and why it is safe.
"""

import contextlib
import select
import time

from saltext_repmgr.guard import locks
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pause
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import slots
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.plan import Step

# All nodes get their parts at once; a busy minion is some seconds late.
BEGIN_SECONDS = 30
CHECKPOINT_SECONDS = 600
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
# Of a hundredth of a second and more each; nearly all promotions are over by then.
WAKE_LOOKS = 20
RECORD_SECONDS = 30
FOLLOW_SECONDS = 60
# What is left then, the next orchestration does.
MOVE_SECONDS = 5
# The guards end the pause by then, whatever became of those that began it.
LEASE_MINUTES = 2

TAKEOVER = "repmgr-takeover"
ROUTER = "repmgr-router"
# A start check elsewhere takes a node with such a session for one that is about to be promoted.
_VOTE = "repmgr-guard-vote"

_TAKE = "SELECT pg_try_advisory_lock(%(class)s, %(lock)s) AS taken"
_ARMED = "SELECT count(*) AS number FROM pg_stat_activity WHERE application_name = %(name)s"
_SENDERS = "SELECT pid FROM pg_stat_replication WHERE application_name <> %(heir)s"
_IS_PRIMARY = "SELECT NOT pg_is_in_recovery() AS yes"
# repmgr's commands ask its records who the primary is.
_RECORDED = """
SELECT coalesce(bool_or(active AND type = 'primary'), false) AS yes
  FROM repmgr.nodes WHERE node_id = %(id)s
"""
_PAUSED = "SELECT coalesce(repmgr.repmgrd_is_paused(), false) AS yes"


def take_part(look, old, target, salt):
    """Do this node's part and return what became of it, in words.

    look
        A :class:`~saltext_repmgr.utils.look.Look` at this node.
    old, target
        Names of the primary and of the node that shall be it.
    salt
        Salt's ``__salt__``.
    """
    if look.node.name == old:
        return _hand_over(look, target, salt)
    primary = look.spec.nodes[old]
    _await_lock(look.spec, primary, locks.BEGUN, BEGIN_SECONDS)
    _await_lock(look.spec, primary, locks.READY, CHECKPOINT_SECONDS)
    with _paused(look):
        if look.node.name == target:
            return _take_over(look, primary, salt)
        return _follow(look, primary, look.spec.nodes[target], salt)


@contextlib.contextmanager
def _paused(look, minutes=LEASE_MINUTES):
    pause.begin(look.spec, look.layout, minutes)
    try:
        yield
    finally:
        # A server that is down cannot be told; the guard does it when the time is over.
        with contextlib.suppress(RepmgrError):
            pause.end(look.spec, look.layout)


# -- what the nodes see of each other ---------------------------------------------------------


def _held(connection):
    rows = db.rows(connection, locks.HELD, {"class": locks.CLASS})
    return [row["lock"] for row in rows]


def _await_lock(spec, primary, lock, seconds):
    """Wait until the old primary is that far; it was given up when what it holds is gone."""
    began = False
    for _ in _looks(seconds):
        with observe.member_connection(spec, primary) as connection:
            held = _held(connection)
        if lock in held:
            return
        if began and locks.BEGUN not in held:
            break
        began = began or locks.BEGUN in held
    raise CommandFailed(f"{primary.name} gave up before anything was touched: see what it says")


def _looks(seconds, pause_seconds=0.1):
    """Yield until so many seconds are over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause_seconds)


def _is_primary(spec, node):
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, node) as connection:
            return db.row(connection, _IS_PRIMARY)["yes"]
    return False


# -- the old primary --------------------------------------------------------------------------


def _hand_over(look, target, salt):
    spec, layout = look.spec, look.layout
    with observe.local_connection(spec, layout) as connection:
        _take(connection, locks.BEGUN)
        _checkpoint(connection)
        _take(connection, locks.READY)
        with _paused(look):
            try:
                return _change_places(look, spec.nodes[target], connection, salt)
            except RepmgrError:
                if _is_primary(spec, look.node):
                    # It streams from nobody, and nobody else would drop its slot there.
                    membership.drop_member_slot(spec, spec.nodes[target], look.node.slot)
                raise


def _change_places(look, heir, connection, salt):
    _await_ready(look, heir, connection)
    # Nothing that can be done before clients wait is left for later.
    membership.aim(look.spec, look.node, look.layout, connection, heir)
    _have_clients_wait(connection)
    senders = db.rows(connection, _SENDERS, {"heir": heir.name})
    began = time.monotonic()
    _stop(look, heir, [sender["pid"] for sender in senders])
    for _ in _looks(PROMOTE_SECONDS, 0.05):
        if _is_primary(look.spec, heir):
            break
    else:
        return _step_back(look, heir, salt)
    seconds = time.monotonic() - began
    _join(look, heir.name, salt)
    return f"a standby of {heir.name}; nobody took writes for at most {seconds:.2f} s"


def _have_clients_wait(connection):
    # What was written since the first one; the next one is the shutdown's.
    _checkpoint(connection)
    _take(connection, locks.PLANNED)
    _await_routers(connection)


def _take(connection, lock):
    if not db.row(connection, _TAKE, {"class": locks.CLASS, "lock": lock})["taken"]:
        raise CommandFailed("another switchover is under way here; wait until it is over")


def _checkpoint(connection):
    db.run(connection, f"SET statement_timeout = '{CHECKPOINT_SECONDS}s'")
    db.run(connection, "CHECKPOINT")


def _await_ready(look, heir, connection):
    """Wait until the heir watches this server and no repmgrd would take it for lost."""
    away = {n.name for n in look.spec.members if drained.is_recorded(look.seen.server, n)}
    away |= {look.node.name, heir.name}
    others = [n for n in look.spec.members if n.name not in away]

    def waiting():
        armed = db.row(connection, _ARMED, {"name": TAKEOVER})["number"]
        return ([] if armed else [heir.name]) + _not_paused(look.spec, others)

    _await_none(waiting)


def _not_paused(spec, nodes):
    return [n.name for n in nodes if not _is_paused(spec, n)]


def _await_none(find):
    for _ in _looks(READY_SECONDS):
        waiting = find()
        if not waiting:
            return
    raise CommandFailed(
        f"{', '.join(waiting)} did not make ready within {READY_SECONDS} s; nothing was touched"
    )


def _is_paused(spec, node):
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, node) as connection:
            return db.row(connection, _PAUSED)["yes"]
    return False


def _await_routers(connection):
    """Wait until every router that looks at this server has paused."""
    for _ in _looks(ROUTER_SECONDS, 0.02):
        routers = db.row(connection, _ARMED, {"name": ROUTER})["number"]
        paused = _held(connection).count(locks.PAUSED)
        if paused >= routers:
            return
    raise CommandFailed(
        f"{routers - paused} of {routers} routers did not pause within {ROUTER_SECONDS} s: a"
        " transaction may be open for too long ('SHOW SERVERS' in PgBouncer's console). They go on;"
        " nothing was touched"
    )


def _stop(look, heir, senders):
    """Stop the server, or have it running as it was.

    It is not down before every standby that is connected has its last record.

    senders
        The processes that serve other standbys than the heir. One of those that hangs must not
        keep all clients waiting.
    """
    act.begin_stop(look.layout)
    began = time.monotonic()
    for _ in _looks(STOP_SECONDS, 0.05):
        if not act.runs(look.layout):
            return
        waited = time.monotonic() - began
        if waited > SENDER_SECONDS and senders:
            act.end_processes(senders)
            senders = ()
        if waited > HEIR_SECONDS and not _is_primary(look.spec, heir):
            break
    act.stop_at_once(look.layout)
    if _is_primary(look.spec, heir):
        return
    act.start(look.spec, look.layout)
    raise CommandFailed(
        f"{look.node.name} was not down within {HEIR_SECONDS} s and stays the primary;"
        f" see its log, and whether {heir.name} still takes what it sends"
    )


def _step_back(look, heir, salt):
    """The heir is no primary. Its start check decides whether this node may be one again."""
    try:
        act.start(look.spec, look.layout)
    except RepmgrError:
        # It was promoted in the last moment.
        if not _is_primary(look.spec, heir):
            raise
        _join(look, heir.name, salt)
        return f"a standby of {heir.name}, which took its time"
    raise CommandFailed(
        f"{heir.name} did not become the primary within {PROMOTE_SECONDS} s; {look.node.name} is"
        f" the primary again. See what {heir.name} says, and its log"
    )


def _join(look, upstream, salt):
    """Make this stopped former primary a standby; it has nothing that the new one lacks."""
    act.match_limits(look.layout, look.seen, upstream)
    membership.start_as_standby(look.spec, look.layout)
    _await_record(look.spec, look.spec.nodes[upstream])
    _settle(look, salt)
    _drop_unused_slots(look)


def _drop_unused_slots(look):
    """Drop the slots here of those that stream from elsewhere by now."""
    for _ in _looks(MOVE_SECONDS, 0.2):
        servers = planning.visible(look.seen)
        found = slots.strays(look.spec, servers, look.plan.primary)
        found = [s for s in found if s.holder == look.node.name]
        if not found:
            return
        with look.connection() as connection:
            for stray in found:
                if stray.unused:
                    membership.drop_slot(connection, stray.slot.slot_name)
        look.again()


def _await_record(spec, heir):
    for _ in _looks(RECORD_SECONDS):
        with contextlib.suppress(RepmgrError):
            with observe.member_connection(spec, heir) as connection:
                if db.row(connection, _RECORDED, {"id": heir.id})["yes"]:
                    return
    raise CommandFailed(
        f"{heir.name} is the primary and has not been registered as such for {RECORD_SECONDS} s;"
        " 'salt-run state.orchestrate repmgr.cluster' does that, and brings this node back"
    )


# -- the candidate ----------------------------------------------------------------------------


def _take_over(look, primary, salt):
    spec, layout = look.spec, look.layout
    with observe.local_connection(spec, layout) as own:
        timeline = db.row(own, "SELECT received_tli AS tli FROM pg_stat_wal_receiver")["tli"]
        _watch(spec, primary)
        # From here on a start check elsewhere waits for this node.
        with _announced(spec, layout):
            _await_last_byte(look, primary, own, timeline)
            promote(own, look.node.name)
    _settle(look, salt)
    return "the primary"


def promote(own, name):
    """Have the server promote itself; what repmgr's own command does, without its start.

    That and its looks at the others take a third of the time for which clients wait.

    own
        A superuser's connection to it.
    name
        What it is called where that fails.
    """
    db.row(own, "SELECT pg_promote(false) AS asked")
    for number, _ in enumerate(_looks(PROMOTE_SECONDS, 0.01), start=1):
        if db.row(own, _IS_PRIMARY)["yes"]:
            return
        if number % WAKE_LOOKS == 0:
            # A server that is asked while it starts a WAL receiver for the one that has gone takes
            # note, and then sleeps for what is left of wal_retrieve_retry_interval. This wakes it.
            db.row(own, "SELECT pg_reload_conf() AS asked")
    raise CommandFailed(
        f"{name} was told to promote itself and had not done so after {PROMOTE_SECONDS} s;"
        " its server's log says why"
    )


def _watch(spec, primary):
    """Return when the old primary ends its sessions, or what it holds is gone."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, primary, name=TAKEOVER) as connection:
            while locks.BEGUN in _held(connection):
                # The end of the session can be read from its socket.
                select.select([connection.fileno()], [], [], 0.5)


@contextlib.contextmanager
def _announced(spec, layout):
    with observe.local_connection(spec, layout) as connection:
        db.run(
            connection, "SELECT set_config('application_name', %(name)s, false)", {"name": _VOTE}
        )
        yield


def _await_last_byte(look, primary, own, timeline):
    """Wait until the old primary has ended its WAL in good order and this node has all of it."""
    for _ in _looks(HEIR_SECONDS + MARGIN_SECONDS, 0.02):
        with own.cursor() as cursor:
            down = wal.shut_down_cleanly(cursor, look.layout.data_directory, timeline)
        # A server that was started again may not have written anything yet.
        if _is_primary(look.spec, primary):
            raise CommandFailed(f"{primary.name} is still the primary: see what it says")
        if down:
            return
    raise CommandFailed(
        f"{primary.name} is not down in good order, or its last bytes did not arrive;"
        f" {look.node.name} stays a standby"
    )


# -- a server that goes down and comes back as what it was -------------------------------------


@contextlib.contextmanager
def going_down(look, others, minutes):
    """Have nobody take this node's server for lost while it is stopped and started in the block.

    others
        Names of the nodes that :func:`keep_still` meanwhile.
    minutes
        After which repmgrd may take it for lost all the same.
    """
    others = [look.spec.nodes[name] for name in others]
    with observe.local_connection(look.spec, look.layout) as connection:
        _take(connection, locks.BEGUN)
        _checkpoint(connection)
        with _paused(look, minutes):
            _await_none(lambda: _not_paused(look.spec, others))
            if db.row(connection, _IS_PRIMARY)["yes"] and not look.node.is_witness:
                _have_clients_wait(connection)
            yield


def keep_still(look, node, minutes):
    """Pause repmgrd while a node's server goes down and comes back; return what was, in words."""
    _await_lock(look.spec, node, locks.BEGUN, BEGIN_SECONDS)
    with _paused(look, minutes):
        for _ in _looks(60 * minutes, 0.3):
            with contextlib.suppress(RepmgrError):
                with observe.member_connection(look.spec, node) as connection:
                    if locks.BEGUN not in _held(connection):
                        return f"kept still while {node.name} was away"
    raise CommandFailed(f"{node.name} was not back within {minutes} minutes; see what it says")


# -- all others -------------------------------------------------------------------------------


def _follow(look, primary, heir, salt):
    gone = None
    for _ in _looks(READY_SECONDS + ROUTER_SECONDS + HEIR_SECONDS + PROMOTE_SECONDS):
        if _is_primary(look.spec, heir):
            _settle(look, salt)
            return f"follows {heir.name}"
        if _goes_on(look.spec, primary):
            continue
        if _is_primary(look.spec, primary):
            return f"still with {primary.name}, which stays the primary"
        gone = gone or time.monotonic()
        if time.monotonic() - gone > HEIR_SECONDS + PROMOTE_SECONDS:
            break
    raise CommandFailed(f"{heir.name} did not become the primary: see what it says")


def _goes_on(spec, primary):
    """Whether the old primary is up and about to hand over."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, primary) as connection:
            return locks.BEGUN in _held(connection)
    return False


def _settle(look, salt):
    """Do what the plan says of a running node until nothing is left: follow, register."""
    left = ""
    for _ in _looks(FOLLOW_SECONDS, 0.2):
        plan = look.again().plan
        left = plan.refusal or ", ".join(f"{a.step.value} ({a.reason})" for a in plan.actions)
        if plan.refusal:
            # Others are on their way, too.
            continue
        if plan.action(Step.FOLLOW):
            old = membership.moved_from(look.spec, look.seen, plan)
            membership.follow(look.spec, look.node, look.layout, look.spec.nodes[plan.source])
            if old is not None:
                membership.drop_member_slot(look.spec, old, look.node.slot)
        elif plan.action(Step.REGISTER):
            registration.register(look, salt)
        elif not plan.actions:
            return
    raise CommandFailed(
        f"after {FOLLOW_SECONDS} s this is still to do: {left};"
        " 'salt-run state.orchestrate repmgr.cluster' does it"
    )
