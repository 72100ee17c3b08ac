"""utils.managed and utils.ssh_files: the texts of files in directories of the postgres user."""

import os

import pytest

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import managed
from saltext_repmgr.utils import ssh_files
from saltext_repmgr.utils.errors import CommandFailed

BEGIN, END = "# begin", "# end"
KEY = "ssh-ed25519 AAAA"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "# begin\nours\n# end\n"),
        ("theirs\n", "# begin\nours\n# end\ntheirs\n"),
        ("# begin\nold\nolder\n# end\ntheirs\n", "# begin\nours\n# end\ntheirs\n"),
        ("first\n# begin\n# end\nlast", "first\n# begin\nours\n# end\nlast"),
    ],
)
def test_a_block_in_a_file(text, expected):
    found = managed.with_block(text, BEGIN, END, "ours\n")
    assert found == expected
    assert managed.with_block(found, BEGIN, END, "ours\n") == found


@pytest.mark.parametrize("text", ["# begin\n", "# end\n", "# end\n# begin\n"])
def test_half_of_a_block_is_refused(text):
    with pytest.raises(CommandFailed, match="Restore both lines"):
        managed.with_block(text, BEGIN, END, "ours\n")


def test_a_file_is_announced_and_written(tmp_path):
    path = str(tmp_path / "file")
    announced = managed.file(path, "one\n", 0o600, dry=True)
    assert announced["changes"] == {"diff": "New file"} and not os.path.exists(path)
    assert managed.file(path, "one\n", 0o600)["changes"] == announced["changes"]
    assert managed.file(path, "one\n", 0o600)["changes"] == {}
    os.chmod(path, 0o644)
    assert managed.file(path, "one\n", 0o600)["changes"] == {"mode": "0600"}
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert "-one\n+two\n" in managed.file(path, "two\n")["changes"]["diff"]


def test_a_secret_is_not_shown(tmp_path):
    path = str(tmp_path / "file")
    for text in ("hunter1\n", "hunter2\n"):
        assert "hunter" not in str(managed.file(path, text, 0o600, show=False))


def test_a_text_that_does_not_pass_is_not_written(tmp_path):
    path = tmp_path / "file"
    path.write_text("old\n")

    def check(text):
        raise CommandFailed(f"no to {text}")

    with pytest.raises(CommandFailed, match="no to new"):
        managed.file(str(path), "new\n", 0o644, check=check)
    assert path.read_text() == "old\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"{KEY} us@master\n"),
        ("ssh-rsa BBBB other\n", f"ssh-rsa BBBB other\n{KEY} us@master\n"),
        (f"{KEY}\n", f"{KEY}\n"),
        (f'from="10.0.0.1" {KEY} theirs\n', f'from="10.0.0.1" {KEY} theirs\n'),
    ],
)
def test_authorized_keys(text, expected):
    assert ssh_files.authorized(text, f"{KEY} us@master") == expected


def test_known_hosts():
    hosts = {"a": ["ssh-ed25519", "AAAA"], "b": ["ssh-rsa", "BBBB"]}
    text = "# theirs\nother ssh-rsa CCCC\na ssh-ed25519 OLD\ngone ssh-rsa DDDD\n"
    found = ssh_files.known(text, hosts, ["gone"])
    assert found == "# theirs\nother ssh-rsa CCCC\na ssh-ed25519 AAAA\nb ssh-rsa BBBB\n"
    assert ssh_files.known(found, hosts, ["gone"]) == found
    assert ssh_files.known("", {}) == ""


def test_bytes_that_are_no_utf8_stay_as_they_are(tmp_path):
    """As in a comment that somebody wrote in Latin-1."""
    path = tmp_path / "pg_hba.conf"
    path.write_bytes(b"# f\xfcr\nlocal all all peer\n")
    text = managed.with_block(confined.read(path, errors="surrogateescape"), BEGIN, END, "ours\n")
    changes = managed.file(str(path), text)["changes"]
    assert path.read_bytes() == b"# begin\nours\n# end\n# f\xfcr\nlocal all all peer\n"
    assert "+ours" in changes["diff"]
    # Salt serializes what a state returns.
    changes["diff"].encode()
