"""What became of a planned change, on one screen. Pure."""

from collections.abc import Mapping

from saltext_repmgr.utils import screen
from saltext_repmgr.utils.lines import split_lines


def render(told: Mapping[str, object]):
    """Return what a runner told of its work as text of at most 100 columns, in ASCII.

    told
        As of ``repmgr.switchover``, ``drain``, ``back``, ``rotate_password``, ``restart`` and
        ``upgrade``. What is not there is left out; ``result`` comes last, where people look.
    """
    refused = any(check["problem"] for check in told.get("checks", ())) and not told["changed"]
    parts = (
        screen.block("checks", [_check(check) for check in told.get("checks", ())]),
        None if refused else screen.block("steps", _items(told.get("steps", ()))),
        screen.block("nodes", [_node(*item) for item in told.get("nodes", {}).items()]),
        screen.block("done", _items(told.get("done", ()))),
        screen.block("to do", _items(told.get("plan", ()))),
        _result(told["result"]),
    )
    return "\n\n".join(part for part in parts if part)


def _check(check):
    mark = "NO" if check["problem"] else "ok"
    return screen.wrap(f"{check['name']}: {check['finding']}", f"  {mark}  ", " " * 6)


def _items(lines):
    return [screen.wrap(line, "  - ", "    ") for line in lines]


def _node(name, text):
    return screen.wrap(f"{name}: {text}", "  ", "    ")


def _result(text):
    return "\n".join(screen.wrap(line, "", "  ") for line in split_lines(str(text)))
