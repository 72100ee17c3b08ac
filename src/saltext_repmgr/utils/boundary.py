"""The boundary to Salt: where this extension's errors become Salt's.

The decorators keep name, signature and docstring of what they wrap, so Salt's argument
handling and ``sys.doc`` see the function itself.
"""

import functools

from salt.exceptions import CommandExecutionError
from salt.exceptions import SaltInvocationError

from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.errors import UsageError


def translated(function):
    """Let an execution function raise Salt's two errors instead of ours."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except UsageError as err:
            raise SaltInvocationError(str(err)) from err
        except RepmgrError as err:
            raise CommandExecutionError(str(err)) from err

    return wrapper


def result(name, comment, changes=None, result=True):  # pylint: disable=redefined-outer-name
    """Return what a state function returns; one that is :func:`reported` need not care whether its
    changes are only announced."""
    return {"name": name, "result": result, "changes": changes or {}, "comment": comment}


def reported(function):
    """Let a state function return its errors as a failed result with a readable comment, and what it
    would change in a dry run as neither success nor failure.

    The name of the state must be the function's first argument.
    """

    @functools.wraps(function)
    def wrapper(name, *args, **kwargs):
        try:
            done = function(name, *args, **kwargs)
            # Salt's loader puts it into the module that the function is of.
            dry = function.__globals__["__opts__"]["test"]
            return {**done, "result": None} if dry and done["changes"] and done["result"] else done
        except (RepmgrError, CommandExecutionError, SaltInvocationError) as err:
            failed = {"name": name, "result": False, "changes": {}, "comment": str(err)}
            # Salt calls mod_watch for a state without changes, also for one that failed, and takes
            # its answer for that of the state.
            return {**failed, "skip_watch": True}

    return wrapper


def answered(answer):
    """Let a runner function return its errors as an answer, made by ``answer(text)``.

    Of those that a runner raises Salt shows a traceback, or its usage with exit code 0.
    """

    def decorator(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except RepmgrError as err:
                return answer(str(err))

        return wrapper

    return decorator
