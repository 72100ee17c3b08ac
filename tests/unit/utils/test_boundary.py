"""Our errors become Salt's two, once, and nothing else does."""

import inspect

import pytest
from salt.exceptions import CommandExecutionError
from salt.exceptions import SaltInvocationError

from saltext_repmgr.utils import boundary
from saltext_repmgr.utils import errors

INVOCATION = [errors.UsageError("why"), errors.PillarError([("repmgr.nodes", "why")])]
EXECUTION = [
    errors.RepmgrError("why"),
    errors.CommandFailed("why"),
    errors.ConnectionFailed("why"),
    errors.NotInstalledError("why"),
    errors.ParseError("why"),
    errors.QueryFailed("why"),
    errors.Refused("why"),
]


def raising(error):
    def function(name, first=1, *, second=None):
        """Documented."""
        raise error

    return function


# As Salt's loader has it in a module.
__opts__ = {"test": False}


def returning(name, first=1, *, second=None):
    """Documented."""
    return boundary.result(name, f"{first}, {second}", {"a": "b"} if first else None)


@pytest.mark.parametrize("error", INVOCATION, ids=lambda error: type(error).__name__)
def test_the_caller_is_at_fault(error):
    with pytest.raises(SaltInvocationError) as raised:
        boundary.translated(raising(error))("x")
    assert (str(raised.value), raised.value.__cause__) == (str(error), error)


@pytest.mark.parametrize("error", EXECUTION, ids=lambda error: type(error).__name__)
def test_the_environment_is_at_fault(error):
    with pytest.raises(CommandExecutionError, match="^why$") as raised:
        boundary.translated(raising(error))("x")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [*INVOCATION, *EXECUTION, CommandExecutionError("why"), SaltInvocationError("why")],
    ids=lambda error: type(error).__name__,
)
def test_a_state_returns_it(error):
    expected = {"name": "x", "result": False, "changes": {}, "comment": str(error)}
    # Or Salt takes the answer of mod_watch for that of a state that failed.
    expected["skip_watch"] = True
    assert boundary.reported(raising(error))("x") == expected
    assert boundary.reported(raising(error))(name="x") == expected


@pytest.mark.parametrize("decorator", [boundary.translated, boundary.reported])
def test_mistakes_of_ours_stay_what_they_are(decorator):
    with pytest.raises(ZeroDivisionError):
        decorator(raising(ZeroDivisionError()))("x")


@pytest.mark.parametrize("decorator", [boundary.translated, boundary.reported])
def test_the_function_shows_through(decorator):
    wrapped = decorator(returning)
    assert inspect.signature(wrapped) == inspect.signature(returning)
    assert (wrapped.__name__, wrapped.__doc__) == ("returning", "Documented.")
    assert wrapped.__module__ == __name__
    assert wrapped("x", 2, second=3) == returning("x", 2, second=3)


@pytest.mark.parametrize(
    ("dry", "first", "expected"), [(True, 1, None), (True, 0, True), (False, 1, True)]
)
def test_changes_that_are_only_announced(monkeypatch, dry, first, expected):
    monkeypatch.setitem(__opts__, "test", dry)
    done = boundary.reported(returning)("x", first)
    assert (done["result"], bool(done["changes"])) == (expected, bool(first))
