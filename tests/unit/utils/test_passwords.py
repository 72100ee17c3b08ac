"""Which password a host has for which server."""

import dataclasses

import pytest

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import repmgr_conf
from tests.unit.utils.test_plan import SPEC

OLD, NEW = "the-one-of-before", "the-one-of-pillar"
NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    "password", ["plain-one", "with:colon", "back\\slash", "ends\\", "é:\\ 'q\""]
)
def test_what_is_written_is_what_is_read(password):
    lines = {n.name: password for n in SPEC.members}
    assert passwords.held(SPEC, repmgr_conf.pgpass(SPEC, lines)) == lines


def test_lines_of_others_are_not_taken_for_ours():
    host = SPEC.members[0].host
    text = f"# comment\n*:*:*:*:any\n{host}:5432:other:repmgr:x\nhalf:a:line\n\n"
    assert passwords.held(SPEC, text) == {}


def test_the_first_line_counts_as_for_libpq():
    host = SPEC.members[0].host
    text = f"{host}:5432:repmgr:repmgr:one\n{host}:5432:repmgr:repmgr:two\n"
    assert passwords.held(SPEC, text) == {SPEC.members[0].name: "one"}


ALL_OLD, ALL_NEW = dict.fromkeys(NAMES, OLD), dict.fromkeys(NAMES, NEW)


@pytest.mark.parametrize(
    ("found", "takes", "chosen"),
    [
        pytest.param({}, {}, ALL_NEW, id="a new host"),
        pytest.param(ALL_NEW, {}, ALL_NEW, id="nothing to do"),
        pytest.param(ALL_OLD, dict.fromkeys(NAMES, False), ALL_OLD, id="not changed yet"),
        pytest.param(ALL_OLD, dict.fromkeys(NAMES), ALL_OLD, id="nobody answers"),
        pytest.param(ALL_OLD, dict.fromkeys(NAMES, True), ALL_NEW, id="changed without it"),
        pytest.param(
            ALL_OLD,
            {"a": True, "b": False, "c": None},
            {"a": NEW, "b": OLD, "c": NEW},
            id="one is behind and one away",
        ),
        pytest.param(
            {"a": OLD, "b": OLD}, {"a": False, "b": False}, ALL_OLD, id="a member came before"
        ),
        pytest.param(
            {"a": NEW, "b": OLD},
            {"a": True, "b": True},
            ALL_NEW,
            id="a member came in the middle",
        ),
    ],
)
def test_pillars_is_only_written_where_it_is_in_force(found, takes, chosen):
    assert passwords.choose(NEW, NAMES, found, takes) == chosen


def test_only_the_same_passwords_are_alike():
    other = dataclasses.replace(SPEC, password="another-one")
    assert passwords.digest(SPEC, "a") == passwords.digest(SPEC, "a")
    assert passwords.digest(SPEC, "a") != passwords.digest(SPEC, "b")
    assert passwords.digest(SPEC, "a") != passwords.digest(other, "a")
    assert SPEC.password not in passwords.digest(SPEC, "a")


def test_a_secret_is_nobody_elses(tmp_path, monkeypatch):
    account = __import__("pwd").getpwuid(__import__("os").getuid())
    monkeypatch.setattr(confined.pwd, "getpwnam", lambda _: account)
    path = tmp_path / "secret"
    path.write_text("before")
    path.chmod(0o644)
    passwords.write(str(path), "after\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("after\n", 0o600)
    assert list(tmp_path.iterdir()) == [path]
