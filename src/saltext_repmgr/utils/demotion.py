"""The old primary's part in a switchover: it stops in good order, and comes back as a standby."""

import contextlib
import functools
import logging
import time

from saltext_repmgr.guard import rules
from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import rejoin
from saltext_repmgr.utils import settling
from saltext_repmgr.utils import slots
from saltext_repmgr.utils import succession_act
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.spec import ROLE_NAME

log = logging.getLogger(__name__)

# The guard of a new primary counts this node among its judges if it has heard of it shortly before;
# it asks every second at the latest.
_QUICK_SECONDS = rules.BEFORE_SECONDS - 2
_REPLAYED = """
SELECT coalesce(bool_or(replay_lsn >= %(lsn)s), false) AS yes
  FROM pg_stat_replication WHERE application_name = %(heir)s
"""
_SENDERS = "SELECT pid FROM pg_stat_replication WHERE application_name <> %(heir)s"
_STREAMS = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS yes"


def hand_over(look, target, away, salt):
    """Stop this primary for ``target`` and follow that; return what became of it, in words.

    target
        Name of the node that is to be the primary.
    away
        Names of nodes that are not waited for.
    salt
        Salt's ``__salt__``.
    """
    spec, layout = look.spec, look.layout
    # While this server can be asked.
    what = succession_act.change(look, look.node, spec.nodes[target])
    with observe.local_connection(spec, layout) as connection:
        turn.begin(connection, spec.nodes[target])
        with turn.pausing(look):
            try:
                return _change_places(look, what, away, connection, salt)
            except RepmgrError:
                if turn.is_primary(spec, look.node):
                    # It streams from nobody, and nobody else would drop its slot there.
                    membership.drop_member_slot(spec, spec.nodes[target], look.node.slot)
                raise


def _change_places(look, what, away, connection, salt):
    heir = what.heir
    _await_ready(look, heir, away, connection)
    # Nothing that can be done before clients wait is left for later.
    membership.aim(look.spec, look.node, look.layout, connection, heir)
    # Whoever follows gets the segment anew in which the new timeline begins, from its start; until it
    # has that it cannot be promoted: PostgreSQL would look for its last record there, and panic.
    db.row(connection, "SELECT pg_switch_wal()::text AS lsn")
    turn.have_clients_wait(connection)
    if not _is_armed(connection, heir):
        raise CommandFailed(
            f"switchover aborted, nothing changed: candidate {heir.name} withdrew. Its reason stands"
            " under 'nodes'"
        )
    senders = db.rows(connection, _SENDERS, {"heir": heir.name})
    began = time.monotonic()
    _stop(look, heir, [sender["pid"] for sender in senders])
    for _ in turn.looks(turn.PROMOTE_SECONDS, 0.05):
        if turn.is_primary(look.spec, heir):
            break
    else:
        return _step_back(look, what, salt)
    seconds = time.monotonic() - began
    _join(look, what, salt, seconds)
    return f"now a standby of {heir.name}; writes were interrupted for at most {seconds:.2f} s"


def _await_ready(look, heir, away, connection):
    """Wait until the heir watches this server and replays what it writes, this server can stop in
    good order, and no repmgrd would take it for lost."""
    away = {look.node.name, heir.name, *away}
    others = [n for n in look.spec.members if n.name not in away]
    # It was looked at before a checkpoint that may have taken minutes.
    written = db.row(connection, "SELECT pg_current_wal_lsn()::text AS lsn")["lsn"]

    def waiting():
        late = [look.node.name] if act.is_being_started(look.layout) else []
        if not _is_armed(connection, heir):
            late.append(heir.name)
        elif not db.row(connection, _REPLAYED, {"heir": heir.name, "lsn": written})["yes"]:
            late.append(f"{heir.name} (replays too slowly)")
        return late + turn.not_paused(look.spec, others)

    turn.await_none(waiting)


def _is_armed(connection, heir):
    """Whether that node, and no other, watches this server."""
    return turn.sessions(connection, f"{turn.TAKEOVER}-{heir.id}", ROLE_NAME) > 0


def _stop(look, heir, senders):
    """Stop the server, or have it running as it was.

    It is not down before every standby that is connected has its last record.

    senders
        The processes that serve other standbys than the heir. One of those that hangs must not
        keep all clients waiting.
    """
    act.begin_stop(look.layout)
    began = time.monotonic()
    for _ in turn.looks(turn.STOP_SECONDS, 0.05):
        if not act.runs(look.layout):
            return
        waited = time.monotonic() - began
        if waited > turn.SENDER_SECONDS and senders:
            act.end_processes(senders)
            senders = ()
        if waited > turn.HEIR_SECONDS and not turn.is_primary(look.spec, heir):
            break
    act.stop_at_once(look.layout)
    if turn.is_primary(look.spec, heir):
        return
    act.start(look.spec, look.layout)
    raise CommandFailed(
        f"PostgreSQL on {look.node.name} did not shut down within {turn.HEIR_SECONDS} s: it was"
        " started again and is still the primary. See its log, and whether"
        f" {heir.name} still receives WAL"
    )


def _step_back(look, what, salt):
    """The heir is no primary. Its start check decides whether this node may be one again."""
    heir = what.heir
    try:
        act.start(look.spec, look.layout)
    except RepmgrError:
        # It was promoted in the last moment.
        if not turn.is_primary(look.spec, heir):
            raise
        _join(look, what, salt, turn.PROMOTE_SECONDS)
        return f"now a standby of {heir.name}, which was promoted late"
    raise CommandFailed(
        f"candidate {heir.name} was not promoted within {turn.PROMOTE_SECONDS} s; {look.node.name} is"
        f" the primary again. The reason stands under 'nodes', or in the PostgreSQL log of {heir.name}"
    )


def _join(look, what, salt, seconds):
    """Make this stopped former primary a standby; it has nothing that the new one lacks.

    seconds
        For how long there was no primary.
    """
    heir = what.heir
    act.match_limits(look.layout, look.seen, heir.name)
    membership.start_as_standby(look.spec, look.layout)
    presence = turn.Presence(look.spec, heir)
    recorded = succession_act.has_recorded_all(look.spec, what)
    try:
        _await_joined(look, heir, presence.check)
        settling.settle(look.again(), salt, check=presence.check)
        _drop_unused_slots(look)
        succession_act.await_watched(look, what, presence.check)
        return
    except RepmgrError:
        if not presence.is_lost():
            raise
    # Where it fed others before, its guard goes by those, too, and they may be cut off together.
    may = seconds <= _QUICK_SECONDS and not what.feeds
    back = functools.partial(_take_back, look, what) if may else None
    primary = succession_act.take_part(look, what, salt, recorded, back)
    if primary.name != heir.name:
        raise CommandFailed(
            f"{heir.name} was lost right after its promotion, and {primary.name} was promoted in its"
            f" place: {primary.name} is the primary. Check {heir.name} ('salt-run repmgr.status')"
        )


def _await_joined(look, heir, check):
    """Wait until this standby streams from the new primary, which is recorded as such."""
    for _ in turn.looks(turn.JOIN_SECONDS):
        if registration.is_recorded(look.spec, heir) and _streams(look):
            return
        check()
    act.wait_streaming(look.spec, look.layout, timeout=1)
    raise CommandFailed(
        f"{heir.name} is the primary, but is not registered as the primary after"
        f" {turn.JOIN_SECONDS} s; run 'salt-run state.orchestrate repmgr.cluster', which registers it"
        f" and makes {look.node.name} its standby"
    )


def _streams(look):
    with contextlib.suppress(RepmgrError):
        with observe.local_connection(look.spec, look.layout) as connection:
            return db.row(connection, _STREAMS)["yes"]
    return False


def _take_back(look, what):
    """Be the primary again in place of one that went away before anybody followed it, and say so;
    or be a standby again where somebody has."""
    spec, layout, lost = look.spec, look.layout, what.heir.name
    if rejoin.has_history(layout, what.timeline + 1):
        # Started again it would need what only the new primary has.
        return
    act.stop(layout)
    try:
        membership.start_as_primary(spec, layout)
    except RepmgrError as err:
        log.info("%s does not become the primary again: %s", look.node.name, err)
        membership.start_as_standby(spec, layout)
        return
    raise CommandFailed(
        f"{lost} was lost right after its promotion, before any standby followed it:"
        f" {look.node.name} is the primary again. Check {lost} ('salt-run repmgr.status')"
    )


def _drop_unused_slots(look):
    """Drop the slots here of those that stream from elsewhere by now."""
    for _ in turn.looks(turn.MOVE_SECONDS, 0.2):
        servers = planning.visible(look.seen)
        found = slots.strays(look.spec, servers, look.plan.primary)
        here = [s for s in found if s.holder == look.node.name]
        # The others may be somebody's who comes back any day.
        found = [s for s in here if slots.owner_of(look.spec, s.slot)]
        with look.connection() as connection:
            dropped = [
                s.unused and membership.drop_slot(connection, s.slot.slot_name) for s in found
            ]
        if all(dropped):
            return
        look.again()
