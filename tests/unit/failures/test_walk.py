"""Random walks: the same for the same seed, and never more broken than may be."""

import pytest

from tests.failures import faults
from tests.failures import walk

SEEDS = range(50)
_BREAKS = {(kind.action, kind.primary): kind.breaks for kind in walk.KINDS}


def real(steps):
    return [step for step in steps if step.action != walk.HEAL]


def test_a_seed_is_a_walk():
    assert walk.steps(1, 30, 3) == walk.steps(1, 30, 3)
    assert len({tuple(walk.steps(seed, 30, 3)) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("count", [1, 8, 30, 100])
def test_heals_are_on_top(count):
    steps = walk.steps(7, count, 3)
    assert len(real(steps)) == count
    assert steps[-1].action == walk.HEAL
    assert steps[0].action != walk.HEAL


@pytest.mark.parametrize(("members", "minority"), [(2, 0), (3, 1), (4, 1), (5, 2)])
def test_never_more_than_a_minority_is_broken(members, minority):
    worst = 0
    for seed in SEEDS:
        broken = 0
        for step in walk.steps(seed, 30, members):
            broken = 0 if step.action == walk.HEAL else broken + _BREAKS[step.action, step.primary]
            worst = max(worst, broken)
    # One fault at a time there has to be, or there would be nothing to see.
    assert worst == max(minority, 1)


def test_every_kind_comes():
    for seed in SEEDS:
        taken = {(s.action, s.primary) for s in real(walk.steps(seed, len(walk.KINDS), 3))}
        assert taken == set(_BREAKS)


def test_every_action_is_known():
    known = {fault.name for fault in vars(faults).values() if isinstance(fault, faults.Fault)}
    actions = {kind.action for kind in walk.KINDS}
    assert actions - {walk.ORCHESTRATE, walk.PROMOTE, walk.REMOVE} <= known


def test_who_it_is():
    standby = walk.Step("x", False, 2, 1.0)
    assert walk.who(standby, "a", ["c", "b"]) == "b"
    assert walk.who(standby, "a", ["d", "c", "b"]) == "d"
    assert walk.who(walk.Step("x", True, 2, 1.0), "a", ["b"]) == "a"
