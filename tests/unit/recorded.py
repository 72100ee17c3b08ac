"""The recordings of real repmgr output that tests/recordings/record.py made."""

import json
import pathlib
from typing import NamedTuple

DIRECTORY = pathlib.Path(__file__).parent / "files/repmgr"
VERSIONS = sorted(path.name for path in DIRECTORY.iterdir())


class Recording(NamedTuple):
    """One command: on which configuration file, its arguments, and what came of it."""

    version: str
    scenario: str
    node: str
    arguments: str
    code: int
    stdout: str
    stderr: str

    def __str__(self):
        return f"{self.version} {self.scenario} {self.node} {self.arguments}"


def scenario(version, name):
    """Return ``{(node, arguments): Recording}`` of a scenario."""
    path = DIRECTORY / version / f"{name}.json"
    found = {}
    for key, done in json.loads(path.read_text(encoding="utf-8")).items():
        node, _, arguments = key.partition(" ")
        found[node, arguments] = Recording(
            version, name, node, arguments, done["rc"], done["stdout"], done["stderr"]
        )
    return found


def one(version, name, node, arguments):
    """Return one recording."""
    return scenario(version, name)[node, arguments]


def every():
    """Return all recordings."""
    return [
        recording
        for version in VERSIONS
        for path in sorted((DIRECTORY / version).glob("*.json"))
        for recording in scenario(version, path.stem).values()
    ]


def every_answer(arguments):
    """Return all recordings of a command that printed something on stdout."""
    return [r for r in every() if r.arguments == arguments and r.stdout]
