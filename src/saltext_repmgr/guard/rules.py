"""The decisions of the guard, the vote and the start check: facts in, verdict out. Pure.

Times are durations in seconds. What they must be, and why, is in docs/design-failover.md.
"""

import enum
import math
from dataclasses import dataclass
from typing import Collection
from typing import Optional
from typing import Sequence
from typing import Tuple

# The guard looks this often; a server is frozen well within the rest.
STEP_SECONDS = 0.25
FREEZE_SECONDS = 0.2
# What is not known of an elector yet, or no more, is held against it after this time.
UNKNOWN_SECONDS = 2.0
# Frozen for longer, a server is killed: its clients get an error and not a hang.
FROZEN_SECONDS = 10
# A connection refused for so long is a server that crashed ...
REFUSED_SECONDS = 0.6
# ... or that was shut down in good order, and is not just being restarted.
RESTART_SECONDS = 5
# An answer that is no older tells what is so now.
FRESH_SECONDS = 1.0
# Silent for so long, a member is no elector any more.
GONE_SECONDS = 30
# Who was silent for so long when a node became the primary was lost before.
BEFORE_SECONDS = 5
# repmgrd, which is quicker, had its chance by then.
ORPHANED_SECONDS = 15
# A server that its start check has let start takes so long to answer on a busy host.
STARTED_SECONDS = 5
# Whoever moves the primary may tell a witness so, too.
ASTRAY_SECONDS = 1
# A daemon that was just started watches somebody by then.
DAEMON_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """What a member says of itself."""

    in_recovery: bool
    timeline: int
    system: str
    last_seen: int = -1  # seconds since its repmgrd saw its upstream; -1: never
    upstream: int = -1  # whom its repmgrd watches
    repmgrd: bool = False  # runs, and is not paused
    repmgrd_pid: Optional[int] = None  # of the daemon, while it runs
    streaming: bool = False  # its WAL receiver has a connection
    primary_id: Optional[int] = None  # whom its metadata call the primary
    voting: bool = False  # it is about to be promoted
    without: Sequence[int] = ()  # primaries that it has lost and does not go back to
    starting: Sequence[int] = ()  # nodes that are about to be the primary again


@dataclass(frozen=True)
class Member:
    """Another member, as it is known here at a moment.

    watched
        How long it has been asked.
    age
        How long ago the question was sent that it answered last; None: it never did.
    refused
        How long its host has said that nothing listens; None: it does not say that.
    """

    node_id: int
    name: str
    witness: bool = False
    watched: float = 0
    age: Optional[float] = None
    refused: Optional[float] = None
    answer: Optional[Answer] = None

    @property
    def now(self):
        """Its answer if that is recent enough to count, else None."""
        return self.answer if self.age is not None and self.age <= FRESH_SECONDS else None

    @property
    def is_primary(self):
        """Whether it acts as a primary now."""
        return self.now is not None and not self.now.in_recovery and not self.witness


def majority(electors):
    """Return how many of so many electors are a majority."""
    return electors // 2 + 1


def may_vote(elector, primary, vote_seconds, within):
    """Whether an elector might give its vote against a primary within so many seconds."""
    if elector.refused is not None:
        return False
    answer, age = elector.answer, elector.age
    if answer is None:
        return elector.watched > UNKNOWN_SECONDS
    if primary in answer.without:
        return True
    if not answer.repmgrd or answer.upstream != primary or answer.last_seen < 0:
        return age > UNKNOWN_SECONDS
    return _lease_left(elector, vote_seconds) <= within


def _lease_left(elector, vote_seconds):
    # It counts full seconds, so it may have been waiting for almost one more.
    return vote_seconds - (elector.answer.last_seen + 1) - elector.age


class Do(str, enum.Enum):
    """What the guard does with the server it guards."""

    NOTHING = "nothing"
    FREEZE = "freeze"
    THAW = "thaw"
    # It is started again when the others see it.
    KILL = "kill"
    # Another one is the primary, and it stays down.
    RETIRE = "retire"


@dataclass(frozen=True)
class Verdict:
    """What to do, and why, in words."""

    do: object
    reason: str = ""


def jurors(electors: Sequence[Member], others: Sequence[Member], acting: float, frozen: bool):
    """Return the members by whom a primary judges whether it still is the one.

    electors
        Those that are recorded below it.
    others
        All other members: right after a promotion nobody is recorded below it.
    acting
        For how long it has been the primary. Whoever promoted the only node that is left does not
        want it to be frozen for want of those that were lost before.
    frozen
        Whether it is frozen.
    """
    there = [m for m in others if m.age is not None and m.age <= acting + BEFORE_SECONDS]
    # Promoted by hand beside a primary that lives, it is left for people to decide about.
    return electors or [m for m in there if frozen or not m.is_primary]


def guard(
    me: int,
    vote_seconds: int,
    electors: Sequence[Member],
    frozen: Optional[float],
    acting: float = math.inf,
    others: Sequence[Member] = (),
    own: Optional[Answer] = None,
    replaced: Optional[int] = None,
):
    """Return the :class:`Verdict` on a server that acts as the primary.

    me
        Its node id.
    vote_seconds
        An elector may vote when it has not seen the primary for so long.
    electors
        The others, see docs/design-failover.md.
    frozen
        How long it has been frozen; None: it runs.
    acting
        For how long it has been the primary. What somebody was before that says nothing: after a
        planned change the former primary may have said so a moment ago.
    others
        Members that are recorded as out of service, of a server that hangs: it cannot say who
        became an elector meanwhile.
    own
        What the server said of itself last, as a primary; None: nothing yet.
    replaced
        Node id of the primary before it, as long as electors may not have noticed; None: they have.
    """
    number = len(electors) + 1
    within = STEP_SECONDS + FREEZE_SECONDS
    against = [
        e.name
        for e in electors
        if may_vote(e, me, vote_seconds, within)
        or frozen is not None
        and not _may_stay(e, (-1, me, replaced))
    ]
    lost = len(against) >= majority(number)
    successor = _successor(electors, [o for o in others if _went_on(o, own)], acting)
    if successor is not None:
        return Verdict(Do.RETIRE, successor)
    if frozen is None:
        if lost:
            return Verdict(
                Do.FREEZE,
                f"{len(against)} of {number} electors ({', '.join(against)}) may count this node as"
                " lost and promote another",
            )
        return Verdict(Do.NOTHING)
    for other in electors:
        if other.is_primary and other.age <= acting:
            return Verdict(Do.RETIRE, f"{other.name} was promoted meanwhile")
    ahead = [e.name for e in electors if _went_on(e, own)]
    if not lost and not ahead:
        return Verdict(Do.THAW, "the other electors see this node again")
    if frozen >= FROZEN_SECONDS:
        return Verdict(Do.KILL, f"{', '.join(ahead or against)} did not return to this node")
    return Verdict(Do.NOTHING)


def _may_stay(elector, upstreams):
    """Whether an elector of a server that is frozen may not have gone over to another primary.

    upstreams
        Those that it may say it watches.
    """
    if elector.refused is not None:
        return True
    return elector.answer is not None and elector.answer.upstream in upstreams


def _went_on(member, own):
    """Whether a member is on a later timeline than a primary: it got that from another one."""
    answer = member.answer
    return (
        answer is not None
        and own is not None
        and answer.system == own.system
        and answer.timeline > own.timeline
    )


def _successor(electors, others, acting):
    """Return who has replaced a primary, with whom, in words; None: nobody.

    One that somebody promoted beside a primary has not, as long as electors stay with it.

    others
        Members that are no electors and have gone on without it.
    """
    for primary in (m for m in (*electors, *others) if m.is_primary and m.age <= acting):
        behind = [m for m in (*electors, *others) if m.now is not None and _follows(m, primary)]
        all_left = electors and all(e in behind for e in electors)
        crowd = [*electors, *others] if all_left else electors
        with_it = [m.name for m in crowd if m in behind]
        if len(with_it) >= majority(len(crowd) + 1):
            return f"{primary.name} is the primary now, confirmed by {', '.join(with_it)}"
    return None


def _follows(member, primary):
    return primary.node_id in (member.node_id, member.now.upstream, member.now.primary_id)


def activity(electors: Sequence[Member], active: Sequence[int]) -> Tuple[set, set]:
    """Return ``(gone, back)``: ids of members whose record the primary has to change.

    electors
        All members whose upstream is this primary, also those that are inactive.
    active
        Ids of those that the metadata call active.
    """
    others = [e for e in electors if e.node_id in active]
    seen = 1 + sum(e.now is not None for e in others)
    back = {
        e.node_id
        for e in electors
        if e.node_id not in active
        and e.now is not None
        and (e.witness or e.now.in_recovery and e.now.streaming)
    }
    if seen < majority(len(others) + 1):
        return set(), back
    gone = {e.node_id for e in others if (e.watched if e.age is None else e.age) >= GONE_SECONDS}
    return gone, back


class Vote(str, enum.Enum):
    """The answer to a node that won an election."""

    GRANT = "grant"
    WAIT = "wait"
    DENY = "deny"


def vote(own: Answer, vote_seconds: int, primary: Member, others: Sequence[Member], clean=False):
    """Return the :class:`Verdict` on the promotion of this node.

    own
        What this node says of itself.
    vote_seconds
        As for :func:`guard`.
    primary
        The member that is to be replaced.
    others
        The other electors.
    clean
        Whether the last that came from the primary says that it was shut down in good order.
    """
    number = len(others) + 2
    ready = [o for o in others if _ready(o, primary)]
    if primary.is_primary:
        return Verdict(Vote.DENY, f"{primary.name} answers: it is the primary")
    for other in others:
        if other.is_primary:
            return Verdict(Vote.DENY, f"{other.name} is a primary already")
    if own.upstream != primary.node_id or not own.repmgrd:
        return Verdict(Vote.DENY, f"repmgrd does not watch {primary.name} or is paused")
    if primary.refused is not None:
        blind = [o for o in ready if not _sees(o)]
        needed = 1 if number == 2 else majority(number)
        if len(blind) + 1 < needed:
            return Verdict(Vote.WAIT, _too_few(primary, blind, number, needed))
        if primary.refused < (RESTART_SECONDS if clean else REFUSED_SECONDS):
            return Verdict(Vote.WAIT, f"{primary.name} may be restarting")
        return Verdict(Vote.GRANT, f"no server listens on {primary.name}")
    blind = [o for o in ready if o.now.last_seen >= vote_seconds]
    if number == 2:
        return Verdict(
            Vote.DENY,
            f"{primary.name} does not answer, and two electors cannot tell a lost host from a network"
            " failure; add a third elector, such as a witness",
        )
    if len(blind) + (own.last_seen >= vote_seconds) < majority(number):
        return Verdict(Vote.WAIT, _too_few(primary, blind, number, majority(number)))
    return Verdict(
        Vote.GRANT, f"{len(blind) + 1} of {number} electors no longer see {primary.name}"
    )


def _ready(elector, primary):
    now = elector.now
    return (
        now is not None and now.repmgrd and now.upstream == primary.node_id and now.last_seen >= 0
    )


def _sees(elector):
    # A stream ends with its server; a witness has none.
    return elector.now.last_seen < 1 if elector.witness else elector.now.streaming


def _too_few(primary, blind, number, needed):
    names = ", ".join(["this node", *(o.name for o in blind)])
    return f"of {number} electors only {names} no longer see {primary.name}; {needed} are needed"


@dataclass(frozen=True)
class Heir:
    """A standby that might replace the primary.

    lsn
        What it has received of the primary, or replayed, in bytes.
    """

    node_id: int
    name: str
    priority: int
    location: str
    in_recovery: bool
    repmgrd: bool
    voting: bool
    lsn: int


def unfit(me: Heir, others: Sequence[Heir], location: str):
    """Return why this node is not the one to ask for the vote where repmgrd does not; empty: it is.

    others
        The standbys of the same primary that answer.
    location
        The primary's. As for repmgrd, nobody is promoted when no node there is seen.
    """
    for node in (me, *others):
        if not node.in_recovery:
            return f"{node.name} is a primary"
        if not node.repmgrd:
            return f"repmgrd of {node.name} does not run or is paused"
    for node in others:
        if node.voting:
            return f"{node.name} is about to be promoted"
    if location not in {node.location for node in (me, *others)}:
        return f"no node in {location} answers"
    fit = [node for node in (me, *others) if node.priority > 0]
    best = max(fit, key=lambda n: (n.lsn, n.priority, -n.node_id), default=None)
    if best is None:
        return "no node has a priority above 0"
    return "" if best is me else f"{best.name} is the better candidate"


def astray(own: Answer, others: Sequence[Member]):
    """Return the primary that a witness's repmgrd ought to watch and does not, else None.

    It looks for a new primary when its former one is lost. That one may be a standby by now, and
    fine: then it notices after ``witness_sync_interval`` or later, and cannot vote until then.

    own
        What this witness says of itself.
    others
        All other members.
    """
    live = [m for m in others if m.is_primary]
    if own.repmgrd_pid is None or len(live) != 1 or own.upstream == live[0].node_id:
        return None
    if live[0].now.primary_id != live[0].node_id:
        # repmgrd copies the records, which do not name that one yet.
        return None
    former = next((m for m in others if m.node_id == own.upstream), None)
    stands_by = former is not None and former.now is not None and former.now.in_recovery
    return live[0] if stands_by else None


def misses(me: int, vote_seconds: int, electors: Sequence[Member]):
    """Whether a server would be frozen as soon as it acts as the primary, or as soon as repmgrd of the
    electors is paused no more."""
    heard = [
        e
        for e in electors
        if e.now is not None
        and e.now.upstream == me
        and e.now.last_seen >= 0
        and _lease_left(e, vote_seconds) <= STEP_SECONDS
    ]
    return len(heard) >= majority(len(electors) + 1)


class Start(str, enum.Enum):
    """Whether a server may start as a primary."""

    ALLOW = "allow"
    WAIT = "wait"
    REFUSE = "refuse"


def start(me: int, timeline: int, system: str, others: Sequence[Member], electors: Collection[int]):
    """Return the :class:`Verdict` on starting this node's server as a primary.

    me
        Its node id.
    timeline, system
        What its control file says.
    others
        All other members.
    electors
        Node ids of those among them that elected with this node.
    """
    heard = [o for o in others if o.now is not None]
    for other in heard:
        if other.is_primary:
            return Verdict(
                Start.REFUSE, f"{other.name} is the primary, on timeline {other.now.timeline}"
            )
    # What is recorded of one that is a standby by now is out of date.
    standbys = [o.node_id for o in heard if o.now.in_recovery]
    for other in heard:
        if other.now.system == system and other.now.timeline > timeline:
            return Verdict(
                Start.REFUSE,
                f"{other.name} is on timeline {other.now.timeline}, this node on {timeline}: another"
                " node was promoted after this one was the primary",
            )
        claimed = other.now.primary_id
        if claimed not in (None, me, *standbys) and not _is_awaited(claimed, others):
            return Verdict(
                Start.REFUSE,
                f"in the metadata of {other.name} node {claimed} is the primary: this node was replaced"
                " by a failover",
            )
    for other in heard:
        if other.now.primary_id not in (None, me, *standbys):
            return Verdict(
                Start.WAIT,
                f"node {other.now.primary_id} may be the primary and has not answered yet",
            )
        if other.now.voting:
            return Verdict(Start.WAIT, f"{other.name} is about to be promoted")
        if me in other.now.without:
            return Verdict(Start.WAIT, f"{other.name} counts this node as lost")
    # Those that promoted somebody, and those that keep somebody who was promoted in a planned change
    # from being frozen, have one in common with so many and this node.
    needed = (len(electors) + 1) // 2
    missed = [o for o in others if o.node_id in electors and o.now is None]
    found = len(electors) - len(missed)
    if found < needed:
        silent = ", ".join(o.name for o in missed)
        return Verdict(
            Start.WAIT,
            f"{found} of {len(electors)} other electors answer, {needed} must answer; no answer from"
            f" {silent}",
        )
    return Verdict(Start.ALLOW)


def _is_awaited(node_id, others):
    """Whether a node was asked a moment ago and may still answer."""
    return any(
        m.node_id == node_id
        and m.now is None
        and m.refused is None
        and m.watched <= UNKNOWN_SECONDS
        for m in others
    )
