"""The master's side of taking a node out of service and of bringing it back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import salt.utils.user

from saltext_repmgr.utils import drain as deciding
from saltext_repmgr.utils import lead
from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.drain import Drain
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.outcome import NO_RESULT
from saltext_repmgr.utils.outcome import Outcome
from saltext_repmgr.utils.switchover import Check

# The first start of a standby may only find out that the WAL it needs is gone.
_ATTEMPTS = 2


@dataclass(frozen=True)
class Result(Outcome):
    """What became of a drain, or of its end.

    news
        What is so now; empty where it did not come to that.
    """

    news: str = ""

    @property
    def summary(self):
        """All of it in a line, and a line for each problem."""
        return "\n".join(filter(None, [self.news, *self.problems]))


class _Stopped(Exception):
    """A node did not do its part; carries a line for each reason."""


class _Work:
    """Parts handed out to nodes one after the other, and what they said."""

    def __init__(self, cmd):
        self._cmd = cmd
        self.nodes = {}
        self.changed = False

    def tell(self, name, function, **arguments):
        """Have a node run one of our functions; return the data it returned."""
        self.changed = True
        reply = master.tell(self._cmd, [name], function, kwarg=arguments).get(name)
        if not isinstance(reply, Mapping):
            raise _Stopped(f"{name}: {reply or NO_RESULT}")
        self.nodes[name] = reply["comment"]
        return reply

    def apply(self, names, sls):
        """Have nodes apply an SLS."""
        self.changed = True
        more = {"arg": [sls], "kwarg": {"queue": True}}
        replies = master.tell(self._cmd, names, "state.apply", **more)
        failed = [f"{name}: {why}" for name in names for why in _failed(replies.get(name))]
        if failed:
            raise _Stopped("\n".join(failed))
        for name in names:
            self.nodes[name] = _changes(replies[name])


def _failed(reply):
    if not isinstance(reply, Mapping):
        text = " ".join(map(str, reply)) if isinstance(reply, list) else reply
        return [text or NO_RESULT]
    return [s["comment"] for s in reply.values() if s["result"] is False]


def _changes(reply):
    changed = [s["__id__"] for s in reply.values() if s["changes"]]
    return f"changed: {', '.join(changed)}" if changed else "nothing to change"


def take_out(cmd, spec, name, reason="", to=None, force=False, keep_slot=None, test=False):
    """Take a node out of service and return the :class:`Result`.

    cmd
        Salt's ``saltutil.cmd``.
    name
        Of the node.
    reason
        Why, for those who come after (str).
    to, force, keep_slot
        See :func:`saltext_repmgr.utils.drain.examine`.
    test
        Only look.
    """

    def decide(observations, missing):
        return deciding.examine(spec, observations, missing, name, to, force, keep_slot)

    def act(work, plan):
        if plan.heir:
            moved = lead.switch_over(cmd, spec, plan.heir)
            work.nodes.update(moved.nodes)
            work.changed = work.changed or moved.changed
            if moved.problems:
                raise _Stopped("\n".join([*moved.problems, f"{name} is not drained"]))
        part = {"by": salt.utils.user.get_specific_user(), "reason": reason, "keep_slot": keep_slot}
        fed = work.tell(name, "repmgr_node.drain", **part)["feeds"]
        if fed:
            work.apply(fed, "repmgr.server")
            left = work.tell(name, "repmgr_node.drain", **part)["feeds"]
            if left:
                raise _Stopped(
                    f"{', '.join(left)} still stream from {name}: PostgreSQL on {name} was not stopped"
                )

    words = ("is drained already", "could be drained now", "is drained")
    return _run(cmd, spec, name, decide, act, words, test)


def bring_back(cmd, spec, name, test=False):
    """Bring a node back and return the :class:`Result`; see :func:`take_out`."""

    def decide(observations, missing):
        return deciding.examine_back(spec, observations, missing, name)

    def act(work, plan):
        work.tell(name, "repmgr_node.back")
        for attempt in range(_ATTEMPTS):
            try:
                work.apply([name], "repmgr")
                break
            except _Stopped:
                if attempt + 1 == _ATTEMPTS:
                    raise
        if plan.below:
            work.apply(plan.below, "repmgr.server")

    words = ("is in service already", "could come back now", "is in service again")
    return _run(cmd, spec, name, decide, act, words, test)


def _run(cmd, spec, name, decide, act, words, test):
    """Look, have it done, look again."""
    began = time.monotonic()
    plan = _planned(cmd, spec, name, decide)
    if plan.problems or plan.done or test:
        news = "" if plan.problems else f"{name} {words[0] if plan.done else words[1]}"
        seconds = time.monotonic() - began
        return Result(plan, problems=plan.problems, seconds=seconds, news=news)
    work, news = _Work(cmd), f"{name} {words[2]}"
    try:
        act(work, plan)
        found = [a.line for a in master.settled(cmd, spec) if not a.note]
    except _Stopped as err:
        news, found = "", split_lines(str(err))
    seconds = time.monotonic() - began
    return Result(plan, work.changed, work.nodes, tuple(found), seconds, news)


def _planned(cmd, spec, name, decide):
    replies = master.reports(cmd, [n.name for n in spec.members])
    observations, _, problems, missing = survey.read_reports(spec, replies)
    if problems:
        checks = tuple(Check("pillar", "", problem) for problem in problems)
        return Drain(spec.cluster, name, checks=checks)
    return decide(observations, missing)
