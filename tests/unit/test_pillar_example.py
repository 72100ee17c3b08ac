import pathlib
import re

import pytest
import yaml

from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import pillar_hba
from saltext_repmgr.utils import pillar_nodes
from saltext_repmgr.utils import pillar_pgbouncer
from saltext_repmgr.utils import pillar_postgres
from saltext_repmgr.utils import pillar_secrets
from saltext_repmgr.utils.repmgr_parameters import DEFAULTS

EXAMPLE = pathlib.Path(__file__).parents[2] / "pillar.example"
# The indentation of a key in the file tells its section.
SECTIONS = {
    (2, pillar.KEYS),
    (6, pillar_nodes.KEYS),
    (4, pillar_postgres.KEYS),
    (4, pillar_pgbouncer.KEYS),
    (4, pillar_secrets.SSH_KEYS),
    (8, pillar_hba.KEYS),
}


@pytest.fixture(scope="module")
def text():
    return EXAMPLE.read_text(encoding="utf-8")


def test_it_loads_and_is_right(text):
    loaded = yaml.safe_load(text)
    assert list(loaded) == ["repmgr"]
    spec = pillar.read(loaded["repmgr"])
    assert spec.bootstrap_primary.name == "node1"
    assert len(spec.postgres.hba) == 2


@pytest.mark.parametrize(
    ("indent", "key"), [(indent, key) for indent, keys in sorted(SECTIONS) for key in keys]
)
def test_every_key_is_mentioned_at_its_place(text, indent, key):
    lines = [re.sub(r"^( *)# (?= *[a-z_]+:)", r"\1", line) for line in text.splitlines()]
    lines = [re.sub(r"^( *)- ", r"\1  ", line) for line in lines]
    assert any(line.startswith(" " * indent + f"{key}:") for line in lines)


def test_the_defaults_it_shows_are_the_defaults(text):
    assert yaml.safe_load(text)["repmgr"]["settings"] == DEFAULTS


def test_it_holds_no_usable_ssh_key(text):
    assert "ssh" not in yaml.safe_load(text)["repmgr"]
