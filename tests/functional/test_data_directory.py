"""utils.host.data_directory: what lies in a data directory, seen from the file system."""

import shutil
from pathlib import Path

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import DataDirectory
from saltext_repmgr.utils.spec import Layout


@pytest.fixture
def layout(version, tmp_path):
    return Layout(version, "main", str(tmp_path / "data"))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


def test_absent(layout):
    expected = DataDirectory(layout.data_directory, Content.ABSENT)
    assert host.data_directory(layout) == expected


def test_empty(layout, data):
    assert host.data_directory(layout) == DataDirectory(str(data), Content.EMPTY)


def test_a_file_system_of_its_own_counts_as_empty(layout, data):
    (data / "lost+found").mkdir()
    assert host.data_directory(layout).content is Content.EMPTY


@pytest.mark.parametrize("entry", ["somebody.txt", "PG_VERSION", ".hidden"])
def test_files(layout, data, entry):
    (data / entry).write_text("15\n")
    assert host.data_directory(layout) == DataDirectory(str(data), Content.FILES)


def _copy(pristine, layout):
    shutil.copytree(pristine.pristine, layout.data_directory, symlinks=True)
    for path in [Path(layout.data_directory), *Path(layout.data_directory).rglob("*")]:
        shutil.chown(path, "postgres", "postgres")


def test_what_initdb_made(pristine, layout):
    _copy(pristine, layout)
    found = host.data_directory(layout)
    assert (found.content, found.standby, found.backup_label) == (Content.POSTGRES, False, False)
    assert (found.slots, found.tablespaces, found.mount_point) == ((), 0, False)
    assert found.control.untouched


def test_the_control_file_is_left_out_where_postgresql_is_not_installed(pristine, layout):
    _copy(pristine, layout)
    found = host.data_directory(layout, installed=False)
    assert (found.content, found.control) == (Content.POSTGRES, None)


def test_a_damaged_control_file_raises(layout, data):
    (data / "global").mkdir()
    (data / "PG_VERSION").write_text("15\n")
    (data / "global/pg_control").write_bytes(b"\0" * 100)
    with pytest.raises(CommandFailed, match="pg_controldata"):
        host.data_directory(layout)


def test_the_primary_and_its_standby(primary, standby):
    one, other = host.data_directory(primary.layout), host.data_directory(standby.layout)
    assert (one.content, one.standby) == (Content.POSTGRES, False)
    assert (other.content, other.standby, other.backup_label) == (Content.POSTGRES, True, False)
    assert one.slots == (f"repmgr_slot_{standby.number}",)
    assert one.control.system_identifier == other.control.system_identifier


def test_a_copy_that_no_server_ran_on_has_its_label(primary, servers):
    copy = servers[4].empty()
    primary.backup(copy.data)
    found = host.data_directory(copy.layout)
    assert (found.content, found.standby, found.backup_label) == (Content.POSTGRES, True, True)


@pytest.mark.parametrize("content", [Content.ABSENT, Content.EMPTY, Content.FILES])
@pytest.mark.parametrize("removable", [True, False])
def test_the_marker_of_an_unfinished_clone(layout, tmp_path, clone_state, content, removable):
    # A former release had it where the postgres user can make it.
    places = {
        True: clone_state / f"{layout.version}-main.json",
        False: tmp_path / "data.repmgr-clone",
    }
    places[removable].touch()
    if content is not Content.ABSENT:
        (tmp_path / "data").mkdir()
    if content is Content.FILES:
        (tmp_path / "data/base").mkdir()
    found = host.data_directory(layout)
    marks = {"unfinished_clone": True, "removable": removable}
    assert found == DataDirectory(layout.data_directory, content, **marks)


def test_a_mount_point(version, mount_point):
    layout = Layout(version, "main", str(mount_point))
    expected = DataDirectory(str(mount_point), Content.EMPTY, mount_point=True)
    assert host.data_directory(layout) == expected
    (mount_point / "file").touch()
    found = host.data_directory(layout)
    assert (found.content, found.mount_point) == (Content.FILES, True)
