"""The lab itself: what every other integration test takes for granted."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.integration.conftest import RELEASE
from tests.lab import CommandError
from tests.lab import CommandTimeout
from tests.lab import HostDown
from tests.lab import Lab
from tests.lab import LabError
from tests.lab import LabRunning
from tests.lab import NoSuchLab
from tests.lab import state
from tests.lab.cgroup import lab_cgroups
from tests.lab.interpreter import interpreter
from tests.lab.paths import CHECKOUT
from tests.lab.process import ProcessId
from tests.lab.process import descendants
from tests.lab.process import run
from tests.lab.releases import RELEASES


@pytest.fixture(scope="module")
def lab():
    """Two nodes without PostgreSQL."""
    name = f"lab-{os.getpid()}"
    with Lab(name, nodes=("node1", "node2"), release=RELEASE) as hosts:
        yield hosts


@pytest.fixture
def node(lab):
    """A node that is up."""
    host = lab["node1"]
    host.boot()
    return host


# -- what a host is made of --------------------------------------------------------------------


def test_what_pip_compiles_is_compiled_for_the_interpreter_of_the_hosts():
    python = interpreter()
    headers = python.files / "include" / python.executable.name
    # By its path: those of this machine are no stand-in for them.
    source = f'#include "{headers}/Python.h"\n'
    run(["gcc", "-fsyntax-only", f"-I{headers}", "-x", "c", "-"], input=source)


# -- a host ----------------------------------------------------------------------------------


def test_a_host_is_a_host_of_its_own(node, lab):
    assert node.run(["hostname"]).stdout == "node1\n"
    assert node.run(["cat", "/proc/1/comm"]).stdout == "systemd\n"
    assert node.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
    assert node.failed_units() == []
    ids = {host.read("/etc/machine-id") for host in lab}
    keys = {host.sh("cat /etc/ssh/ssh_host_ed25519_key.pub") for host in lab}
    assert len(ids) == len(keys) == 3
    assert node.run(["ip", "route", "show", "default"]).stdout == ""


def test_hosts_know_each_other(node, lab):
    for host in lab:
        node.run(["ping", "-c1", "-W2", host.name])
    assert node.sh("getent hosts node2 master") == "10.77.0.12      node2\n10.77.0.10      master\n"
    started = time.monotonic()
    assert node.run(["getent", "hosts", "nowhere.invalid"], check=False).returncode
    # Whoever asks a server that does not answer waits for five seconds.
    assert time.monotonic() - started < 4


def test_units_are_the_hosts_own(node, lab):
    run = ["systemd-run", "--quiet", "--wait", "--pipe", "--property=User=nobody", "id", "-un"]
    assert node.run(run).stdout == "nobody\n"
    for host in lab.nodes:
        host.run(["systemd-run", "--quiet", "--unit=same", "sleep", "infinity"])
    node.run(["systemctl", "stop", "same"])
    assert lab["node2"].run(["systemctl", "is-active", "same"]).stdout == "active\n"
    assert "]: Stopped " in node.sh("journalctl --sync; journalctl --no-pager -u same")
    lab["node2"].run(["systemctl", "stop", "same"])


def test_commands(node):
    assert node.run(["cat"], input="ü\n").stdout == "ü\n"
    assert node.run(["id", "-un"], user="nobody").stdout == "nobody\n"
    assert node.sh('echo "$A"', env={"A": "b"}) == "b\n"
    assert not set(os.environ) & set(node.sh("env | cut -d= -f1").split()) - {
        *("HOME", "LANG", "LOGNAME", "PATH", "PWD", "TERM", "USER", "LC_CTYPE")
    }
    with pytest.raises(CommandError, match="node1: `sh -ec .*` exited 3:\nwhy") as failure:
        node.sh("echo why >&2; exit 3")
    assert (failure.value.returncode, failure.value.stderr) == (3, "why\n")


def test_a_command_that_takes_too_long_is_gone(node):
    with pytest.raises(CommandTimeout, match="killed after 5 s:\nsoon"):
        node.sh("echo soon; sleep 7357 & wait", timeout=5)
    assert node.run(["pgrep", "-f", "sleep 7357"], check=False).returncode == 1


def test_a_started_command_gets_signals(node):
    script = 'trap "echo bye; exit 5" TERM; echo hi; while :; do sleep 0.05; done'
    process = node.popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "hi\n"
        process.terminate()
        assert (process.stdout.read(), process.wait(timeout=10)) == ("bye\n", 5)


def test_files(node):
    node.write("/srv/new/file", "a\nü", mode=0o640, owner="root:adm")
    assert node.read("/srv/new/file") == "a\nü"
    assert node.sh("stat -c '%a %U %G' /srv/new/file") == "640 root adm\n"
    with pytest.raises(FileNotFoundError):
        node.read("/srv/none")


# -- its ups and downs -----------------------------------------------------------------------


def test_a_cut_cable(node, lab, wait):
    ping = ["ping", "-c1", "-W1", "node1"]
    other = lab["node2"]
    node.cut()
    assert other.run(ping, check=False).returncode == 1
    node.run(ping)
    node.heal()
    wait(lambda: other.run(ping, check=False).returncode == 0, what="an answer")


def test_a_program_of_this_machine_at_the_switch(node, lab, wait):
    connect = f"import socket; socket.create_connection(({node.address!r}, 22), 1)"
    argv = [*lab.outside(), sys.executable, "-c", connect]

    def connects():
        return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0

    wait(connects, what="an answer")
    node.cut()
    assert not connects()
    node.heal()
    wait(connects, what="an answer")


def test_a_cut_between_two(node, lab, wait):
    other, third = lab["node2"], lab.master
    node.cut(other)
    assert node.run(["ping", "-c1", "-W1", "node2"], check=False).returncode == 1
    assert other.run(["ping", "-c1", "-W1", "node1"], check=False).returncode == 1
    for host in (node, other):
        host.run(["ping", "-c1", "-W1", third.name])
    node.heal(other)
    ping = ["ping", "-c1", "-W2", "node2"]
    wait(lambda: node.run(ping, check=False).returncode == 0, what="an answer")


def test_a_frozen_host(node, wait):
    beat = "while :; do date +%s%N >/run/beat; sleep 0.05; done"
    node.run(["systemd-run", "--quiet", "--unit=beat", "sh", "-c", beat])
    wait(lambda: node.run(["cat", "/run/beat"], check=False).stdout)
    node.freeze()
    last = node.read("/run/beat")
    time.sleep(0.5)
    assert node.read("/run/beat") == last
    node.thaw()
    wait(lambda: node.read("/run/beat") not in ("", last), what="the next beat")
    node.run(["systemctl", "stop", "beat"])


def test_power_off_keeps_the_disk(node):
    node.write("/srv/kept", "kept")
    before = node.pid
    node.power_off()
    assert not node.up and not Path(f"/proc/{before}").exists()
    with pytest.raises(HostDown, match="node1 is powered off"):
        node.run(["true"])
    assert node.boot() == "running"
    assert node.read("/srv/kept") == "kept"
    assert "sleep" not in node.sh("ps -e -o comm")


def test_a_host_reboots_itself(node):
    before = node.sh("cat /proc/sys/kernel/random/boot_id; systemctl show -P KernelTimestamp")
    first = node.pid
    node.run(["systemctl", "reboot"], check=False)
    node.boot()
    assert node.pid != first and before


# -- packages --------------------------------------------------------------------------------


def test_postgresql_installs_without_a_network(lab):
    host = lab["node2"]
    version = RELEASES[RELEASE].postgres
    assert host.run(["sh", "-c", "command -v psql"], check=False).returncode
    host.run(["apt-get", "update"], timeout=20)
    packages = [f"postgresql-{version}", f"postgresql-{version}-repmgr"]
    install = ["apt-get", "install", "-y", "-q", *packages]
    host.run(install, timeout=180, env={"DEBIAN_FRONTEND": "noninteractive"})
    assert host.sh("pg_lsclusters -h").split()[:4] == [str(version), "main", "5432", "online"]
    query = ["psql", "-Atc", "SHOW server_encoding"]
    assert host.run(query, user="postgres").stdout == "UTF8\n"


def test_prepared_hosts_have_databases_of_their_own_and_may_know_no_names():
    query = ["psql", "-Atc", "SELECT system_identifier FROM pg_control_system()"]
    name = f"prepared-{os.getpid()}"
    options = {"salt": None, "preinstalled": True, "release": RELEASE, "hosts_file": False}
    with Lab(name, nodes=("node1", "node2"), **options) as prepared:
        found = {host.run(query, user="postgres").stdout for host in prepared.nodes}
        assert len(found) == 2
        names = "getent hosts node1; ! getent hosts node2"
        assert prepared["node1"].sh(names).split() == ["10.77.0.11", "node1"]
        assert prepared.master.run(["sh", "-c", "command -v psql"], check=False).returncode


# -- Salt ------------------------------------------------------------------------------------


def test_salt(lab):
    lab.wait_for_minions()
    assert lab.salt("*", "test.ping").data == {"node1": True, "node2": True}
    assert lab.salt("node1", "test.ping").data is True
    assert lab.salt(["node2"], "config.get", "id").data == {"node2": "node2"}
    assert lab.salt("node1", "cmd.run", "id -un", runas="nobody").data == "nobody"
    assert sorted(lab.salt_run("manage.up").data) == ["node1", "node2"]
    assert lab.salt_call("node2", "test.arg", 1, x=[2]).data["kwargs"]["x"] == [2]
    assert "saltext.repmgr" in lab.salt_call("node1", "test.versions_report").data
    failed = lab.salt("node1", "test.exception", "no")
    assert failed.returncode == 1
    with pytest.raises(CommandError):
        failed.raise_for_status()


def test_pillar(lab):
    pillar = {"cluster": "x", "password": "{{ #'\"", "nodes": {"node1": {"id": 1}}}
    lab.set_pillar(pillar)
    # Salt 3008 masks what it shows of a pillar; templates get it as it is.
    show = {"string": "{{ pillar['repmgr'] | tojson }}", "default_renderer": "jinja"}
    assert json.loads(lab.salt_call("node1", "slsutil.renderer", **show).data) == pillar
    lab.set_pillar_files({"a": {"k": 1}, "b": {"k": 2}}, top={"node1": ["a"], "node2": ["b"]})
    show = {"string": "{{ pillar['k'] }}", "default_renderer": "jinja"}
    assert lab.salt("*", "slsutil.renderer", **show).data == {"node1": "1", "node2": "2"}


def test_the_states_of_the_project_are_on_the_master(lab):
    served = lab.salt_run("fileserver.file_list").data
    assert "repmgr/cluster.sls" in served or "repmgr/cluster/init.sls" in served


# -- coming and going ------------------------------------------------------------------------


def test_another_process_finds_the_lab(lab):
    other = Lab.attach(lab.name)
    assert other["node1"].pid == lab["node1"].pid
    with pytest.raises(LabRunning):
        Lab(lab.name).up()
    with pytest.raises(NoSuchLab):
        Lab.attach("nowhere")
    argv = [sys.executable, "-m", "tests.lab", "enter", lab.name, "node2", "hostname"]
    shown = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert shown.stdout == "node2\n"


def test_what_a_snapshot_brings_back(lab):
    node = lab["node1"]
    node.write("/srv/snapshot", "old")
    lab.snapshot("before")
    node.write("/srv/snapshot", "new")
    node.run(["rm", "/etc/hostname"])
    third = lab.enroll("node3")
    assert lab.salt("*", "test.ping").data == {"node1": True, "node2": True, "node3": True}
    assert third.address in node.read("/etc/hosts")
    lab.restore("before")
    assert [host.name for host in lab] == ["master", "node1", "node2"]
    assert lab["node1"].read("/srv/snapshot") == "old"
    assert lab["node1"].read("/etc/hostname") == "node1\n"
    assert sorted(lab.salt("*", "test.ping").data) == ["node1", "node2"]
    with pytest.raises(LabError, match="no snapshot 'none'"):
        lab.restore("none")


def test_reset_makes_a_host_bare_and_leaves_its_minion_known(lab):
    host = lab["node2"]
    host.reset()
    assert host.sh("ls /srv; command -v psql || true") == "packages\n"
    lab.wait_for_minions(["node2"])


def test_minions_find_a_master_that_lost_its_power(lab):
    lab.master.power_off()
    lab.master.boot()
    lab.wait_for_minions()
    assert sorted(lab.salt("*", "test.ping").data) == ["node1", "node2"]


def test_a_removed_host_is_forgotten(lab):
    address = lab["node2"].address
    lab.remove("node2")
    assert [host.name for host in lab] == ["master", "node1"]
    assert address not in lab["node1"].read("/etc/hosts")
    assert lab.salt("*", "test.ping").data == {"node1": True}


# -- what stays ------------------------------------------------------------------------------

_OWNER = """
    import signal
    from tests.lab import Lab
    # Where the tests run in the background, a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Lab({name!r}, nodes=("node1",), salt=None, release={release!r}) as lab:
        print("up", flush=True)
        lab["node1"].run(["sleep", "600"], timeout=600)
"""


@contextlib.contextmanager
def _owned_by_another():
    """A lab of another process, which is waiting for a command on a host."""
    name = f"owned-{os.getpid()}"
    script = textwrap.dedent(_OWNER).format(name=name, release=RELEASE)
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout.readline() == "up\n"
            yield owner, state.load(name)
        finally:
            owner.kill()


def _everything(known):
    """All processes of a lab, as the machine knows them."""
    roots = [known.anchor.janitor.pid, known.anchor.init.pid]
    hosts = [host.pid for host in Lab.attach(known.spec.name)]
    pids = {*roots, *hosts, *(pid for root in (*roots, *hosts) for pid in descendants(root))}
    found = []
    for pid in pids:
        # It may have ended since.
        with contextlib.suppress(ProcessLookupError):
            found.append(ProcessId.of(pid))
    return found


def _left(known, processes):
    """What is still there of a lab."""
    groups = [str(group) for group in lab_cgroups(known.run_dir) if group.exists()]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").count(str(known.run_dir))
    files = [str(path) for path in known.run_dir.parent.glob(f"{known.spec.name}*")]
    return [
        *groups,
        *files,
        *[f"{mounts} mounts"] * bool(mounts),
        *(p for p in processes if p.alive()),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_the_owner_is_killed(number, wait):
    with _owned_by_another() as (owner, known):
        processes = _everything(known)
        assert len(processes) > 10
        owner.send_signal(number)
        owner.wait(timeout=30)
        wait(lambda: not _left(known, processes), timeout=20, what="the end of the lab")


def test_nothing_stays_when_the_janitor_was_killed_before(wait):
    with _owned_by_another() as (owner, known):
        processes = _everything(known)
        known.anchor.janitor.send(signal.SIGKILL)
        state.reap()
        assert known.anchor.alive(), "its owner still needs it"
        owner.kill()
        owner.wait(timeout=30)
        wait(lambda: not known.anchor.alive(), timeout=20, what="the end of the anchor")

        def reaped():
            # Somebody else's may be at it.
            state.reap()
            return not _left(known, processes)

        wait(reaped, timeout=20, what="the end of the lab")


def test_a_persistent_lab_outlives_its_creator():
    name = f"persistent-{os.getpid()}"
    command = [sys.executable, "-m", "tests.lab"]
    up = [*command, "up", name, "--nodes=node1", "--salt=none", f"--release={RELEASE}"]
    subprocess.run(up, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    known = state.load(name)
    processes = _everything(known)
    listing = [*command, "list"]
    assert (
        name
        in subprocess.run(listing, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    )
    Lab.attach(name)["node1"].power_off()
    subprocess.run([*command, "down", name], cwd=CHECKOUT, check=True)
    assert not _left(known, processes)
