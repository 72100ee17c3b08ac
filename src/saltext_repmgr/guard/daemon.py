"""The guard itself: ``repmgr-guard.service``, on every node."""

import json
import os
import signal
import sys
import threading
import time

import psycopg2

from . import config
from . import lease
from . import processes
from . import rules
from . import store
from .probe import Probe
from .probe import Resolver
from .probe import step_all
from .probe import wait

_TICK = 0.05
_START_PAUSE = 5
_HOUSEKEEPING = 5
_SET_ACTIVE = "UPDATE repmgr.nodes SET active = %s WHERE node_id = ANY (%s) AND type <> 'primary'"


def log(text):
    """Say something to the journal."""
    print(text, flush=True)


class Guard:
    """Everything the daemon knows between two looks."""

    def __init__(self, told):
        self.told = told
        own = config.Peer(told.node_id, told.name, "", -1, True, told.own_conninfo)
        self.local = Probe(own, rules.STEP_SECONDS, nodes=True, own=True)
        self.probes = {}
        self.peers = config.remembered() or ()
        self.frozen_at = None
        self.frozen_pid = None
        self.acting_since = None
        # Whose start check said last that it starts, and when.
        self.started = (None, 0.0)
        # Whom this node has replaced as the primary, until all electors watch it.
        self.replaced = None
        self.state = None
        self.noted = None
        self.next_start = 0.0
        self.starter = None
        self.orphaned_at = None
        self.heir = None
        self.repmgrd = (None, 0.0)
        self.astray_at = None
        self.next_housekeeping = 0.0
        self.housekeeper = None
        self.store = store.Store(log)
        # The server is to be started again.
        self.retry = store.Mark(config.RETRY)
        self._watch(self.peers)

    # -- looks --------------------------------------------------------------------------

    def _watch(self, peers):
        """Keep one probe for each other member."""
        wanted = {p.node_id: p for p in peers if p.node_id != self.told.node_id}
        for node_id, probe in list(self.probes.items()):
            peer = wanted.get(node_id)
            if peer is None or peer.conninfo != probe.peer.conninfo:
                probe.close()
                del self.probes[node_id]
            else:
                probe.peer = peer
        for node_id, peer in wanted.items():
            if node_id not in self.probes:
                self.probes[node_id] = Probe(peer, rules.STEP_SECONDS)

    def _learn(self):
        """Take over the members that this server's metadata name."""
        found = self.local.nodes
        if not found or found == self.peers:
            return
        self.peers = found
        self.store.write(config.MEMBERS, [vars(peer) for peer in found])
        self._watch(found)

    def electors(self, now, active_only=True):
        """Return the other electors, this node being the primary."""
        ids = [
            p.node_id
            for p in self.peers
            if p.upstream == self.told.node_id and (p.active or not active_only)
        ]
        return [self.probes[i].member(now) for i in ids if i in self.probes]

    def _jurors(self, now):
        ids = [p.node_id for p in self.peers if p.active and p.node_id != self.told.node_id]
        others = [self.probes[i].member(now) for i in ids if i in self.probes]
        acting, frozen = now - self.acting_since, self.frozen_at is not None
        # Before that, those that are recorded below it may be a part of those that are to be.
        recorded = any(p.node_id == self.told.node_id and p.type == "primary" for p in self.peers)
        return rules.jurors(self.electors(now) if recorded else (), others, acting, frozen)

    # -- acts ---------------------------------------------------------------------------

    def tick(self):
        """One look and what follows from it."""
        probes = [self.local, *self.probes.values()]
        now = step_all(probes)
        pid = processes.postmaster(self.told.data_directory)
        if self.frozen_at is not None and pid != self.frozen_pid:
            self.frozen_at = None
        fenced = self.told.fence and not self.told.witness
        acts = pid is not None and fenced and self._is_primary(pid)
        self.acting_since = (self.acting_since or now) if acts else None
        if pid is None:
            self._down(now)
        elif acts:
            self._judge(now, pid)
        else:
            self.say("idle")
            if self.local.answer is not None:
                self.replaced = self.local.answer.upstream
            self._note_upstream(now)
            self._inherit(now)
            self._lead_back(now)
        self.store.retry(now)
        if pid is not None and self.frozen_at is None:
            if self.retry.is_set():
                self.retry.clear()
            self._learn()
            if now >= self.next_housekeeping:
                left = lease.left()
                self._keep_house(now, unpause=lease.is_over(left))
                # A pause ends when it was promised to.
                soon = left is not None and 0 < left < _HOUSEKEEPING
                self.next_housekeeping = now + (left if soon else _HOUSEKEEPING)
        wait(probes, _TICK)

    def _note_upstream(self, now):
        """Remember in the server when its upstream was seen last.

        repmgrd does that too, once a second at best, and much later while it is busy with an
        election: the lease wants it exact.
        """
        answer = self.local.answer
        # A pause may end at any moment.
        probe = self.probes.get(answer.upstream) if answer and answer.repmgrd_pid else None
        if probe is None:
            return
        if answer.upstream in answer.starting:
            self.started = (answer.upstream, now)
        upstream, begun = self.started
        if probe.answered_question not in (None, self.noted):
            self.noted = probe.answered_question
            self.local.saw = answer.upstream
        elif upstream == answer.upstream and now - begun < rules.STARTED_SECONDS:
            # It is about to answer, and would be frozen before it can where others miss it.
            self.local.saw = answer.upstream

    def _inherit(self, now):
        """Have this node take over where there has been no primary for too long."""
        own, told = self.local.answer, self.told
        orphaned = (
            told.fence
            and told.automatic
            and not told.witness
            and own is not None
            and own.in_recovery
            and own.repmgrd
            and not any(probe.member(now).is_primary for probe in self.probes.values())
        )
        if not orphaned:
            self.orphaned_at = None
        elif self.orphaned_at is None:
            self.orphaned_at = now
        elif now - self.orphaned_at >= rules.ORPHANED_SECONDS:
            if self.heir is None or self.heir.poll() is not None:
                self.orphaned_at = now
                self.heir = processes.take_over()

    def _lead_back(self, now):
        """Have a witness's repmgrd, which systemd starts again, look for the primary anew."""
        own = self.local.answer
        if not self.told.witness or own is None:
            return
        if own.repmgrd_pid != self.repmgrd[0]:
            self.repmgrd = (own.repmgrd_pid, now)
        primary = None
        # One that has just begun looks for the primary first.
        if now - self.repmgrd[1] >= rules.DAEMON_SECONDS:
            primary = rules.astray(own, [probe.member(now) for probe in self.probes.values()])
        if primary is None:
            self.astray_at = None
        elif self.astray_at is None:
            self.astray_at = now
        elif now - self.astray_at >= rules.ASTRAY_SECONDS:
            self.astray_at = None
            log(
                f"repmgrd is restarted, to watch {primary.name}: it still watches node"
                f" {own.upstream}, which is a standby now"
            )
            processes.end(own.repmgrd_pid, "repmgrd")

    def _is_primary(self, pid):
        if self.frozen_at is not None:
            return True
        if processes.is_frozen(pid) and (_last_state() == "frozen" or not config.is_writable()):
            # A guard before this one froze it, and could perhaps not write that down.
            self.frozen_at, self.frozen_pid = time.monotonic(), pid
            return True
        answer = self.local.answer
        if answer is None:
            return False
        # One that was promoted and hangs since cannot say so.
        return not (answer.in_recovery and processes.is_standby(self.told.data_directory))

    def _judge(self, now, pid):
        frozen = None if self.frozen_at is None else now - self.frozen_at
        jurors, own = self._jurors(now), self.local.answer
        if frozen is None and jurors and all(self._is_watched_by(m) for m in jurors):
            self.replaced = None
        verdict = rules.guard(
            self.told.node_id,
            self.told.vote_seconds,
            jurors,
            frozen,
            now - self.acting_since,
            self._unrecorded(now),
            own if own is not None and not own.in_recovery else None,
            self.replaced,
        )
        acts = frozen is None and verdict.do is not rules.Do.NOTHING
        if acts and processes.is_shut_down(self.told.data_directory):
            # Nothing is written any more, but it may still be archiving what was.
            return
        if verdict.do is rules.Do.FREEZE:
            processes.freeze(pid)
            self.frozen_at, self.frozen_pid = now, pid
            self.say("frozen", verdict.reason)
        elif verdict.do is rules.Do.THAW:
            processes.thaw(pid)
            self.frozen_at = None
            self.say("guarding", verdict.reason)
        elif verdict.do is rules.Do.KILL:
            # The mark comes first: a guard that dies in between must not leave it down for ever.
            self.retry.set()
            self._kill(pid, verdict.reason)
        elif verdict.do is rules.Do.RETIRE:
            # Those that its start check would hear of it from may not know of the other one yet.
            self.retry.clear()
            self._kill(pid, verdict.reason)
            log(
                "run 'salt-run state.orchestrate repmgr.cluster' to make this node a standby of the"
                " new primary"
            )
        elif frozen is None:
            self.say("guarding")

    def _is_watched_by(self, member):
        return member.answer is not None and member.answer.upstream == self.told.node_id

    def _unrecorded(self, now):
        """Return those that may have become electors since this server said last who is one."""
        if self.local.member(now).now is not None:
            return []
        away = [p.node_id for p in self.peers if not p.active]
        return [self.probes[i].member(now) for i in away if i in self.probes]

    def _kill(self, pid, reason):
        processes.kill(pid)
        self.frozen_at = None
        self.local.answer = None
        self.say("killed", reason)

    def _down(self, now):
        self.local.answer = None
        if not self.retry.is_set():
            if self.state != "killed":
                self.say("down")
            return
        if self.starter is not None and self.starter.poll() is None:
            self.next_start = now + _START_PAUSE
        elif now >= self.next_start:
            self.starter = processes.start(self.told.service)

    def say(self, state, reason=""):
        """Keep the state where others can read it, and log what changes."""
        if state == self.state:
            return
        if state != "idle" or self.state is not None:
            log(f"{state}: {reason}" if reason else state)
        self.state = state
        said = {"state": state, "reason": reason, "since": time.time(), "pid": os.getpid()}
        self.store.write(config.STATE, said)

    # -- housekeeping -------------------------------------------------------------------

    def _keep_house(self, now, unpause):
        if self.housekeeper is not None and self.housekeeper.is_alive():
            return
        gone, back = set(), set()
        answer = self.local.answer
        if answer is not None and not answer.in_recovery and not self.told.witness:
            active = [p.node_id for p in self.peers if p.active]
            gone, back = rules.activity(self.electors(now, active_only=False), active)
        if gone or back or unpause:
            self.housekeeper = threading.Thread(
                target=_tidy, args=(self.told.own_conninfo, gone, back, unpause), daemon=True
            )
            self.housekeeper.start()


def _last_state():
    """Return the state that the last guard left."""
    try:
        with open(config.STATE, encoding="utf-8") as handle:
            return json.load(handle)["state"]
    except (OSError, ValueError, KeyError):
        return None


def _tidy(conninfo, gone, back, unpause):
    """Correct the metadata and end a pause; a thread of its own, as a server may be slow."""
    try:
        connection = psycopg2.connect(
            conninfo,
            connect_timeout=2,
            options=f"{config.PINNED} -c statement_timeout=5s -c synchronous_commit=local",
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            for ids, active in ((gone, False), (back, True)):
                if ids:
                    cursor.execute(_SET_ACTIVE, (active, sorted(ids)))
                    word = "active again" if active else "inactive: it did not answer for too long"
                    log(f"node {', '.join(map(str, sorted(ids)))} is {word}")
            if unpause:
                _unpause(cursor)
        connection.close()
    except (psycopg2.Error, OSError) as err:
        log(f"could not update repmgr's metadata, will try again: {err}")


def _unpause(cursor):
    with lease.held(0):
        # Another one may have begun since.
        if not lease.is_over(lease.left()):
            return
        cursor.execute("SELECT repmgr.repmgrd_pause(false)")
        forgotten = lease.forget()
    if forgotten:
        log("the pause of repmgrd is over")


def main():
    """Run until told to stop. A server that is frozen is left to the next guard."""
    guard = Guard(config.load())
    Resolver(guard.probes.values).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))
    log(f"guarding {guard.told.data_directory}")
    while True:
        guard.tick()


if __name__ == "__main__":
    main()
