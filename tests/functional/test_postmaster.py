"""utils.host.postmaster_pid: whether a server runs on a data directory."""

import os
import time

import pytest

from saltext_repmgr.utils import host


def test_a_running_server(primary):
    pid = host.postmaster_pid(primary.data)
    children = primary.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    with open(f"/proc/{children}/stat", encoding="ascii") as handle:
        parent = handle.read().rpartition(")")[2].split()[1]
    assert pid == int(parent)


def test_a_stopped_server(spare):
    assert host.postmaster_pid(spare.data) is not None
    spare.stop()
    assert host.postmaster_pid(spare.data) is None


def test_a_killed_server_leaves_its_lock_file(spare):
    pid, lock = spare.pid, spare.data / "postmaster.pid"
    text = lock.read_text()
    spare.stop("immediate")
    # Until somebody has read what it ended with, it is still a process.
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lock.write_text(text)
    assert host.postmaster_pid(spare.data) is None


@pytest.mark.parametrize("text", [f"{os.getpid()}\n/data\n", "", "nonsense\n", "-5\n/data\n"])
def test_a_lock_file_that_names_no_server(tmp_path, text):
    (tmp_path / "postmaster.pid").write_text(text)
    assert host.postmaster_pid(tmp_path) is None


def test_no_data_directory(tmp_path):
    assert host.postmaster_pid(tmp_path / "absent") is None
