"""What salt-run makes of the runners: text or data, and the exit code. No master is needed."""

import json
import pathlib
import subprocess
import sys

import pytest
import salt.config
import salt.output
import yaml

from saltext_repmgr.utils import status
from saltext_repmgr.utils import status_text
from saltext_repmgr.utils import work_text
from tests.functional.support.minions import require_entry_point


@pytest.fixture(scope="module")
def salt_run(tmp_path_factory):
    """Run ``salt-run`` for a master whose pillar knows nothing of repmgr."""
    require_entry_point()
    root = tmp_path_factory.mktemp("master")
    (root / "var/cache/salt/master/proc").mkdir(parents=True)
    (root / "pillar").mkdir()
    settings = {"root_dir": str(root), "user": "root", "pillar_roots": {"base": [f"{root}/pillar"]}}
    (root / "master").write_text(yaml.safe_dump(settings), encoding="utf-8")
    program = pathlib.Path(sys.executable).with_name("salt-run")

    def run(*words):
        argv = [program, "--config-dir", root, "--log-level=quiet", *words]
        return subprocess.run(argv, capture_output=True, encoding="utf-8", check=False)

    return run


def test_status_is_text_and_ends_with_its_verdict(salt_run):
    done = salt_run("repmgr.status")
    assert done.returncode == status.Verdict.BROKEN.exit_code
    lines = done.stdout.splitlines()
    assert lines[:3] == ["broken, no single primary", "", "broken:"]
    assert lines[3].startswith("  repmgr: there is no such key in this pillar")


def test_status_is_data_for_programs(salt_run):
    done = salt_run("--out=json", "repmgr.status")
    data = json.loads(done.stdout)
    assert data["retcode"] == done.returncode == status.Verdict.BROKEN.exit_code
    assert (data["format"], data["verdict"], data["primary"]) == (1, "broken", None)
    assert (data["nodes"], len(data["problems"])) == ([], 1)


def test_preflight_ends_with_one_where_it_found_something(salt_run):
    done = salt_run("--out=json", "repmgr.preflight")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["problems"]) == 1


@pytest.mark.parametrize("words", [("switchover", "node2"), ("restart",), ("pause",), ("heal",)])
def test_a_wrong_pillar_is_an_answer_and_no_traceback(salt_run, words):
    done = salt_run(f"repmgr.{words[0]}", *words[1:])
    assert done.returncode == 1
    assert done.stdout.startswith("repmgr: there is no such key in this pillar; see"), done.stdout
    assert len(done.stdout.splitlines()) == 2


@pytest.fixture(scope="module")
def opts(tmp_path_factory):
    require_entry_point()
    path = tmp_path_factory.mktemp("output") / "master"
    path.write_text("{}", encoding="utf-8")
    return salt.config.master_config(str(path))


def test_the_outputter_of_the_status(opts):
    told = status.unknown("foobar", [("repmgr.nodes", "is empty")])
    shown = salt.output.out_format(status.to_data(told), "repmgr_status", opts)
    assert shown == status_text.render(told)


def test_the_outputter_of_planned_changes(opts):
    told = {"cluster": "foobar", "changed": True, "result": "done", "nodes": {"node1": "primary"}}
    shown = salt.output.out_format(told, "repmgr_work", opts)
    assert shown == work_text.render(told) == "nodes:\n  node1: primary\n\ndone"


@pytest.mark.parametrize("outputter", ["repmgr_status", "repmgr_work"])
@pytest.mark.parametrize("data", [{"node1": True}, ["one"], "Exception occurred in runner"])
def test_what_is_something_else_is_shown_nested(opts, data, outputter):
    shown = salt.output.out_format(data, outputter, opts)
    assert shown == salt.output.out_format(data, "nested", opts)
