"""What is held back of the settings that a standby must have as high as its primary."""

import dataclasses

import pytest

from saltext_repmgr.utils import limits
from saltext_repmgr.utils.spec import PostgresSpec
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import control
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

NAME = "max_connections"


def asking(**settings):
    return dataclasses.replace(SPEC, postgres=PostgresSpec(settings=settings))


def runs(value, make=server, **more):
    return make(limits={NAME: value}, **more)


def lies(value, **more):
    return data(control=dataclasses.replace(control(), limits={NAME: value}), **more)


def held(spec, name, observed):
    settings, found = limits.settle(spec, NODES[name], observed)
    assert [h.value for h in found] == [settings[h.name] for h in found]
    return settings.get(NAME), [h.line for h in found]


@pytest.mark.parametrize(
    ("asked", "on_disk", "primary", "expected"),
    [
        (200, 100, 100, 200),  # more: standbys first
        (100, 100, 100, 100),
        (50, 100, 100, 100),  # less: not before the primary
        (50, 50, 50, 50),
        (50, 100, 50, 100),  # it has not replayed yet that the primary has less
        (50, 50, 100, 100),
    ],
)
def test_a_standby_has_no_less_than_its_primary_and_its_data(asked, on_disk, primary, expected):
    observed = seen(
        "node2", lies(on_disk, standby=True), runs(on_disk, standby), node1=runs(primary)
    )
    value, lines = held(asking(max_connections=asked), "node2", observed)
    assert value == expected
    assert bool(lines) == (expected != asked)


def test_a_standby_that_is_down_goes_by_its_data():
    value, (line,) = held(
        asking(max_connections=50), "node2", seen("node2", lies(80, standby=True))
    )
    assert value == 80
    assert line == "max_connections stays 80 for now instead of 50: its data require that"


def test_a_clone_to_be_goes_by_its_primary():
    value, (line,) = held(asking(max_connections=50), "node2", seen("node2", node1=runs(90)))
    assert value == 90
    assert line.endswith("instead of 50: primary node1 runs with that")


def test_data_of_another_cluster_do_not_count():
    foreign = dataclasses.replace(control("7"), limits={NAME: 500})
    observed = seen("node2", data(control=foreign), node1=runs(90))
    assert held(asking(max_connections=100), "node2", observed) == (100, [])


@pytest.mark.parametrize(
    ("asked", "own", "others", "expected"),
    [
        (200, 100, (100, 100), 100),
        (200, 100, (200, 100), 100),
        (200, 100, (200, 200), 200),  # they are there
        (200, 100, (150, 200), 150),
        (200, 100, (50, 200), 100),  # one is below already
        (50, 100, (100, 100), 50),  # less: the primary first
        (200, 100, (), 200),
    ],
)
def test_a_primary_has_no_more_than_its_standbys(asked, own, others, expected):
    members = {f"node{n + 2}": runs(value, standby) for n, value in enumerate(others)}
    value, lines = held(
        asking(max_connections=asked), "node1", seen("node1", lies(own), runs(own), **members)
    )
    assert value == expected
    assert bool(lines) == (expected != asked)


def test_before_there_is_a_cluster_nothing_is_held_back():
    observed = seen("node1", lies(100), runs(100, nodes=None), node2=runs(100, nodes=None))
    assert held(asking(max_connections=20), "node1", observed) == (20, [])


def test_a_witness_is_on_its_own():
    observed = seen("node4", lies(100), runs(100), node1=runs(100))
    assert held(asking(max_connections=20), "node4", observed) == (20, [])


def test_with_two_primaries_nothing_is_decided():
    observed = seen("node1", lies(100), runs(100), node2=runs(100), node3=runs(100, standby))
    assert held(asking(max_connections=200), "node1", observed) == (200, [])


def test_what_pillar_gives_up_is_held_back_too():
    own = runs(200, standby, other_limits={NAME: 100})
    observed = seen("node2", lies(200, standby=True), own, node1=runs(200))
    value, (line,) = held(SPEC, "node2", observed)
    assert (value, line.startswith("max_connections stays 200 for now instead of 100")) == (
        200,
        True,
    )


def test_what_pillar_never_had_stays_out_of_the_file():
    own = runs(100, standby, other_limits={NAME: 100})
    observed = seen("node2", lies(100, standby=True), own, node1=runs(100))
    assert held(SPEC, "node2", observed) == (None, [])


def test_an_older_minion_says_nothing_of_it():
    observed = seen("node1", data(), server(), node2=standby())
    assert held(asking(max_connections=200), "node1", observed) == (200, [])


FILE = "# ours\nhot_standby = on\nmax_connections = 60\nmax_connections_of_mine = 1\nport = 5432\n"


@pytest.mark.parametrize(
    ("needed", "ran_with", "changed"),
    [
        ({}, {}, {}),
        ({NAME: 60}, {NAME: 10}, {}),
        ({NAME: 90}, {NAME: 90}, {"max_connections = 60": "max_connections = 90"}),
        ({NAME: 50}, {NAME: 50}, {}),
        ({"max_wal_senders": 9}, {"max_wal_senders": 9}, {}),
        (
            {"max_wal_senders": 9},
            {"max_wal_senders": 7},
            {"port = 5432": "max_wal_senders = 9\nport = 5432"},
        ),
    ],
)
def test_a_former_primary_starts_with_what_the_new_one_has(needed, ran_with, changed):
    expected = FILE
    for old, new in changed.items():
        expected = expected.replace(old + "\n", new + "\n")
    assert limits.raised(FILE, ran_with, needed) == expected
