"""docs/pillar.md says what the validator knows: every key, and no other."""

import pathlib
import re

import pytest

from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import pillar_hba
from saltext_repmgr.utils import pillar_nodes
from saltext_repmgr.utils import pillar_pgbouncer
from saltext_repmgr.utils import pillar_postgres
from saltext_repmgr.utils import pillar_secrets
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import repmgr_parameters
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import Layout
from saltext_repmgr.utils.spec import NodeSpec
from saltext_repmgr.utils.spec import PgBouncerSpec
from saltext_repmgr.utils.spec import PostgresSpec
from saltext_repmgr.utils.spec import Role

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "pillar.md"
# Heading of the section -> the keys in its first table.
SECTIONS = {
    "repmgr": pillar.KEYS,
    "repmgr.nodes.<minion id>": pillar_nodes.KEYS,
    "repmgr.postgres": pillar_postgres.KEYS,
    "repmgr.postgres.hba": pillar_hba.KEYS,
    "repmgr.pgbouncer": pillar_pgbouncer.KEYS,
    "repmgr.ssh": pillar_secrets.SSH_KEYS,
}
NODE = NodeSpec("node1", 1, "node1", Role.PRIMARY)
# What stands in repmgr.conf although pillar says nothing of it.
WRITTEN = repmgr_conf.node_settings(
    ClusterSpec("foobar", (), {"node1": NODE}, "password"), NODE, Layout(15)
)
TYPES = {
    "bool": "true or false",
    "str": "string",
    "path": "absolute path",
    "delay": "whole number with ms, s, min, h or d",
    "events": "list of events",
    "mapping": "list of `/old=/new`",
}


@pytest.fixture(scope="module", name="text")
def text_():
    return PAGE.read_text(encoding="utf-8")


def tables(text, heading):
    """Return the tables of a section, each a list of rows, each a list of cells."""
    section = re.split(rf"^## `{re.escape(heading)}`$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    rows = ([line.strip("| ").split(" | ") for line in table.splitlines()] for table in found)
    return [table[2:] for table in rows]


def names(table):
    return [name for row in table for name in re.findall(r"`([^`]+)`", row[0])]


def row(text, heading, key):
    return next(r for r in tables(text, heading)[0] if r[0] == f"`{key}`")


def parameter_row(name):
    """Return the line of the page about a parameter of repmgr.conf."""
    parameter = repmgr_parameters.PARAMETERS[name]
    kind = TYPES.get(parameter.kind)
    if parameter.kind == "int":
        kind = f"whole number from {parameter.minimum}"
    elif parameter.kind == "enum":
        kind = ", ".join(f"`{choice}`" for choice in parameter.choices)
    default = _shown(parameter.default)
    if name in repmgr_parameters.DEFAULTS or isinstance(WRITTEN.get(name), int):
        own = _shown(WRITTEN[name])
        default = f"**{own}**" + ("" if own == default else f" (repmgr: {default})")
    elif name in WRITTEN:
        default = "**a command of this extension**"
    return f"| `{name}` | {kind} | {default} |"


def _shown(value):
    if value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_has_the_keys_of_the_validator(text, heading):
    assert names(tables(text, heading)[0]) == list(SECTIONS[heading])


@pytest.mark.parametrize(
    ("heading", "key", "default"),
    [
        ("repmgr", "rejoin", ClusterSpec.rejoin),
        ("repmgr.nodes.<minion id>", "role", NodeSpec.role.value),
        ("repmgr.nodes.<minion id>", "priority", NodeSpec.priority),
        ("repmgr.nodes.<minion id>", "location", NodeSpec.location),
        ("repmgr.postgres", "cluster", PostgresSpec.cluster),
        ("repmgr.postgres", "port", PostgresSpec.port),
        ("repmgr.pgbouncer", "port", PgBouncerSpec.port),
    ],
)
def test_the_page_has_the_defaults_of_the_specification(text, heading, key, default):
    assert row(text, heading, key)[2] == f"`{default}`"


@pytest.mark.parametrize(
    ("heading", "key", "secret"),
    [
        ("repmgr", "password", "**yes**"),
        ("repmgr.pgbouncer", "password", "**yes**"),
        ("repmgr.ssh", "private_key", "**yes**"),
    ],
)
def test_the_page_tells_the_secrets(text, heading, key, secret):
    assert row(text, heading, key)[3] == secret


@pytest.mark.parametrize(
    ("heading", "key", "words"),
    [
        ("repmgr.nodes.<minion id>", "role", [role.value for role in Role]),
        ("repmgr.postgres.hba", "type", pillar_hba.TYPES),
        ("repmgr.postgres.hba", "method", pillar_hba.METHODS),
    ],
)
def test_the_page_has_every_word_that_is_allowed(text, heading, key, words):
    cells = " ".join(row(text, heading, key))
    assert [word for word in words if f"`{word}`" not in cells] == []


def test_the_page_has_the_server_settings_that_are_refused(text):
    refused = tables(text, "repmgr.postgres")[2]
    assert sorted(names(refused)) == sorted(pillar_postgres.OWNED)


def test_the_page_has_the_settings_of_pgbouncer_that_are_refused_and_those_that_are_set(text):
    _, refused, defaults = tables(text, "repmgr.pgbouncer")
    assert {r[0].strip("`"): r[1] for r in refused} == pillar_pgbouncer.OWNED
    found = {r[0].strip("`"): r[1].strip("`") for r in defaults}
    assert found == {name: str(value) for name, value in router_files.DEFAULTS.items()}


def test_the_page_has_the_parameters_that_are_refused(text):
    refused = tables(text, "repmgr.settings")[0]
    found = {r[0].strip("`"): r[1].replace("`", "") for r in refused}
    assert found == repmgr_parameters.OWNED


def test_the_page_has_the_parameters_that_weaken_the_fence(text):
    found = {r[0].strip("`"): r[1].replace("`", "") for r in tables(text, "repmgr.settings")[2]}
    assert found == repmgr_parameters.FENCED


def test_the_page_has_every_other_parameter_with_its_type_and_default(text):
    wanted = [n for n in repmgr_parameters.PARAMETERS if n not in repmgr_parameters.OWNED]
    assert names(tables(text, "repmgr.settings")[1]) == wanted
    missing = [parameter_row(name) for name in wanted if parameter_row(name) not in text]
    assert missing == []
