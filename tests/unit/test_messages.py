"""scripts/messages finds what the product says, and nothing else."""

import pathlib
import runpy

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "messages"))


def found(place):
    """``{(function, kind, text)}`` of a file or directory of the product."""
    rows = [line.split(" | ", 3) for line in SCRIPT["table"]([ROOT / place])]
    return {tuple(row[1:]) for row in rows}


def has(place, function, kind, part):
    return any(f == function and k == kind and part in text for f, k, text in found(place))


@pytest.mark.parametrize(
    "place,function,kind,part",
    [
        ("plan.py", "_finish", "refusal", "{data.path} is marked as an unfinished clone"),
        ("pillar.py", "_cluster", "problem", "is missing; write the cluster's name"),
        ("pillar_nodes.py", "_minion_id", "problem", "the minion id has {len(name)} characters"),
        ("survey.py", "daemon_ailments", "what", "repmgrd does not run (unit: {repmgrd.unit})"),
        ("switchover.py", "_replay", "problem", "recovery_min_apply_delay is set on {target}"),
        ("act.py", "move_aside", "error", "PostgreSQL runs on {path}"),
    ],
)
def test_known_messages_with_their_kind(place, function, kind, part):
    assert has(f"src/saltext_repmgr/utils/{place}", function, kind, part)


def test_what_a_runner_and_a_state_answer():
    assert has("src/saltext_repmgr/runners/repmgr.py", "heal", "", "pillar says 'rejoin: ")
    states = "src/saltext_repmgr/states/repmgr.py"
    assert has(states, "standby_cloned", "comment", "needs no clone")


def test_the_state_ids_of_an_sls():
    assert ("", "id", "data of {{ node.node }}") in found("states/repmgr/server.sls")


SOURCE = '''
"""The module does things."""

A = 1
"""What A is for."""
_SQL = """
SELECT a FROM b WHERE c
"""
_LINE = "port = 5432"


def tell(name, count):
    """Tell a name something."""
    if count:
        raise Refused(
            f"{name} is down"
            + f", and so are {count} others; " + "start it"
        )
    run(["systemctl", "stop"], "node check")
    log.info("%s is down, that is all", name)
    return f"{'is down for good' if count else 'down'}: {name}"
'''


def test_text_that_is_put_together_is_one_message():
    rows = SCRIPT["of_python"](SOURCE)
    assert [row[1:] for row in rows] == [
        ("tell", "error", "{name} is down, and so are {count} others; start it"),
        ("tell", "log", "%s is down, that is all"),
        ("tell", "", "is down for good"),
    ]


def test_docstrings_comments_and_statements_of_sql_are_left_out():
    text = "\n".join(row[3] for row in SCRIPT["of_python"](SOURCE))
    for word in ("things", "Tell a name", "What A", "SELECT", "5432", "node check"):
        assert word not in text


def test_every_place_is_read():
    rows = SCRIPT["table"]([ROOT / place for place in SCRIPT["PLACES"]])
    places = {row.split(":")[0] for row in rows}
    assert "states/repmgr/cluster/init.sls" in places
    for name in ("guard/rules.py", "router/daemon.py", "beacons/repmgr.py", "utils/checks.py"):
        assert f"src/saltext_repmgr/{name}" in places
