"""The router itself: ``repmgr-router.service``, on every host with a PgBouncer."""

import json
import os
import signal
import sys
import time

import psycopg2

from ..guard import locks
from ..guard import sessions
from ..guard.config import words
from ..guard.probe import Probe
from ..guard.probe import Question
from ..guard.probe import Resolver
from ..guard.probe import step_all
from ..guard.probe import wait
from ..guard.store import Store
from ..guard.store import remove
from . import config
from . import rules
from .console import Console

_TICK = 0.05
# PgBouncer is asked this often whether it does what the file says.
_CHECK_SECONDS = 1.0
# PgBouncer takes several hosts for a database from this version on.
_MANY_HOSTS = (1, 17)

# The role sees all of this without any right. What holds the lock has to be repmgr's own, or
# everybody could have clients wait. The session's own name is what the primary reads.
_QUERY = f"""
SELECT r.in_recovery,
       CASE WHEN r.in_recovery THEN c.timeline_id
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
       END AS timeline,
       s.system_identifier::text AS system,
       (CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
        - '0/0')::bigint AS lsn,
       EXISTS (SELECT FROM pg_stat_wal_receiver) AS receives,
       coalesce(held.ready, false) AS ready,
       coalesce(held.planned, false) AS planned,
       set_config('application_name', CASE WHEN %(paused)s THEN '{sessions.ROUTER_PAUSED}'
                  ELSE '{sessions.ROUTER}' END, false) = '{sessions.ROUTER_PAUSED}' AS told
  FROM (SELECT pg_is_in_recovery() AS in_recovery) r,
       pg_control_checkpoint() c, pg_control_system() s,
       (SELECT bool_or(l.objid = {locks.READY}) AS ready,
               bool_or(l.objid = {locks.PLANNED}) AS planned
          FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_roles o ON o.oid = a.usesysid
         WHERE {locks.OURS} AND l.classid = {locks.CLASS}) held
"""


def log(text):
    """Say something to the journal."""
    print(text, flush=True)


class Router:
    """Everything the daemon knows between two looks."""

    def __init__(self, told):
        self.told = told
        # Whether the primary is to be told that clients wait.
        self.paused = False
        question = Question(_QUERY, rules.Answer, sessions.ROUTER, lambda: {"paused": self.paused})
        self.probes = [Probe(p, rules.STEP_SECONDS, question=question) for p in told.members]
        self.console = Console(told.socket_directory, told.port)
        self.names = {p.node_id: p.name for p in told.members}
        before = remembered()
        self.route = before["route"] if before else rules.Route()
        self.since = before["since"] if before else time.time()
        # Whoever held clients back before this one cannot let them go any more.
        self.release = bool(before and before["paused"])
        self.hold = rules.Hold()
        self.trail = rules.Trail(time.monotonic())
        self.one = (None, 0.0)
        self.seed = None
        self.next_check = 0.0
        self.said = None
        self.store = Store(log)
        self.error = ""

    # -- looks --------------------------------------------------------------------------

    def tick(self):
        """One look and what follows from it."""
        now = step_all(self.probes)
        members = [probe.member(now) for probe in self.probes]
        live = [m.node_id for m in members if m.is_primary]
        if live != self.one[0]:
            self.one = (live, now)
        primary = rules.primary(members, self.route, now - self.one[1] if len(live) == 1 else 0)
        self.trail.note(now, members, primary)
        self._pace(members)
        route = self._route(primary, members, now)
        hold = rules.hold(self.hold, primary.now.planned if primary else None, now)
        try:
            self._follow(route, now)
            self._hold(hold)
            self._tell()
        except (psycopg2.Error, OSError) as err:
            self._fail(" ".join(str(err).split()))
        self.say()
        wait(self.probes, _TICK)

    def _route(self, primary, members, now):
        """Where clients belong."""
        if primary is None:
            return self.route
        found = rules.standbys(members, self.trail, now)
        return rules.Route(primary.node_id, found, primary.now.timeline, primary.now.system)

    # -- acts ---------------------------------------------------------------------------

    def _targets(self, route):
        places = {p.peer.node_id: p.address or words(p.peer.conninfo)["host"] for p in self.probes}
        return rules.targets(
            self.told.databases,
            self.told.read_only,
            route,
            places,
            self.told.server_port,
            self.seed,
        )

    def _follow(self, route, now):
        """Have PgBouncer lead where clients belong."""
        changed = (route.primary, route.standbys) != (self.route.primary, self.route.standbys)
        if route.primary != self.route.primary:
            log(f"{self.names.get(route.primary)} is the primary")
            self.since = time.time()
        self.route = route
        if changed or now >= self.next_check and self._targets(route):
            # A PgBouncer that does not answer is asked again as often as any other.
            self.next_check = now + _CHECK_SECONDS
            self._check(changed)
            self._fail("")

    def _check(self, changed):
        write_text(config.DATABASES, rules.render(self._targets(self.route)))
        if self.seed is None and self._takes_one_host():
            self.seed = self.told.name
            write_text(config.DATABASES, rules.render(self._targets(self.route)))
        found = self._targets(self.route)
        if changed or rules.differs(found, self.console.ask("SHOW DATABASES")):
            self.console.ask("RELOAD")
        for name in rules.stuck(found, self.console.ask("SHOW SERVERS")):
            log(f"{name}: clients of the former primary are disconnected")
            # It holds new clients back as well. First, so that whoever is here then lets them go.
            self.release = True
            self.say()
            self.console.ask(f'KILL "{name}"')
        if self.release and self.hold.since is None:
            self.console.resume(self._writing())
            self.release = False

    def _takes_one_host(self):
        version = self.console.ask("SHOW VERSION")[0]["version"].split()[1]
        return tuple(map(int, version.split(".")[:2])) < _MANY_HOSTS

    def _writing(self):
        return [name for name, target in self._targets(self.route).items() if target.writes]

    def _hold(self, hold):
        if (hold.since is None) == (self.hold.since is None):
            self.hold = hold
            return
        if hold.since is None:
            self.console.resume(self._writing())
            log("clients are released" + (", after the longest wait" if hold.spent else ""))
            self.hold = hold
        else:
            # First, so that another daemon after this one lets them go.
            self.hold = hold
            self.say()
            if self.told.waits:
                self.console.pause(self._writing())
                log("clients are held: a switchover or restart of the primary is about to begin")
            else:
                log(
                    "a switchover or restart of the primary is about to begin: clients of session"
                    " pools lose their connection"
                )

    def _tell(self):
        """Let the primary know, which waits for it, when no client is served any more that can be
        held back."""
        paused = self.hold.since is not None and (not self.told.waits or self._is_idle())
        if paused != self.paused:
            self.paused = paused
            for probe in self.probes:
                probe.hurry()

    def _is_idle(self):
        # It may have gone with all of its clients, before it was asked to pause or since.
        if not self.console.holds:
            return self.console.is_gone()
        try:
            return self.console.paused()
        except psycopg2.Error:
            if self.console.is_gone():
                return True
            raise

    def _pace(self, members):
        """Look more often while clients wait, or are about to."""
        ready = any(m.now is not None and m.now.ready for m in members)
        quick = ready or self.hold.since is not None
        seconds = rules.QUICK_SECONDS if quick else rules.STEP_SECONDS
        for probe in self.probes:
            if probe.interval != seconds:
                probe.interval = seconds
                probe.hurry()

    def _fail(self, error):
        if error != self.error:
            log(error or "PgBouncer answers again")
        self.error = error

    def say(self):
        """Keep the state where others can read it."""
        state = {
            "pid": os.getpid(),
            "route": vars(self.route),
            "points_to": self.names.get(self.route.primary),
            "since": self.since,
            "paused": self.hold.since is not None or self.release,
            "error": self.error,
        }
        if state != self.said:
            self.store.write(config.STATE, state)
            self.said = state
        self.store.retry(time.monotonic())


def remembered():
    """Return what the last daemon knew, or None."""
    try:
        with open(config.STATE, encoding="utf-8") as handle:
            found = json.load(handle)
    except (OSError, ValueError):
        return None
    route = rules.Route(**{**found["route"], "standbys": tuple(found["route"]["standbys"])})
    return {**found, "route": route}


def write_text(path, text):
    """Write a file, unless it says so already, so that nobody ever reads half of it."""
    try:
        with open(path, encoding="utf-8") as handle:
            if handle.read() == text:
                return
    except FileNotFoundError:
        pass
    new = f"{path}.new"
    try:
        with open(new, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(new, path)
    except OSError:
        # A file system that is full is not to be filled with the halves of files.
        remove(new)
        raise


def main():
    """Run until told to stop. PgBouncer then goes on as it is."""
    router = Router(config.load())
    Resolver(lambda: router.probes).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))
    log(f"PgBouncer on port {router.told.port} follows the primary")
    while True:
        router.tick()


if __name__ == "__main__":
    main()
