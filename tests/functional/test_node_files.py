"""Files of a node as the programs that read them check them: sudoers and repmgrd's unit."""

import json
import subprocess

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import GOOD


@pytest.fixture(params=["main", "other.cluster_2"])
def layout(request, version):
    return Layout(version, request.param)


@pytest.fixture
def sudoers(layout, tmp_path):
    path = tmp_path / "sudoers"
    path.write_text(wanted.sudoers(layout), encoding="utf-8")
    path.chmod(0o440)
    return path


def test_sudo_takes_its_rules(sudoers):
    assert "parsed OK" in host.ask(["visudo", "-c", "-f", str(sudoers)])


def test_sudo_would_say_if_not(sudoers):
    sudoers.chmod(0o640)
    sudoers.write_text(sudoers.read_text() + "postgres ALL=(root NOPASSWD: ALL\n")
    with pytest.raises(CommandFailed, match="syntax error"):
        host.ask(["visudo", "-c", "-f", str(sudoers)])


def test_sudo_allows_what_repmgr_runs_and_nothing_else(sudoers, layout):
    read = json.loads(host.ask(["cvtsudoers", "-f", "json", str(sudoers)]))
    (rule,) = read["User_Specs"]
    assert rule["User_List"] == [{"username": "postgres"}]
    (commands,) = rule["Cmnd_Specs"]
    assert commands["runasusers"] == [{"username": "root"}]
    assert commands["Options"] == [{"authenticate": False}]
    assert [command["command"].split() for command in commands["Commands"]] == [
        ["/usr/bin/systemctl", verb, layout.service] for verb in ("start", "stop", "restart")
    ]


def test_systemd_takes_the_unit_of_repmgrd(layout, tmp_path):
    path = tmp_path / "repmgrd.service"
    spec = pillar.read(GOOD)
    unit = wanted.repmgrd_unit(spec, spec.nodes["node2"], layout)
    path.write_text(unit, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    path.write_text(path.read_text().replace("Restart=always", "Restart=whenever"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, encoding="utf-8", check=False
    )
    assert "whenever" in done.stderr
