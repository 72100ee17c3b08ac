"""The state repmgr.passfile: what libpq reads from the file."""

import pwd
import stat

import pytest

from tests.functional.support.clusters import as_postgres
from tests.functional.support.clusters import own_name
from tests.functional.support.repmgr import PASSWORD


@pytest.fixture
def states(minion):
    return minion.states


@pytest.fixture
def etc(primary):
    """A place for files of the user postgres; its directory may be missing."""
    path = primary.etc / "functional"
    yield path
    for file in path.glob("*"):
        file.unlink()
    if path.exists():
        path.rmdir()


def test_a_password_file_that_libpq_takes(states, etc, primary):
    path = etc / "pgpass"
    done = states.repmgr.passfile(name=str(path))
    assert done.result is True, done.comment
    assert PASSWORD not in str(done.full_return)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), pwd.getpwuid(found.st_uid).pw_name) == (0o600, "postgres")
    conninfo = f"host={own_name()} port={primary.port} user=repmgr dbname=repmgr"
    argv = ("psql", "-XAt", "-d", f"{conninfo} passfile={path}", "-c", "SELECT current_user")
    assert as_postgres(*argv) == "repmgr"
    again = states.repmgr.passfile(name=str(path))
    assert (again.result, again.changes) == (True, {})


def test_a_dry_run_writes_no_password_file(states, etc):
    done = states.repmgr.passfile(name=str(etc / "pgpass"), test=True)
    assert done.result is None
    assert PASSWORD not in str(done.full_return)
    assert not etc.exists()


def test_a_password_file_with_another_password_is_mended(states, etc):
    path = etc / "pgpass"
    states.repmgr.passfile(name=str(path))
    good = path.read_text()
    path.write_text("*:*:*:*:another-secret\n")
    path.chmod(0o644)
    done = states.repmgr.passfile(name=str(path))
    assert (done.result, path.read_text()) == (True, good)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "another-secret" not in str(done.full_return)
