"""What a minion pays for the extension that never uses it: files of ours, and no libraries."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from tests.functional.support.minions import require_entry_point

MODULES = [
    "repmgr",
    "repmgr_cluster",
    "repmgr_daemon",
    "repmgr_member",
    "repmgr_node",
    "repmgr_pg",
    "repmgr_router",
]
# A minion that loads all it has, first without the extension, then with it.
PROGRAM = """
import json, sys
import salt.config, salt.loader

def load(config):
    opts = salt.config.minion_config(config, minion_id="cost")
    opts["grains"] = grains
    utils = salt.loader.utils(opts)
    modules = salt.loader.minion_mods(opts, utils=utils)
    states = salt.loader.states(opts, modules, utils, {})
    return [name for loader in (modules, states) for name in loader if name.startswith("repmgr")]

without, whole = sys.argv[1:]
grains = salt.loader.grains(salt.config.minion_config(without, minion_id="cost"))
assert load(without) == []
before = set(sys.modules)
functions = load(whole)
added = sorted(set(sys.modules) - before)
json.dump({"before": sorted(before), "added": added, "functions": functions}, sys.stdout)
"""


@pytest.fixture(scope="module")
def minion(tmp_path_factory):
    """Names of the Python modules ``before`` and ``added`` by the extension."""
    require_entry_point()
    root = tmp_path_factory.mktemp("cost")
    common = {"root_dir": str(root), "file_client": "local", "enable_fqdns_grains": False}
    off = {"disable_modules": MODULES, "disable_states": MODULES}
    for name, settings in (("without", {**common, **off}), ("whole", common)):
        (root / name).write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, root / "without", root / "whole"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found = SimpleNamespace(**json.loads(done.stdout))
    assert {"repmgr.cluster_show", "repmgr_pg.running"} <= set(found.functions)
    return found


def is_ours(name):
    return name.startswith("saltext_repmgr") or name.rpartition(".")[2] in MODULES


def is_from_elsewhere(name):
    return not is_ours(name) and name.partition(".")[0] not in sys.stdlib_module_names


def test_psycopg2_is_not_imported(minion):
    everything = {*minion.before, *minion.added}
    assert [name for name in everything if name.startswith("psycopg2")] == []


def test_no_other_library_is_imported_for_us(minion):
    assert [name for name in minion.added if is_from_elsewhere(name)] == []


def test_our_share_is_small(minion):
    assert 0 < len(minion.added) < 0.05 * len(minion.before)
