"""A clone with a tablespace and its WAL in another place, killed halfway."""

import os
import shutil
import subprocess
import time

import pytest

from saltext_repmgr.utils import clone
from saltext_repmgr.utils import host
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.spec import Layout


@pytest.fixture
def places(tmp_path):
    """The directories of the clone beside its data directory, empty and the postgres user's."""
    for name in ("source", "tablespace", "wal"):
        (tmp_path / name).mkdir()
        shutil.chown(tmp_path / name, "postgres", "postgres")
    return tmp_path


@pytest.fixture
def source(fresh, places):
    """A running server with megabytes in a tablespace, which is gone afterwards."""
    fresh.sql(f"CREATE TABLESPACE elsewhere LOCATION '{places}/source'")
    fresh.sql(
        "CREATE TABLE much TABLESPACE elsewhere AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
    )
    yield fresh
    fresh.sql("DROP TABLE much; DROP TABLESPACE elsewhere")


@pytest.fixture
def layout(version, places, clone_state):  # pylint: disable=unused-argument
    return Layout(version, "main", str(places / "data"))


def _found(places):
    settings = {
        "tablespace_mapping": (f"{places}/source={places}/tablespace",),
        "pg_basebackup_options": f"--verbose --waldir={places}/wal",
    }
    return clone.elsewhere(settings, [f"{places}/source"])


def _copy(source, places, *more):
    """Begin what repmgr's clone runs."""
    argv = [source.bin("pg_basebackup"), "-h", Layout.socket_directory, "-p", source.port]
    argv += ["-D", places / "data", "-X", "stream", "-c", "fast", "--no-sync", *more]
    argv += ["-T", f"{places}/source={places}/tablespace", f"--waldir={places}/wal"]
    return subprocess.Popen(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *map(str, argv)],
        cwd="/",
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _begin(layout, places):
    found = _found(places)
    clone.require_room(layout, found)
    clone.prepare(layout, "host=nowhere", found)
    return found


def test_what_a_killed_clone_left_elsewhere_is_removed(source, layout, places):
    found = _begin(layout, places)
    assert found == {f"{places}/tablespace": "tablespace", f"{places}/wal": "wal"}
    copying = _copy(source, places, "--max-rate=2M")
    deadline = time.monotonic() + 60
    while not (os.listdir(places / "tablespace") and os.listdir(places / "wal")):
        assert copying.poll() is None and time.monotonic() < deadline, copying.stderr.read()
        time.sleep(0.05)
    copying.kill()
    copying.wait()
    assert os.listdir(places / "tablespace") and os.listdir(places / "wal")
    assert _copy(source, places).communicate()[1].count("is not empty") == 1
    # What is somebody's there is kept, and said before anything is touched.
    (places / "tablespace/notes.txt").write_text("mine")
    with pytest.raises(Refused, match="a tablespace into .*notes.txt.*nothing was touched"):
        clone.require_room(layout, found)
    clone.require_room(layout, {f"{places}/wal": "wal"})
    clone.discard(layout)
    assert os.listdir(places / "tablespace") == ["notes.txt"]
    (places / "tablespace/notes.txt").unlink()
    assert host.data_directory(layout).content is Content.EMPTY
    assert not os.listdir(places / "wal")
    _begin(layout, places)
    again = _copy(source, places)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert host.data_directory(layout).tablespaces == 1


@pytest.mark.parametrize("name", ["tablespace", "wal"])
def test_what_is_full_is_said_first(layout, places, name):
    (places / name / "000000010000000000000001").touch()
    with pytest.raises(Refused, match=f"into {places}/{name}, which is not empty"):
        _begin(layout, places)
    assert not (places / "data").exists() and not os.path.exists(layout.clone_marker)


def test_only_what_was_free_when_it_began_is_emptied(layout, places):
    """The postgres user cannot write the marker; a clone of another time counts for nothing."""
    (places / "tablespace/PG_15_202209061").mkdir()
    clone.prepare(layout, "host=nowhere", {})
    clone.discard(layout)
    assert os.listdir(places / "tablespace") == ["PG_15_202209061"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, None),
        ("", None),
        ("--verbose", None),
        ("--waldir=/srv/wal", "/srv/wal"),
        ("--verbose --waldir '/srv/my wal'", "/srv/my wal"),
    ],
)
def test_the_directory_of_wal(options, expected):
    assert clone.wal_directory(options) == expected
