"""utils.act on a host's files: Debian's configuration, moving aside, what a clone left."""

import dataclasses
import pathlib
import shutil

import pytest

from saltext_repmgr.utils import act
from saltext_repmgr.utils import clone
from saltext_repmgr.utils import host
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import server
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.spec import Layout
from tests.functional.support import clusters
from tests.functional.support.repmgr import PASSWORD


@pytest.fixture
def spec(primary):
    """A pillar with the primary's host and port."""
    return pillar.read(
        {
            "cluster": "functional",
            "subnet": "192.0.2.0/24",
            "password": PASSWORD,
            "nodes": {"node1": {"id": 1, "host": clusters.own_name(), "role": "primary"}},
            "postgres": {"port": primary.port},
        }
    )


@pytest.fixture
def made(servers, version):  # pylint: disable=unused-argument
    """A Debian cluster that is not there yet, and is gone afterwards."""
    cluster = clusters.Cluster(5, version, 0)
    yield cluster
    cluster.drop()


def test_a_new_cluster(spec, made):
    act.create_cluster(spec, made.layout)
    found = host.data_directory(made.layout)
    assert found.content is Content.POSTGRES
    assert found.control.untouched
    assert found.control.checksums is True
    assert act.configured_data_directory(made.layout) == str(made.data)
    assert (made.etc / "start.conf").read_text().splitlines()[-1] == "auto"
    with pytest.raises(CommandFailed, match="cluster configuration already exists"):
        act.create_cluster(spec, made.layout)


def test_the_configuration_of_a_clone(spec, made, primary, pristine):
    shutil.copytree(pristine.pristine, made.data)
    clusters.run("chown", "-R", "postgres:postgres", str(made.data))
    act.create_cluster(spec, made.layout, {"max_connections": "50", "archive_command": "it's %p"})
    assert act.configured_data_directory(made.layout) == str(made.data)
    assert host.data_directory(made.layout).content is Content.POSTGRES
    assert not (made.data / "postgresql.conf").exists()
    hba = made.etc / "pg_hba.conf"
    assert hba.owner() == "postgres"
    assert "peer" in hba.read_text()
    config = f"--config-file={made.etc}/postgresql.conf"
    expected = {"port": str(primary.port), "max_connections": "50", "archive_command": "it's %p"}
    for name, value in expected.items():
        assert clusters.as_postgres(made.bin("postgres"), "-C", name, config) == value


def test_settings_of_the_source_that_a_clone_needs(spec, version):
    found, notes = act.portable_settings(spec, Layout(version), spec.nodes["node1"])
    assert notes == []
    assert found["max_wal_senders"] == "10"
    # It comes with our own file.
    assert "shared_preload_libraries" not in found
    assert found["shared_buffers"] == "16MB"
    local = {"port", "listen_addresses", "data_directory", "hba_file", "cluster_name"}
    assert local & set(found) == set()
    for value in found.values():
        assert not value.startswith("/") or pathlib.Path(value).exists()


LEFT_OVER = """\
recovery_target_time = '2020-01-01'
recovery_target_action = 'promote'
recovery_min_apply_delay = '1h'
work_mem = '9MB'"""


def test_a_clone_knows_nothing_of_a_recovery_of_its_source(spec, made, pristine):
    shutil.copytree(pristine.pristine, made.data)
    automatic = made.data / "postgresql.auto.conf"
    # Without a line break at its end.
    automatic.write_text(LEFT_OVER)
    clusters.run("chown", "-R", "postgres:postgres", str(made.data))
    gone = act.forget_recovery(spec, made.layout)
    assert gone == {"recovery_target_time": "2020-01-01", "recovery_min_apply_delay": "3600000"}
    assert act.forget_recovery(spec, made.layout) == {}
    assert automatic.owner() == "postgres"
    act.create_cluster(spec, made.layout, {})
    config = f"--config-file={made.etc}/postgresql.conf"
    expected = {"recovery_target_time": "", "recovery_min_apply_delay": "0", "work_mem": "9216"}
    for name, value in expected.items():
        assert clusters.as_postgres(made.bin("postgres"), "-C", name, config) == value


def test_a_delay_that_pillar_wants_stays(spec, made, pristine):
    shutil.copytree(pristine.pristine, made.data)
    (made.data / "postgresql.auto.conf").write_text("recovery_min_apply_delay = '1h'\n")
    clusters.run("chown", "-R", "postgres:postgres", str(made.data))
    wanted = dataclasses.replace(spec, settings={"recovery_min_apply_delay": "1h"})
    assert act.forget_recovery(wanted, made.layout) == {}


def test_a_server_that_would_not_come_back_is_not_stopped(spare):
    spare.configure(wal_level="logical")
    spare.stop().start()
    spare.sql("SELECT pg_create_logical_replication_slot('app', 'pgoutput')")
    with spare.connect() as connection:
        found = server.describe(connection, "repmgr")
    act.check_next_start(spare.layout, found)
    spare.sql("ALTER SYSTEM SET wal_level = 'replica'")
    with pytest.raises(Refused, match="wal_level would be replica, and the logical slot"):
        act.check_next_start(spare.layout, found)
    spare.sql("ALTER SYSTEM RESET wal_level")
    spare.configure(max_replication_slots=0)
    with pytest.raises(Refused, match="max_replication_slots would be 0, and it has 1 slots"):
        act.check_next_start(spare.layout, found)
    spare.sql("SELECT pg_drop_replication_slot('app')")


def test_a_data_directory_is_moved_aside(version, tmp_path, clone_state):
    layout = Layout(version, "main", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/precious").write_text("kept")
    kept = pathlib.Path(act.move_aside(layout))
    assert kept.parent == tmp_path
    assert kept.name.startswith("data.kept-20")
    assert (kept / "precious").read_text() == "kept"
    found = host.data_directory(layout)
    # Whatever happens next, it is no data directory that vanished.
    assert (found.content, found.unfinished_clone) == (Content.ABSENT, True)
    # A run that is cut off here goes on with the clone.
    assert (clone_state / f"{version}-main.json").exists()


def test_a_running_server_is_not_moved(primary):
    with pytest.raises(Refused, match="PostgreSQL runs on"):
        act.move_aside(primary.layout)
    assert primary.sql("SELECT 1") == "1"


def test_a_mount_point_is_not_moved(version, mount_point):
    with pytest.raises(Refused, match="is a mount point"):
        act.move_aside(Layout(version, "main", str(mount_point)))
    assert mount_point.is_mount()


def test_a_data_directory_that_is_a_link_is_not_moved(version, tmp_path):
    layout = Layout(version, "main", str(tmp_path / "data"))
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/precious").write_text("kept")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    said = f"data_directory' in pillar to the real path, here {tmp_path}/disk"
    for act_on_it in (act.move_aside, clone.discard, host.data_directory):
        with pytest.raises(Refused, match=said):
            act_on_it(layout)
    assert (tmp_path / "data").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "disk"]


def test_a_running_server_is_not_removed(primary, clone_state):
    (clone_state / f"{primary.layout.version}-{primary.layout.cluster}.json").touch()
    with pytest.raises(Refused, match="nothing was removed"):
        clone.discard(primary.layout)
    assert primary.sql("SELECT 1") == "1"


def test_the_end_of_a_log_has_no_password(tmp_path):
    path = tmp_path / "log"
    assert act.tail(path) == f"(no {path})"
    path.write_text("one\ntwo\nthree password=hunter2secret\n")
    assert act.tail(path, lines=2) == "two / three password=********"
