"""A random walk through faults. Which step comes next is a function of the seed alone."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

HEAL = "heal"
ORCHESTRATE = "orchestrate"
PROMOTE = "promote by hand"
REMOVE = "remove"


@dataclass(frozen=True)
class Kind:
    """Something that can be done; ``breaks`` when a node is out of service after it."""

    action: str
    primary: bool
    breaks: bool = True


@dataclass(frozen=True)
class Step:
    """One step.

    It is for the primary of its moment, or for one of the standbys in service, told by ``pick``.
    After it, ``seconds`` are left to the cluster.
    """

    action: str
    primary: bool
    pick: int
    seconds: float


#: Every kind comes once before one comes again. :mod:`.faults` has those that are not named above.
KINDS = (
    Kind("power off", True),
    Kind("power off", False),
    Kind("kill -9", True),
    Kind("kill -9", False),
    Kind("network cut", True),
    Kind("network cut", False),
    Kind("host frozen", True),
    Kind("host frozen", False),
    Kind("server frozen", True),
    Kind("server stopped", False),
    Kind(PROMOTE, True),
    Kind(REMOVE, False),
    Kind(ORCHESTRATE, False, breaks=False),
    Kind("minion killed", True, breaks=False),
    Kind("minion killed", False, breaks=False),
)

_SHORTEST, _LONGEST = 1.0, 15.0


def steps(seed: int, count: int, members: int) -> list[Step]:
    """A walk of so many steps, and a heal wherever one more fault would break half the cluster.

    :param seed: the same seed gives the same walk.
    :param count: of steps that are not :data:`HEAL`.
    :param members: how many nodes the cluster has; no more than a minority is ever broken,
        or one of two.
    :returns: the walk, with a heal at its end.
    """
    chance = random.Random(seed)
    most = max((members - 1) // 2, 1)
    taken: list[Step] = []
    broken = 0
    for kind in itertools.islice(_kinds(chance), count):
        if kind.breaks and broken == most:
            taken.append(_heal())
            broken = 0
        broken += kind.breaks
        pick = int(chance.random() * members)
        seconds = _SHORTEST + chance.random() * (_LONGEST - _SHORTEST)
        taken.append(Step(kind.action, kind.primary, pick, round(seconds, 1)))
    return [*taken, _heal()]


def who(step: Step, primary: str, standbys: Sequence[str]) -> str:
    """The node that a step is for.

    :param standbys: those in service, by name; at least one.
    """
    return primary if step.primary else sorted(standbys)[step.pick % len(standbys)]


def _heal() -> Step:
    return Step(HEAL, False, 0, 0)


def _kinds(chance: random.Random):  # type: ignore[no-untyped-def]
    while True:
        # By numbers of its own: what Python's own shuffle draws may change with its version.
        yield from sorted(KINDS, key=lambda _: chance.random())
