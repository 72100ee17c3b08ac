"""The decisions of the router: what the members say in, where clients go out. Pure.

Moments and durations are in seconds, moments those of a monotonic clock.
"""

import zlib
from collections import deque
from dataclasses import dataclass
from dataclasses import replace
from typing import Dict
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple

from ..guard.rules import Member

# Members are asked this often.
STEP_SECONDS = 0.2
# And this often while clients wait for it.
QUICK_SECONDS = 0.05
# Clients are held back for no longer than this, whatever becomes of the switchover.
HOLD_SECONDS = 10
# A standby that lacks what the primary wrote so long ago, or has not streamed for so long, is
# not read from.
BEHIND_SECONDS = 10
# A primary on an earlier timeline than the last one is one that came back from the dead, until it
# has been the only one for so long.
EARLIER_SECONDS = 30
# The name by which standbys are reached is that of the database and this.
READ_ONLY = "_ro"


@dataclass(frozen=True)
class Answer:
    """What a member says of itself."""

    in_recovery: bool
    timeline: int
    system: str
    lsn: int  # written, or replayed in recovery
    receives: bool = False  # it has a WAL receiver
    ready: bool = False  # that may be so in a moment
    planned: bool = False  # the primary is about to be moved on purpose
    told: bool = False  # that clients wait


@dataclass(frozen=True)
class Route:
    """Where clients are led: node ids.

    timeline, system
        Of the primary when it was found.
    """

    primary: Optional[int] = None
    standbys: Tuple[int, ...] = ()
    timeline: int = 0
    system: str = ""


@dataclass(frozen=True)
class Hold:
    """Whether clients of the primary are held back.

    since
        From when on; None: they are not.
    spent
        The flag that is up has been waited for long enough.
    """

    since: Optional[float] = None
    spent: bool = False


class Trail:
    """How far the primary was when, and so by how much a standby is behind."""

    def __init__(self, now):
        self._began = now
        self._written = deque()
        self._streamed: Dict[int, float] = {}

    def note(self, now, members: Sequence[Member], primary: Optional[Member]):
        """Take over what the members said.

        primary
            The one that clients are led to, where it answers.
        """
        for member in members:
            if member.now is not None and member.now.receives:
                self._streamed[member.node_id] = now
        if primary is None:
            return
        written = self._written
        if written and primary.now.lsn < written[-1][1]:
            written.clear()
        if not written or primary.now.lsn > written[-1][1]:
            written.append((now, primary.now.lsn))
        while len(written) > 1 and written[1][0] < now - BEHIND_SECONDS:
            written.popleft()

    def behind(self, now, member: Member):
        """Return for how many seconds a standby has lacked what the primary has, or has not
        streamed: the longer of both."""
        lacks = next((at for at, lsn in self._written if lsn > member.now.lsn), now)
        return now - min(lacks, self._streamed.get(member.node_id, self._began))


def primary(members: Sequence[Member], route: Route, alone: float) -> Optional[Member]:
    """Return the member that clients are to be led to, or None: leave all as it is.

    alone
        For how long there has been one primary, and the same one.
    """
    live = [m for m in members if m.is_primary]
    # One of another system has nothing to do with the data that clients know.
    live = [m for m in live if m.now.system == route.system] or live
    latest = max((m.now.timeline for m in live), default=0)
    newest = [m for m in live if m.now.timeline == latest]
    if len(newest) != 1:
        return next((m for m in newest if m.node_id == route.primary), None)
    (found,) = newest
    back = found.now.system == route.system and latest < route.timeline
    return None if back and alone < EARLIER_SECONDS else found


def standbys(members: Sequence[Member], trail: Trail, now) -> Tuple[int, ...]:
    """Return the node ids of the standbys that may be read from."""
    return tuple(
        sorted(
            m.node_id
            for m in members
            if m.now is not None and m.now.in_recovery and trail.behind(now, m) <= BEHIND_SECONDS
        )
    )


def hold(before: Hold, planned: Optional[bool], now) -> Hold:
    """Return whether clients are to be held back from now on.

    planned
        Whether the primary says that it is about to be moved; None: there is no primary.
    """
    if planned is False:
        return Hold()
    if before.since is not None and now - before.since >= HOLD_SECONDS:
        return Hold(spent=True)
    if planned and before.since is None and not before.spent:
        return replace(before, since=now)
    return before


@dataclass(frozen=True)
class Target:
    """What a database of PgBouncer leads to."""

    hosts: Tuple[str, ...]
    port: int
    database: str
    writes: bool = True


def targets(databases, read_only, route: Route, places: Mapping[int, str], port, seed=None):
    """Return ``{name: Target}`` of all databases that PgBouncer is to know.

    places
        Node id to address.
    seed
        Text by which one of several standbys is chosen, for a PgBouncer that takes one host
        only; None: it takes several.
    """
    if route.primary not in places:
        return {}
    readable = [places[n] for n in route.standbys if n in places] or [places[route.primary]]
    if seed is not None:
        readable = [readable[zlib.crc32(seed.encode()) % len(readable)]]
    found = {name: Target((places[route.primary],), port, name) for name in databases}
    if read_only:
        target = tuple(readable), port
        found.update({n + READ_ONLY: Target(*target, n, writes=False) for n in databases})
    return found


def render(found: Mapping[str, Target]):
    """Return the text of the file that ``pgbouncer.ini`` includes."""
    lines = [
        f"{name} = host={','.join(t.hosts)} port={t.port} dbname={t.database}\n"
        for name, t in found.items()
    ]
    return "; Written by repmgr-router, again and again.\n[databases]\n" + "".join(lines)


def differs(found: Mapping[str, Target], shown: Sequence[Mapping[str, object]]):
    """Whether PgBouncer leads elsewhere, by its ``SHOW DATABASES``."""
    seen = {
        row["name"]: (row["host"], row["port"], row["database"])
        for row in shown
        if row["name"] != "pgbouncer"
    }
    wanted = {name: (",".join(t.hosts), str(t.port), t.database) for name, t in found.items()}
    return {name: tuple(map(str, values)) for name, values in seen.items()} != wanted


def stuck(found: Mapping[str, Target], servers: Sequence[Mapping[str, object]]):
    """Return the databases with clients that are still served by a former primary.

    servers
        PgBouncer's ``SHOW SERVERS``.
    """
    return sorted(
        {
            row["database"]
            for row in servers
            if row["database"] in found
            and found[row["database"]].writes
            and row["state"] == "active"
            and row["addr"] not in found[row["database"]].hosts
        }
    )
