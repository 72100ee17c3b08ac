"""The start check: may this node's server start as a primary? Run by ``postgres`` beside it.

Ends with 0 to let it start. What it says goes to the server's log.
"""

import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import sys
import time

from . import config
from . import processes
from . import rules
from . import sessions
from .probe import GUARD
from .probe import Probe
from .probe import step_all
from .probe import wait
from .store import remove
from .store import touch

_PATIENCE = 20
# 'systemctl stop' of a server that is being started ends this, and none of its children.
_STARTER = "pg_ctlcluster"
# Long enough for a node that counts refusals to notice that somebody is here.
_LEAST_LISTENING = 0.3
# The guards of those that miss this node have noticed by then that it is asking them.
_NOTED = 3


def control(data_directory, bindir):
    """Return ``(timeline, system identifier)`` of the control file.

    A promotion writes its timeline there as that of recovery, minutes before the first checkpoint.
    """
    done = subprocess.run(
        [f"{bindir}/pg_controldata", data_directory],
        env={"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    timelines = re.findall(
        r"^(?:Latest checkpoint's TimeLineID|Min recovery ending loc's timeline):\s+(\d+)$",
        done.stdout,
        re.M,
    )
    system = re.search(r"^Database system identifier:\s+(\d+)$", done.stdout, re.M)
    return max(map(int, timelines)), system.group(1)


@contextlib.contextmanager
def _listening(port):
    """Take the server's port while the others are asked.

    For a node that counts how long connections are refused, so that it may promote itself, this
    host is then no longer one without a server.
    """
    sockets = []
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((any_address, port))
            one.listen(16)
    try:
        yield
    finally:
        for one in sockets:
            one.close()


class _Announcement:
    """Sessions by which others know that this node is about to be the primary again.

    Those that miss it would have its guard freeze it before they can see it. They believe it for a
    moment only.
    """

    def __init__(self, told, electors):
        self._question = dataclasses.replace(GUARD, asker=f"{sessions.START}{told.node_id}")
        self._electors = electors
        self._began = 0.0
        self.probes = []

    def begin(self, now):
        """Tell them."""
        self._began = now
        self.probes = [Probe(p, 0.2, question=self._question) for p in self._electors]

    def end(self):
        """Take it back."""
        for probe in self.probes:
            probe.close()
        self.probes = []

    def is_noted(self, now):
        """Whether they were told, and had the time to note it."""
        return bool(self.probes) and now - self._began > _NOTED


def judge(told, data_directory, bindir):
    """Ask the others until there is a verdict; return it, or None where nobody waits for it."""
    peers = config.remembered()
    if peers is None:
        return rules.Verdict(rules.Start.ALLOW, "it was never a member of a cluster")
    timeline, system = control(data_directory, bindir)
    others = [p for p in peers if p.node_id != told.node_id]
    # A node that was promoted a moment ago may not know its electors yet: then all count.
    electors = config.electors(peers, told.node_id) or [p for p in others if p.active]
    probes = [Probe(p, 0.2) for p in others]
    announcement = _Announcement(told, electors)
    starter = processes.ancestor(_STARTER)
    began = time.monotonic()
    with _listening(told.port):
        while True:
            now = step_all([*probes, *announcement.probes])
            if starter is not None and processes.ancestor(_STARTER) != starter:
                return None
            verdict = rules.start(
                told.node_id,
                timeline,
                system,
                [p.member(now) for p in probes],
                [p.node_id for p in electors],
            )
            if verdict.do is rules.Start.REFUSE or now - began > _PATIENCE:
                return verdict
            if verdict.do is not rules.Start.ALLOW:
                announcement.end()
            elif now - began > _LEAST_LISTENING:
                if not _is_missed(told, probes, electors, now):
                    if now - began > 1 or _are_settled(probes, now):
                        return verdict
                elif announcement.is_noted(now):
                    return verdict
                elif not announcement.probes:
                    announcement.begin(now)
            wait([*probes, *announcement.probes], 0.05)


def _is_missed(told, probes, electors, now):
    heard = [p.member(now) for p in probes if p.peer in electors]
    return rules.misses(told.node_id, told.vote_seconds, heard)


def _are_settled(probes, now):
    """Whether all have said something, or are not there."""
    return all(p.answer is not None or p.member(now).refused for p in probes)


def _override(name):
    """Whether a person said that this node may start, whatever the others say; once."""
    try:
        with open(config.ANYWAY, encoding="utf-8") as handle:
            said = handle.read().strip()
        os.unlink(config.ANYWAY)
    except OSError:
        return False
    return said == name


def main():
    """Judge, say why not, and return the exit code."""
    data_directory, bindir = sys.argv[1:3]
    told = config.load()
    if not told.fence or told.witness:
        return 0
    if _override(told.name):
        print(f"repmgr-guard: {told.name} starts as a primary because {config.ANYWAY} said so")
        return 0
    verdict = judge(told, data_directory, bindir)
    if verdict is None:
        print(f"repmgr-guard: {told.name} does not start: {_STARTER} was ended meanwhile.")
        return 1
    if verdict.do is rules.Start.ALLOW:
        # The guard removes it as well, once the server runs.
        remove(config.RETRY)
        return 0
    print(f"repmgr-guard: {told.name} does not start as a primary: {verdict.reason}.")
    if verdict.do is rules.Start.WAIT:
        if touch(config.RETRY):
            print("repmgr-guard: the start is tried again every few seconds.")
        else:
            print(
                f"repmgr-guard: {config.STATE_DIRECTORY} cannot be written, so nothing tries it again;"
                " make room there, then start the server."
            )
    else:
        remove(config.RETRY)
        print(
            "repmgr-guard: run 'salt-run state.orchestrate repmgr.cluster' to make it a standby of the"
            " primary."
        )
    print(
        f"repmgr-guard: to keep the data of this node instead, stop the other primary, run"
        f" 'echo {told.name} > {config.ANYWAY}' here and start this server again."
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
