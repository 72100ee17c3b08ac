"""When to heal a cluster: one run for many events, and only where there is something to mend."""

import fcntl
import os
import time

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import routing
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.plan import reached

# The events of one failover come within seconds of each other, and the nodes that follow
# need some of them.
SETTLE_SECONDS = 5
_PATIENCE_SECONDS = 600
_PARTS = ("switch_over", "restart", "upgrade", "update_extension", "drain", "rotate_password")
PLANNED = tuple(f"repmgr_node.{part}" for part in _PARTS)
_PAUSE_SECONDS = 3


def await_turn(directory, name, settle=SETTLE_SECONDS):
    """Wait for one's turn to heal a cluster.

    directory
        Where the locks lie; it is made.
    name
        Of the cluster.
    settle
        Seconds to wait for what else is about to happen.

    Returns an open file; closing it ends the turn, and so does the end of the process.
    Returns None at once where another is about to begin: what the caller knows, it will see.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(os.path.join(directory, f"{name}.waits"), "wb") as waits:
        try:
            fcntl.flock(waits, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        # pylint: disable=consider-using-with
        turn = open(os.path.join(directory, f"{name}.runs"), "wb")
        fcntl.flock(turn, fcntl.LOCK_EX)
        time.sleep(settle)
        return turn


def await_calm(ask, patience=_PATIENCE_SECONDS, pause=_PAUSE_SECONDS):
    """Wait until no state run goes on at the nodes, twice in a row: an orchestration that
    somebody else started pauses between its steps.

    ask
        Function without parameters that returns ``{minion id: jobs}``, as
        ``saltutil.running`` tells them.

    Returns an empty string, or after ``patience`` seconds what goes on.
    """
    deadline = time.monotonic() + patience
    calm = 0
    while True:
        runs = busy(ask())
        calm = 0 if runs else calm + 1
        if calm == 2:
            return ""
        if time.monotonic() >= deadline:
            return f"these jobs still run after {patience} s: {', '.join(runs)}" if runs else ""
        time.sleep(pause)


def busy(replies):
    """Return ``minion: function`` of each state run and each part of a planned change among the
    running jobs."""
    return [
        f"{name}: {job['fun']}"
        for name, jobs in sorted(replies.items())
        if isinstance(jobs, list)
        for job in jobs
        if job["fun"].startswith("state.") or job["fun"] in PLANNED
    ]


def curable(spec, replies):
    """Return what is wrong with the nodes that answer, as lines; [] where nothing is to be done.

    spec
        The :class:`~saltext_repmgr.utils.spec.ClusterSpec`.
    replies
        What the minions returned for ``repmgr_node.report``, see
        :func:`saltext_repmgr.utils.survey.read_reports`.

    A node that does not answer is no reason to begin: its turn comes when its minion is back. Nor
    is one that is drained.
    """
    said, _, _, missing = survey.read_reports(spec, replies)
    missing = {**missing, **routing.read(spec, replies)[1]}
    silent = {f"{name}: {why}" for name, why in missing.items()}
    away = drained.away(spec, said, reached(said))
    found = [a for a in survey.ailments(spec, replies) if a.node not in away and not a.rolling]
    return [ailment.line for ailment in found if ailment.line not in silent]
