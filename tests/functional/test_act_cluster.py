"""utils.act on a host's files: Debian's configuration, moving aside, what a clone left."""

import dataclasses
import pathlib
import shutil

import pytest

from saltext_repmgr.utils import act
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


def test_a_file_of_the_postgres_user_is_replaced_as_that_user(made):
    made.etc.mkdir(parents=True)
    clusters.run("chown", "-R", "postgres:postgres", str(made.etc))
    path = made.etc / "pg_hba.conf"
    path.write_bytes(b"old")
    path.chmod(0o640)
    shutil.chown(path, "postgres", "postgres")
    content = b"# f\xfcr\nlocal all all peer\n"
    act.replace_as_owner(str(path), content, "postgres")
    assert path.read_bytes() == content
    assert (path.owner(), path.stat().st_mode & 0o777) == ("postgres", 0o640)
    # A link that the postgres user planted leads to nothing that only root may write.
    target = made.etc.parent / "of-root"
    target.write_bytes(b"root's")
    try:
        path.with_name("pg_hba.conf.new").symlink_to(target)
        with pytest.raises(CommandFailed, match="could not be written as postgres"):
            act.replace_as_owner(str(path), b"x", "postgres")
        assert target.read_bytes() == b"root's"
    finally:
        target.unlink()


def test_a_data_directory_is_moved_aside(version, tmp_path):
    layout = Layout(version, "main", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/precious").write_text("kept")
    kept = pathlib.Path(act.move_aside(layout))
    assert kept.parent == tmp_path
    assert kept.name.startswith("data.kept-20")
    assert (kept / "precious").read_text() == "kept"
    assert host.data_directory(layout).content is Content.ABSENT


def test_a_running_server_is_not_moved(primary):
    with pytest.raises(Refused, match="a server runs on"):
        act.move_aside(primary.layout)
    assert primary.sql("SELECT 1") == "1"


def test_a_mount_point_is_not_moved(version, mount_point):
    with pytest.raises(Refused, match="is a mount point"):
        act.move_aside(Layout(version, "main", str(mount_point)))
    assert mount_point.is_mount()


def test_what_a_clone_left_is_removed(version, tmp_path):
    layout = Layout(version, "main", str(tmp_path / "data"))
    (tmp_path / "data/base").mkdir(parents=True)
    (tmp_path / "data/base/1").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/wal").touch()
    (tmp_path / "data/pg_wal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="not an unfinished clone; nothing is removed"):
        act.discard_partial(layout)
    assert (tmp_path / "data/base/1").exists()
    pathlib.Path(layout.clone_marker).touch()
    act.discard_partial(layout)
    assert host.data_directory(layout).content is Content.EMPTY
    assert (tmp_path / "elsewhere/wal").exists(), "a link is removed, not what it points to"


def test_a_running_server_is_not_removed(primary):
    marker = pathlib.Path(primary.layout.clone_marker)
    marker.touch()
    try:
        with pytest.raises(Refused, match="nothing is removed"):
            act.discard_partial(primary.layout)
    finally:
        marker.unlink()
    assert primary.sql("SELECT 1") == "1"


def test_the_end_of_a_log_has_no_password(tmp_path):
    path = tmp_path / "log"
    assert act.tail(path) == f"(no {path})"
    path.write_text("one\ntwo\nthree password=hunter2secret\n")
    assert act.tail(path, lines=2) == "two / three password=********"
