"""The master's side of rolling work: look, decide, make one move, and look again.

It remembers nothing: a second run goes on from what it sees.
"""

import time
from dataclasses import dataclass

from saltext_repmgr.utils import lead
from saltext_repmgr.utils import master
from saltext_repmgr.utils import rolling
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.outcome import NO_RESULT
from saltext_repmgr.utils.rolling import Do

# A daemon that lost its server is back after some seconds, and the guard looks at the records
# every five.
_SETTLE_SECONDS = 60
# Nobody needs more than two moves, and one of them a switchover there and back.
_MOVES_A_NODE = 4

AGAIN = "fix that, then run this again: it continues from here"


@dataclass(frozen=True)
class Result:
    """What became of it.

    work
        ``restart`` or ``upgrade``.
    done
        Each move that was made, with what became of it.
    plan
        What is left to do, in order.
    problems
        Why it stopped, a line each.
    seconds
        From the first question to the last answer.
    """

    cluster: str
    work: str
    done: tuple = ()
    plan: tuple = ()
    problems: tuple = ()
    seconds: float = 0
    test: bool = False

    @property
    def summary(self):
        """All of it in a line, or a line for each problem."""
        if self.problems:
            left = f"; left to do: {'; '.join(self.plan)}" if self.plan else ""
            state = f"stopped after {_moves(self.done)}{left}; {AGAIN}"
            return "\n".join([*self.problems, state])
        if self.test and self.plan:
            return f"{self.work} of {self.cluster} could begin now: {_moves(self.plan)}"
        if not self.done:
            return f"{self.work}: no node of {self.cluster} needs it"
        return f"{self.work} of {self.cluster} done: {_moves(self.done)} in {self.seconds:.1f} s"


def _moves(made):
    return f"{len(made)} move{'s' * (len(made) != 1)}"


def restart(cmd, spec, nodes=(), force=False, back=False, test=False):
    """Restart the servers that need it, one after the other, and return the :class:`Result`.

    cmd
        Salt's ``saltutil.cmd``.
    nodes
        Names of the nodes that are restarted whether they need it or not, and no others.
    force
        All are.
    back
        The primary of before becomes it again; or the name of the node that shall be it.
    test
        Only look.
    """
    _require_home(spec, back)
    members = [n.name for n in spec.members]
    for name in nodes:
        if name not in members:
            raise UsageError(
                f"{name!r} is not a member of {spec.cluster}; choose from {', '.join(members)}"
            )
    names, before = list(nodes) or (members if force else []), {}

    def find(said):
        servers = {n: said[n].server.started for n in names if n in said and said[n].server}
        for name, started in servers.items():
            before.setdefault(name, started)
        forced = {n: "requested" for n, at in servers.items() if before[n] == at}
        if nodes:
            found = rolling.for_restart(spec, said, forced)
            chosen = {n: why for n, why in found.now.items() if n in forced}
            return rolling.Needs(chosen, in_place=found.in_place, restarted=tuple(chosen))
        return rolling.for_restart(spec, said, forced)

    def prepare(said):
        here = [name for name, seen in said.items() if seen.drained is None]
        told = master.tell(cmd, here, "repmgr_node.configure", kwarg={"test": test})
        _require_answers(here, told)
        unread = [n for n, reply in told.items() if reply["changed"]] if test else []
        line = (
            f"settings are written on {', '.join(unread)}; which restarts they need is known then"
        )
        return [line] if unread else []

    return _Campaign(cmd, spec, "restart", test).run(find, back, prepare)


def upgrade(cmd, spec, back=False, test=False):
    """Upgrade the packages of all nodes, one after the other, and return the :class:`Result`.

    cmd, back, test
        As for :func:`restart`.
    """
    _require_home(spec, back)
    refresh = {"refresh": True}

    def find(said):
        asked = {"timeout": master.TELL_TIMEOUT, "kwarg": refresh}
        newer = master.ask_again(cmd, list(said), "repmgr_node.upgrades", **asked)
        _require_answers(said, newer)
        refresh["refresh"] = False
        return rolling.for_upgrade(spec, said, newer)

    return _Campaign(cmd, spec, "upgrade", test).run(find, back)


def _require_answers(names, replies):
    told = {name: replies.get(name, "its minion does not answer") for name in names}
    wrong = [f"{name}: {text}" for name, text in told.items() if not isinstance(text, dict)]
    if wrong:
        raise CommandFailed("; ".join(wrong))


def _require_home(spec, back):
    names = [n.name for n in spec.data_nodes]
    if not isinstance(back, bool) and back not in names:
        raise UsageError(f"back is {back!r}; give true, or one of {', '.join(names)}")


class _Campaign:
    """One run. What it has done is for people; what it does next comes from what it sees."""

    def __init__(self, cmd, spec, work, test):
        self.cmd, self.spec, self.work, self.test = cmd, spec, work, test
        self.began = time.monotonic()
        self.done, self.tried = [], {}

    def run(self, find, back, prepare=None):
        """Make moves until none is left.

        find
            Function from what the members said to the :class:`~saltext_repmgr.utils.rolling.Needs`.
        prepare
            Function that does what precedes the moves, given what the members said, and in a dry
            run returns it in words.
        """
        try:
            return self._run(find, back, prepare)
        except CommandFailed as err:
            return self._result(problems=[str(err)])

    def _run(self, find, back, prepare):
        home, first = back or None, ()
        for _ in range(_MOVES_A_NODE * len(self.spec.members)):
            said, troubles = _look(self.cmd, self.spec, began=bool(self.done))
            if troubles:
                return self._result(problems=troubles)
            if prepare is not None:
                first, prepare = prepare(said), None
                said, troubles = _look(self.cmd, self.spec, began=False)
                if troubles:
                    return self._result(problems=troubles)
            needs = find(said)
            if home is True:
                home = rolling.chart(self.spec, said, needs).primary
            course = rolling.chart(self.spec, said, needs, home)
            problems = [course.problem] if course.problem else []
            if problems or self.test or not course.moves:
                return self._result(course.moves, problems, first)
            problems = self._make(course.moves[0])
            if problems:
                return self._result(course.moves, problems)
        problem = f"stopped after too many moves, and nodes still need the {self.work}"
        return self._result(problems=[f"{problem}; see 'salt-run repmgr.status'"])

    def _make(self, move):
        """Make a move, and return what went wrong."""
        key = move.do, move.node
        if self.tried.get(key) == move.reason:
            return [f"{move.line}: this was done, and {move.node} still needs it; see its logs"]
        self.tried[key] = move.reason
        text, problems = _make(self.cmd, self.spec, self.work, move)
        if not problems:
            self.done.append(f"{move.line}: {text}")
        return problems

    def _result(self, moves=(), problems=(), first=()):
        lines = (*first, *(move.line for move in moves))
        seconds = time.monotonic() - self.began
        return Result(
            self.spec.cluster,
            self.work,
            tuple(self.done),
            lines,
            tuple(problems),
            seconds,
            self.test,
        )


def _look(cmd, spec, began):
    """Return ``(what each member said of itself, why nothing may be done)``.

    began
        A move was made: whatever is wrong may be its last ripples, and is waited for.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        replies = master.reports(cmd, spec.minions)
        found = [a for a in survey.ailments(spec, replies) if not a.note and not a.rolling]
        passing = found and (began or all(a.settles for a in found))
        if not passing or time.monotonic() >= deadline:
            return survey.read_reports(spec, replies)[0], [a.line for a in found]
        time.sleep(0.5)


def _make(cmd, spec, work, move):
    """Make a move; return ``(what became of it, problems)``."""
    if move.do is Do.SWITCH:
        found = lead.switch_over(cmd, spec, move.node)
        # Once it has begun, what became of it is seen better than said: a busy minion says nothing.
        return found.summary, () if found.changed else found.problems
    if move.do is Do.EXTENSION:
        replies = master.tell(cmd, [move.node], "repmgr_node.update_extension")
        names = [n.name for n in spec.members]
        apply = {"arg": ["repmgr.daemon"], "kwarg": {"queue": True}}
        told = master.tell(cmd, names, "state.apply", **apply)
        replies |= {name: reply for name, reply in told.items() if not isinstance(reply, dict)}
    else:
        parts = {"node": move.node, "others": list(move.still)}
        names = [move.node, *move.still]
        function = f"repmgr_node.{work}"
        replies = master.tell(cmd, names, function, kwarg=parts)
    problems = [f"{n}: {reply}" for n, reply in replies.items() if not isinstance(reply, dict)]
    # Who is too busy to answer is looked at all the same.
    own = replies.get(move.node, {"comment": NO_RESULT})
    return "" if problems else own["comment"], problems
