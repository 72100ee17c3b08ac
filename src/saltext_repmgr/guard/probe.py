"""Questions to the other members, all at once and without ever waiting for one of them.

Everything is done in one thread with non-blocking connections: a host that is frozen takes
part in TCP and answers nothing, and a question to it must not hold up those to the others.
"""

import select
import threading
import time
from dataclasses import dataclass
from typing import Callable
from typing import Mapping
from typing import Optional

import psycopg2
from psycopg2 import extensions

from . import config
from . import rules
from . import sessions
from . import wal

# A question or a connection attempt that takes longer is given up and made anew.
_PATIENCE = 1.0
_PAUSE = 0.1
_RESOLVE_SECONDS = 30
# A start check tells it for three; the session of one whose host lost power lasts for hours.
_STARTING_SECONDS = 10


def _numbers(name, whose):
    """SQL: the numbers of the nodes for which sessions are called so."""
    return f"""ARRAY(SELECT substr(a.application_name, {len(name) + 1})::int
                FROM pg_stat_activity a JOIN pg_roles o ON o.oid = a.usesysid
               WHERE {whose} AND a.application_name ~ '^{name}[0-9]{{1,9}}$')"""


_BY_START_CHECK = f"""o.rolname = 'repmgr'
                 AND a.backend_start > clock_timestamp() - interval '{_STARTING_SECONDS} s'"""
_QUERY = f"""
SELECT pg_is_in_recovery() AS in_recovery,
       {wal.TIMELINE} AS timeline,
       s.system_identifier::text AS system,
       repmgr.get_upstream_last_seen() AS last_seen,
       coalesce(repmgr.get_upstream_node_id(), -1) AS upstream,
       coalesce(repmgr.repmgrd_is_running() AND NOT repmgr.repmgrd_is_paused(), false) AS repmgrd,
       CASE WHEN repmgr.repmgrd_is_running() THEN repmgr.get_repmgrd_pid() END AS repmgrd_pid,
       EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streaming,
       (SELECT min(node_id) FROM repmgr.nodes WHERE type = 'primary' AND active) AS primary_id,
       {sessions.VOTING} AS voting,
       {_numbers(sessions.WITHOUT, "o.rolsuper")} AS without,
       {_numbers(sessions.START, _BY_START_CHECK)} AS starting
  FROM pg_control_system() s
"""
_NODES = """
SELECT node_id, node_name AS name, type, coalesce(upstream_node_id, -1) AS upstream, active,
       conninfo
  FROM repmgr.nodes ORDER BY node_id
"""


# repmgrd may watch another one by now: what it wrote since must not be taken back, or this guard
# would read its own word for repmgrd's from then on.
_SAW = """
SELECT repmgr.set_upstream_last_seen(%(upstream)s)
 WHERE repmgr.get_upstream_node_id() = %(upstream)s
"""


@dataclass(frozen=True)
class Question:
    """What a probe asks: a query of one row, the class of the answer, and who says to be asking.

    parameters
        Function that returns the query's parameters at the moment; None: it has none.
    place
        Parameters of libpq that count more than those of the member's connection string.
    """

    query: str
    answer: type
    asker: str
    parameters: Optional[Callable[[], Mapping[str, object]]] = None
    place: Optional[Mapping[str, str]] = None


GUARD = Question(_QUERY, rules.Answer, "repmgr-guard", place=config.AS_MEMBER)


class Probe:
    """One member, asked again and again.

    peer
        A :class:`~.config.Peer`.
    interval
        Seconds between two questions.
    nodes
        Whether it is also asked for its metadata (every fourth time).
    question
        A :class:`Question`.
    """

    def __init__(self, peer, interval, nodes=False, own=False, question=GUARD):
        self.question = question
        self.peer = peer
        self.interval = interval
        self.own = own
        self.began = time.monotonic()
        self.answer = None
        self.answered_question = None
        # Why there is no connection.
        self.error = ""
        self.nodes = None
        # Node id of the upstream that was just seen; the server shall remember the moment.
        self.saw = None
        self.address = None if own else config.address(peer.conninfo)
        self._ask_nodes = nodes
        self._count = 0
        self._connection = None
        self._phase = ""
        self._deadline = 0.0
        self._next = 0.0
        self._sent = 0.0
        self._cursor = None
        self._query = ""
        self._refused_since = None

    def member(self, now):
        """Return the :class:`~.rules.Member` as it is known at a moment."""
        since = self._refused_since
        return rules.Member(
            node_id=self.peer.node_id,
            name=self.peer.name,
            witness=self.peer.type == "witness",
            watched=now - self.began,
            age=None if self.answered_question is None else now - self.answered_question,
            refused=None if since is None else now - since,
            answer=self.answer,
        )

    def fileno(self):
        """The socket to wait for, or None."""
        if self._connection is None or self._connection.closed:
            return None
        try:
            return self._connection.fileno()
        except psycopg2.Error:
            return None

    def step(self, now):
        """Go on as far as is possible without waiting."""
        try:
            self._step(now)
        except psycopg2.Error as err:
            self._fail(now, str(err))

    def _step(self, now):
        if self._connection is None:
            if now >= self._next:
                self._connect(now)
            return
        if self._phase == "idle":
            if now >= self._next:
                self._ask(now)
            return
        if _ready(self._connection) and self._connection.poll() == extensions.POLL_OK:
            self._done(now)
        elif now > self._deadline:
            self._fail(now, "no answer in time")

    def _connect(self, now):
        extra = {} if self.own else dict(self.question.place or {})
        if self.address:
            extra["hostaddr"] = self.address
        self._phase, self._deadline = "connecting", now + _PATIENCE
        self._connection = psycopg2.connect(
            self.peer.conninfo, async_=1, application_name=self.question.asker, **extra
        )

    def _ask(self, now):
        self._count += 1
        question = self.question
        self._query = question.query
        parameters = question.parameters() if question.parameters else None
        if self._ask_nodes and self._count % 4 == 2:
            self._query = _NODES
        elif self.saw is not None and self._count % 2:
            self._query, parameters, self.saw = _SAW, {"upstream": self.saw}, None
        self._phase, self._deadline, self._sent = "asking", now + _PATIENCE, now
        self._next = now + self.interval
        self._cursor = self._connection.cursor()
        self._cursor.execute(self._query, parameters)

    def _done(self, now):
        if self._phase == "asking":
            names = [column.name for column in self._cursor.description]
            rows = [dict(zip(names, row)) for row in self._cursor.fetchall()]
            if self._query is _NODES:
                self.nodes = tuple(config.Peer(**row) for row in rows)
            elif self._query is self.question.query:
                self.answer = self.question.answer(**rows[0])
                self.answered_question = self._sent
        else:
            self._refused_since = None
            self._next = now
        self._phase = "idle"

    def _fail(self, now, why):
        self.error = why
        if "refused" in why:
            if self._refused_since is None:
                self._refused_since = now
        elif self._phase == "connecting":
            # Also one that says it is starting or stopping: a server is there.
            self._refused_since = None
        self.close()
        self._next = now + _PAUSE

    def hurry(self):
        """Ask again at once."""
        self._next = 0.0

    def close(self):
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._phase = None, ""


def _ready(connection):
    # libpq takes a socket that is asked too early for a failed one.
    fd = connection.fileno()
    readable, writable, broken = select.select([fd], [fd], [fd], 0)
    return bool(readable or writable or broken)


def wait(probes, seconds):
    """Sleep until one of the probes has something to read, but no longer than so many seconds."""
    fds = [fd for fd in (p.fileno() for p in probes) if fd is not None]
    if fds:
        select.select(fds, [], [], seconds)
    else:
        time.sleep(seconds)


def step_all(probes):
    """One step of each probe, and return the moment."""
    now = time.monotonic()
    for probe in probes:
        probe.step(now)
    return now


class Resolver(threading.Thread):
    """Keeps the addresses of the probes' hosts, since a name server may keep one waiting."""

    def __init__(self, probes_of):
        super().__init__(daemon=True, name="resolver")
        self._probes_of = probes_of

    def run(self):
        while True:
            for probe in list(self._probes_of()):
                if not probe.own:
                    probe.address = config.address(probe.peer.conninfo) or probe.address
            time.sleep(_RESOLVE_SECONDS)
