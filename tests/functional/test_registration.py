"""What a new primary writes down, as the first thing it does."""

import pytest

from saltext_repmgr.utils import registration
from saltext_repmgr.utils.spec import NodeSpec

# id, type, upstream, active. The guard on the new primary goes by what is active and below it.
_MAKE = """
INSERT INTO repmgr.nodes (node_id, node_name, type, upstream_node_id, active, conninfo, repluser,
                          config_file)
VALUES (%s, 'node' || %s, %s, %s, %s, 'host=192.0.2.1', 'repmgr', '/etc/repmgr.conf')
"""
_FOUND = "SELECT node_id, type, upstream_node_id, active FROM repmgr.nodes ORDER BY node_id"
BEFORE = [
    (1, "primary", None, True),
    (2, "standby", 1, True),
    (3, "standby", 1, True),
    (4, "witness", 1, True),
    (5, "standby", 3, True),
    (6, "standby", 1, False),
    (7, "standby", 2, True),
]
AFTER = [
    (1, "standby", 2, True),
    (2, "primary", None, True),
    (3, "standby", 2, True),
    (4, "witness", 2, True),
    (5, "standby", 3, True),
    (6, "standby", 1, False),
    (7, "standby", 2, True),
]
LOST = [
    (1, "standby", 3, True),
    (2, "primary", None, False),
    (3, "primary", None, True),
    (4, "witness", 3, True),
    (5, "standby", 3, True),
    (6, "standby", 1, False),
    (7, "standby", 3, True),
]
# It was lost before anybody had its records.
LOST_UNKNOWN = [*LOST[:1], (2, "standby", 1, False), *LOST[2:6], (7, "standby", 2, True)]


@pytest.fixture
def recorded(primary):
    """Make records and return what becomes of them; all of it is undone."""

    def run(rows, change):
        with primary.connect("repmgr") as connection:
            connection.autocommit = False
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL DEFERRED; DELETE FROM repmgr.nodes")
                for row in rows:
                    cursor.execute(_MAKE, (row[0], *row))
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                change(connection)
                cursor.execute(_FOUND)
                found = cursor.fetchall()
                connection.rollback()
                return found

    return run


@pytest.mark.parametrize(
    ("rows", "node_id", "lost", "expected"),
    [
        (BEFORE, 2, None, AFTER),
        (AFTER, 2, None, AFTER),
        (AFTER, 3, 2, LOST),
        (BEFORE, 3, 2, LOST_UNKNOWN),
    ],
    ids=["switchover", "again", "lost", "lost before it was known"],
)
def test_all_that_are_to_follow_are_below_it_at_once(recorded, rows, node_id, lost, expected):
    node = NodeSpec(f"node{node_id}", node_id, "192.0.2.1")
    gone = lost and NodeSpec(f"node{lost}", lost, "192.0.2.2")
    assert recorded(rows, lambda c: registration.lead(c, node, gone)) == expected


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (9, [*BEFORE[:1], *BEFORE[2:6], (7, "standby", 9, True), (9, "standby", 1, True)]),
        # It was registered with the new id before.
        (6, [*BEFORE[:1], *BEFORE[2:6], (7, "standby", 6, True)]),
    ],
    ids=["new", "known"],
)
def test_a_record_gets_another_id_and_those_below_it_follow(recorded, new, expected):
    assert recorded(BEFORE, lambda c: registration.renumber(c, 2, new)) == expected
