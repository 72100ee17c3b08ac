"""All texts that the extension says to people, read from its source. See ``scripts/messages``."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src/saltext_repmgr"

# By the name of the call, the keyword or the variable in which a text stands, the nearest first.
_KINDS = {
    "refusal": ("Refused", "refusal"),
    "problem": ("PillarError", "problem", "problems", "UsageError", "complaint"),
    "finding": ("Ailment", "Problem", "_degraded", "_broken", "what", "step", "line", "lines"),
    "action reason": ("Action", "reason", "differs", "why", "_replace"),
    "note": ("note", "notes"),
    "result": ("result", "comment", "told", "said"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
# Of what else a file has to say.
_FILES = {
    "problem": re.compile(r"utils/(pillar|checks|hba|limits|repmgr_(settings|parameters))"),
    "log": re.compile(r"(guard|router|beacons)/"),
}
_STATEMENT = re.compile(r"\s*(?:[A-Z]{2,}\s|SELECT\b)")
_WORDS = re.compile(r"[\w'}]+,? [\w'{}]+,? [\w'{(]*[a-z]+")


@dataclass(frozen=True)
class Message:
    """A text, where it is made and what for."""

    path: str
    line: int
    kind: str
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}\t{self.kind}\t{self.text}"


def messages(root: Path = SOURCE) -> list[Message]:
    """Return all messages below a directory, in the order of its files."""
    found = []
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(root))
        rest = next((kind for kind, files in _FILES.items() if files.match(name)), "other")
        found += [
            Message(name, line, kind or rest, text) for line, kind, text in sorted(_of_module(tree))
        ]
    return found


def _of_module(tree):
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node, above in _texts(tree, ()):
        text = _text(node)
        if id(node) not in docstrings and _is_said(text):
            yield node.lineno, _kind(above), " ".join(text.split())


def _texts(node, above) -> Iterator[tuple[ast.expr, tuple]]:
    """Yield the outermost expressions that are texts, with the nodes in which they stand."""
    if _is_text(node):
        yield node, above
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, (*above, node))


def _is_text(node):
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _text(node):
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "{" + ast.unparse(node) + "}"


def _is_said(text):
    """Whether a text is for people: words, and neither a statement for a server nor a file."""
    return (
        bool(_WORDS.search(text))
        and not _STATEMENT.match(text)
        and not text.startswith(("^", "#"))
        and "\n" not in text.rstrip("\n")
    )


def _kind(above):
    for node in reversed(above):
        if isinstance(node, ast.Raise):
            return "error"
        for name in _names(node):
            if name in _KIND_OF:
                return _KIND_OF[name]
    return ""


def _names(node):
    """Return the names by which a node tells what it is for."""
    if isinstance(node, ast.keyword):
        return [node.arg]
    if isinstance(node, ast.Call):
        return [ast.unparse(node.func).rpartition(".")[2]]
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return []


def main(parts):
    """Print the messages of the files whose names have one of the parts, or all."""
    for message in messages():
        if not parts or any(part in message.path for part in parts):
            print(message)


if __name__ == "__main__":
    main(sys.argv[1:])
