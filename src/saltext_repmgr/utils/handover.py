"""A node's part in a switchover. Each goes by what it sees of the others, and by nobody's word.

docs/design-switchover.md has the order of things and why it is safe.
"""

import contextlib
import select
import time
from pathlib import Path

from saltext_repmgr.guard import locks
from saltext_repmgr.guard import wal
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import host
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pause
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import slots
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import ROLE_NAME
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
# Of a hundredth of a second and more each; nearly all promotions are over by then.
WAKE_LOOKS = 20
JOIN_SECONDS = 60
# A new primary that nobody reaches is frozen and killed by its guard well within that time.
GONE_SECONDS = 15
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
# Anybody may call a session so; those of another role do not count.
_SESSIONS = """
SELECT count(*) AS number FROM pg_stat_activity
 WHERE application_name = %(name)s AND usename = %(role)s
"""
_SENDERS = "SELECT pid FROM pg_stat_replication WHERE application_name <> %(heir)s"
_IS_PRIMARY = "SELECT NOT pg_is_in_recovery() AS yes"
# repmgr's commands ask its records who the primary is.
_RECORDED = """
SELECT coalesce(bool_or(active AND type = 'primary'), false) AS yes
  FROM repmgr.nodes WHERE node_id = %(id)s
"""
_STREAMS = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS yes"
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
    _await_turn(look.spec, primary, look.spec.nodes[target])
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


def _held(connection, lock_class=locks.CLASS):
    return [row["lock"] for row in db.rows(connection, locks.HELD, {"class": lock_class})]


def _await_turn(spec, primary, whose):
    """Wait until a node is about to change on behalf of ``whose``, and of nobody else."""
    _await_lock(spec, primary, locks.BEGUN, BEGIN_SECONDS)
    _await_lock(spec, primary, locks.READY, CHECKPOINT_SECONDS)
    with observe.member_connection(spec, primary) as connection:
        turns = _held(connection, locks.TURN_CLASS)
    if turns != [whose.id]:
        names = [n.name for n in spec.members if n.id in turns]
        raise CommandFailed(
            f"{primary.name} is at work for {', '.join(names) or 'nobody'} and not for {whose.name}:"
            " nothing was touched here; wait until that is over"
        )


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
        _begin(connection, spec.nodes[target])
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
    if not _is_armed(connection, heir):
        raise CommandFailed(f"{heir.name} gave up: see what it says; nothing was touched")
    senders = db.rows(connection, _SENDERS, {"heir": heir.name})
    began = time.monotonic()
    _stop(look, heir, [sender["pid"] for sender in senders])
    for _ in _looks(PROMOTE_SECONDS, 0.05):
        if _is_primary(look.spec, heir):
            break
    else:
        return _step_back(look, heir, salt)
    seconds = time.monotonic() - began
    _join(look, heir, salt)
    return f"a standby of {heir.name}; nobody took writes for at most {seconds:.2f} s"


def _have_clients_wait(connection):
    # What was written since the first one; the next one is the shutdown's. Nobody is paused for ever.
    _checkpoint(connection, LAST_CHECKPOINT_SECONDS)
    _take(connection, locks.PLANNED)
    _await_routers(connection)


def _begin(connection, whose):
    """Have others know for whom something is about to happen here, once this server is fit for a
    short stop."""
    _take(connection, locks.BEGUN)
    _take(connection, whose.id, locks.TURN_CLASS)
    _checkpoint(connection, CHECKPOINT_SECONDS)
    _take(connection, locks.READY)


def _take(connection, lock, lock_class=locks.CLASS):
    if not db.row(connection, _TAKE, {"class": lock_class, "lock": lock})["taken"]:
        raise CommandFailed("another switchover is under way here; wait until it is over")


def _checkpoint(connection, seconds):
    db.run(connection, f"SET statement_timeout = '{seconds}s'")
    db.run(connection, "CHECKPOINT")


def _await_ready(look, heir, connection):
    """Wait until the heir watches this server and no repmgrd would take it for lost."""
    away = {n.name for n in look.spec.members if drained.is_recorded(look.seen.server, n)}
    away |= {look.node.name, heir.name}
    others = [n for n in look.spec.members if n.name not in away]

    def waiting():
        armed = _is_armed(connection, heir)
        return ([] if armed else [heir.name]) + _not_paused(look.spec, others)

    _await_none(waiting)


def _is_armed(connection, heir):
    """Whether that node, and no other, watches this server."""
    return _sessions(connection, f"{TAKEOVER}-{heir.id}", ROLE_NAME) > 0


def _sessions(connection, name, role):
    return db.row(connection, _SESSIONS, {"name": name, "role": role})["number"]


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
        routers = _sessions(connection, ROUTER, ROUTER_ROLE)
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
        _join(look, heir, salt)
        return f"a standby of {heir.name}, which took its time"
    raise CommandFailed(
        f"{heir.name} did not become the primary within {PROMOTE_SECONDS} s; {look.node.name} is"
        f" the primary again. See what {heir.name} says, and its log"
    )


def _join(look, heir, salt):
    """Make this stopped former primary a standby; it has nothing that the new one lacks."""
    timeline = host.data_directory(look.layout).control.timeline
    act.match_limits(look.layout, look.seen, heir.name)
    membership.start_as_standby(look.spec, look.layout)
    if not _is_joined(look, heir):
        _take_back(look, heir, timeline)
    _settle(look, salt)
    _drop_unused_slots(look)


def _is_joined(look, heir):
    """Wait until this standby streams from the new primary, which is recorded as such; return
    False where that has gone."""
    answered = time.monotonic()
    recorded = None
    for _ in _looks(JOIN_SECONDS):
        recorded = _is_recorded(look.spec, heir)
        if recorded and _streams(look):
            return True
        if recorded is not None:
            answered = time.monotonic()
        elif time.monotonic() - answered > GONE_SECONDS:
            return False
    act.wait_streaming(look.spec, look.layout, timeout=1)
    raise CommandFailed(
        f"{heir.name} is the primary and has not been registered as such for {JOIN_SECONDS} s;"
        " 'salt-run state.orchestrate repmgr.cluster' does that, and brings this node back"
    )


def _is_recorded(spec, heir):
    """Whether a node is recorded as the primary; None: it does not answer."""
    with contextlib.suppress(RepmgrError):
        with observe.member_connection(spec, heir) as connection:
            return db.row(connection, _RECORDED, {"id": heir.id})["yes"]
    return None


def _streams(look):
    with contextlib.suppress(RepmgrError):
        with observe.local_connection(look.spec, look.layout) as connection:
            return db.row(connection, _STREAMS)["yes"]
    return False


def _take_back(look, heir, timeline):
    """Be the primary again in place of one that went away before anybody followed it, and say so.

    timeline
        On which this node was the primary.
    """
    spec, layout = look.spec, look.layout
    followed = Path(layout.data_directory, "pg_wal", f"{timeline + 1:08X}.history")
    act.stop(layout)
    try:
        if followed.exists():
            raise CommandFailed("this node followed it")
        membership.start_as_primary(spec, layout)
    except RepmgrError as err:
        membership.start_as_standby(spec, layout)
        raise CommandFailed(
            f"{heir.name} went away right after its promotion, and somebody followed it already:"
            " there is no primary before it is back. Where it is lost, promote that standby ('salt"
            f" NODE repmgr.standby_promote'). {err}"
        ) from err
    raise CommandFailed(
        f"{heir.name} went away right after its promotion, and nobody had followed it:"
        f" {look.node.name} is the primary again. See what became of {heir.name}"
    )


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


# -- the candidate ----------------------------------------------------------------------------


def _take_over(look, primary, salt):
    spec, layout = look.spec, look.layout
    with observe.local_connection(spec, layout) as own:
        receivers = db.rows(own, "SELECT received_tli AS tli FROM pg_stat_wal_receiver")
        if not receivers:
            raise CommandFailed(
                f"{look.node.name} does not stream any more: its server's log says why; nothing was"
                " touched"
            )
        timeline = receivers[0]["tli"]
        _watch(spec, primary, f"{TAKEOVER}-{look.node.id}")
        # From here on a start check elsewhere waits for this node.
        with _announced(spec, layout):
            _await_last_byte(look, primary, own, timeline)
            try:
                promote(own, look.node.name)
            except RepmgrError:
                _withdraw(layout)
                raise
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
        _begin(connection, look.node)
        with _paused(look, minutes):
            _await_none(lambda: _not_paused(look.spec, others))
            if db.row(connection, _IS_PRIMARY)["yes"] and not look.node.is_witness:
                _have_clients_wait(connection)
            yield


def keep_still(look, node, minutes):
    """Pause repmgrd while a node's server goes down and comes back; return what was, in words."""
    _await_turn(look.spec, node, node)
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
    before = READY_SECONDS + LAST_CHECKPOINT_SECONDS + ROUTER_SECONDS
    for _ in _looks(before + HEIR_SECONDS + PROMOTE_SECONDS):
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
