"""What root does in directories of the postgres user, where that user planted something.

``PLACES`` lists every file and directory of the product that lies in such a directory, with what root
does there. tests/unit/test_file_access.py sees to it that nothing in the product reaches files in
another way.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import stat

import pytest

from saltext_repmgr.guard import lease
from saltext_repmgr.utils import act
from saltext_repmgr.utils import clone
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import host
from saltext_repmgr.utils import managed
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import router_act
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import spool
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.spec import Layout

_PATIENCE = 10


def _locked(layout):
    try:
        with lease.held(0, layout.guard_state):
            pass
    except OSError as err:
        raise Refused(str(err)) from err


def _ended_pause(layout):
    for name in ("paused-until", "paused-in"):
        confined.write(f"{layout.guard_state}/{name}", "0\n", 0o644)
        confined.unlink(f"{layout.guard_state}/{name}")


def _left(layout):
    confined.rename(layout.settings_file, "90-repmgr.conf.left")


def _logged(layout):
    said = act.tail(act.server_log(layout))
    assert "secret" not in said
    raise Refused(said)


def _spooled(layout):
    spool.read(f"{layout.data_directory}/../spool", "1.event")


def _secret(name):
    return lambda layout: managed.secret(
        f"{layout.data_directory}/../{name}", "x", 0o600, layout, False
    )


def _ssh(layout):
    name = f"{layout.data_directory}/../.ssh/authorized_keys"
    managed.file(name, "key\n", 0o600, layout.os_user, directory_mode=0o700)


_D, _E, _G = "data", "etc", "guard"
# Path below a directory of the postgres user's, and what root does there.
PLACES = {
    f"{_D}/postmaster.pid": lambda layout: host.postmaster_pid(layout.data_directory),
    f"{_D}/PG_VERSION": lambda layout: confined.exists(f"{layout.data_directory}/PG_VERSION"),
    f"{_D}/global/pg_control": host.control_file,
    f"{_D}/global": host.data_directory,
    f"{_D}/pg_replslot": lambda layout: host.data_directory(layout, installed=False),
    f"{_D}/pg_tblspc": lambda layout: host.data_directory(layout, installed=False),
    f"{_D}/standby.signal": lambda layout: confined.create(
        f"{layout.data_directory}/standby.signal", "", 0o600, layout.os_user
    ),
    f"{_D}/postgresql.conf": lambda layout: act.lay_out_configuration(layout, {}),
    f"{_D}/pg_hba.conf": lambda layout: act.lay_out_configuration(layout, {}),
    _D: act.move_aside,
    f"{_D}.repmgr-clone": host.data_directory,
    f"{_E}/start.conf": lambda layout: membership.write_start_file(layout, "auto\n"),
    f"{_E}/.start.conf.new": lambda layout: membership.write_start_file(layout, "auto\n"),
    f"{_E}/postgresql.conf": act.configured_data_directory,
    f"{_E}/pg_hba.conf": lambda layout: managed.file(f"{layout.config_directory}/pg_hba.conf", "x"),
    f"{_E}/pg_ctl.conf": lambda layout: managed.file(
        f"{layout.config_directory}/pg_ctl.conf", "x", 0o644
    ),
    f"{_E}/conf.d/90-repmgr.conf": lambda layout: act.write_settings(layout, "port = 1\n"),
    f"{_E}/conf.d/.90-repmgr.conf.new": lambda layout: act.write_settings(layout, "port = 1\n"),
    f"{_E}/conf.d": _left,
    _E: observe.own_mark,
    f"{_G}/state.json": lambda layout: host.read_json(f"{layout.guard_state}/state.json"),
    f"{_G}/paused-until": _ended_pause,
    f"{_G}/.paused-until.new": _ended_pause,
    f"{_G}/paused-in": _ended_pause,
    f"{_G}/pause.lock": _locked,
    "router/databases.ini": lambda layout: router_act.have_databases(),
    "router/state.json": lambda layout: host.read_json(router_files.STATE),
    "spool/1.event": _spooled,
    "log": _logged,
    "pgpass": _secret("pgpass"),
    ".userlist.txt.new": _secret("userlist.txt"),
    ".ssh": _ssh,
    ".ssh/authorized_keys": _ssh,
}


@pytest.fixture
def home(version, tmp_path, monkeypatch):  # pylint: disable=unused-argument
    """A directory of the postgres user with all that the product has there."""
    path = tmp_path / "home"
    for name in ("data/global", "data/pg_replslot", "data/pg_tblspc", "etc/conf.d", "guard"):
        (path / name).mkdir(parents=True)
    for name in ("router", "spool", ".ssh"):
        (path / name).mkdir()
    (path / "data/PG_VERSION").write_text(f"{version}\n")
    (path / "data/global/pg_control").touch()
    (path / "etc/conf.d/90-repmgr.conf").write_text("port = 2\n")
    for found in [path, *path.rglob("*")]:
        shutil.chown(found, "postgres", "postgres")
    monkeypatch.setattr(Layout, "config_directory", str(path / "etc"))
    monkeypatch.setattr(Layout, "guard_state", str(path / "guard"))
    monkeypatch.setattr(act, "server_log", lambda _: str(path / "log"))
    monkeypatch.setattr(router_files, "DATABASES", str(path / "router/databases.ini"))
    monkeypatch.setattr(router_files, "STATE", str(path / "router/state.json"))
    return path


@pytest.fixture
def layout(home, version):
    return Layout(version, "main", str(home / "data"))


@pytest.fixture
def canary(tmp_path):
    """A directory of root's with a file in it that nobody may read, and a check of both."""
    path = tmp_path / "roots"
    path.mkdir(mode=0o700)
    (path / "canary").write_text('{"secret": 1}\n')
    (path / "canary").chmod(0o600)

    def facts():
        look = [(p.name, p.stat(), p.is_file() and p.read_text()) for p in [path, *path.iterdir()]]
        return [(n, s.st_uid, s.st_gid, s.st_mode, s.st_mtime_ns, text) for n, s, text in look]

    before = facts()
    yield path
    assert facts() == before


@contextlib.contextmanager
def _in_time():
    """End what waits for a pipe, or reads a device without an end."""

    def late(*_):
        raise AssertionError(f"still at it after {_PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _to_file(path, canary):
    path.symlink_to(canary / "canary")


def _to_directory(path, canary):
    path.symlink_to(canary)


def _dangling(path, canary):
    path.symlink_to(canary / "made")


def _pipe(path, _):
    os.mkfifo(path)
    shutil.chown(path, "postgres", "postgres")


def _device(path, _):
    # Only root can make one; a container's /dev is no place for it either.
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


PLANTS = {
    "a symbolic link to .*roots/canary": _to_file,
    "a symbolic link to .*roots": _to_directory,
    "a symbolic link to .*roots/made": _dangling,
    r"a named pipe \(FIFO\)": _pipe,
    "a character device": _device,
}


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("place", PLACES)
def test_what_was_planted_is_refused(home, layout, canary, place, kind):
    path = home / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    PLANTS[kind](path, canary)
    before = path.lstat()
    words = f"{kind}|no regular file|Invalid argument|Too many levels|is a symbolic link"
    with _in_time(), pytest.raises(Refused, match=words) as refused:
        PLACES[place](layout)
    assert path.name in str(refused.value)
    after = path.lstat()
    assert (after.st_ino, after.st_uid, after.st_mode) == (
        before.st_ino,
        before.st_uid,
        before.st_mode,
    )


def test_a_forged_marker_deletes_nothing(home, layout, clone_state, canary):
    """What was in A2: a marker beside the data directory, and the data directory a link."""
    (home / "data.repmgr-clone").touch()
    with pytest.raises(Refused, match="is not an unfinished clone; nothing was removed"):
        clone.discard(layout)
    shutil.rmtree(home / "data")
    (home / "data").symlink_to(canary)
    (clone_state / f"{layout.version}-main.json").write_text("{}")
    with pytest.raises(Refused, match="is a symbolic link"):
        clone.discard(layout)


def test_links_inside_are_removed_and_not_followed(home, layout, clone_state, canary):
    (clone_state / f"{layout.version}-main.json").write_text("{}")
    (home / "data/pg_wal").symlink_to(canary)
    (home / "data/global/more").symlink_to(canary)
    clone.discard(layout)
    assert not list((home / "data").iterdir())


def test_a_link_of_roots_is_followed(tmp_path):
    """An administrator may have moved /var/lib/postgresql to another disk."""
    place = pathlib.Path("/run") / f"repmgr-{tmp_path.name}"
    place.mkdir(mode=0o755)
    try:
        (place / "disk").mkdir()
        (place / "there").symlink_to(place / "disk")
        (place / "again").symlink_to("there")
        confined.write(place / "again/file", "text\n", 0o644, "postgres")
        assert confined.read(place / "disk/file") == "text\n"
        assert (place / "disk/file").owner() == "postgres"
        (place / "name").symlink_to("disk/file")
        assert confined.read(place / "name") == "text\n"
        place.chmod(0o777)
        with pytest.raises(Refused, match="there on the way to .* is a symbolic link"):
            confined.read(place / "there/file")
    finally:
        shutil.rmtree(place)


def test_a_failed_write_leaves_the_old_file_and_no_other(mount_point):
    path = mount_point / "file"
    confined.write(path, "old\n", 0o640)
    with pytest.raises(OSError, match="No space left"):
        confined.write(path, "x" * 200_000, 0o640)
    assert (path.read_text(), os.listdir(mount_point)) == ("old\n", ["file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_directory_with_something_in_it_keeps_its_owner(home, canary):
    with pytest.raises(Refused, match="is not empty and belongs to root"):
        confined.have_directory(canary, 0o700, "postgres")
    made = home / "one/two"
    confined.have_directory(made, 0o700, "postgres")
    assert (made.owner(), made.parent.owner(), made.stat().st_mode & 0o777) == (
        "postgres",
        "root",
        0o700,
    )
    (home / "mounted/lost+found").mkdir(parents=True)
    confined.have_directory(home / "mounted", 0o700, "postgres")
    assert (home / "mounted").owner() == "postgres"


def test_a_program_run_by_root_reads_a_control_file_as_postgres(pristine, canary):
    """A link behind the look would have pg_controldata read what root may."""
    before = host.control_file(pristine.layout)
    control = pristine.data / "global/pg_control"
    kept = control.with_name("kept")
    control.rename(kept)
    try:
        control.symlink_to(canary / "canary")
        with pytest.raises(Refused, match="pg_control is a symbolic link"):
            host.control_file(pristine.layout)
    finally:
        control.unlink()
        kept.rename(control)
    assert host.control_file(pristine.layout) == before


def test_passwords_are_not_read_through_a_link(home, canary):
    (home / "pgpass").symlink_to(canary / "canary")
    with pytest.raises(Refused, match="symbolic link"):
        passwords.write(str(home / "pgpass"), "x")
