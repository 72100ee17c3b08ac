"""No password gets through, whatever quotes it is in."""

import pytest

from saltext_repmgr.utils.scrub import MASK
from saltext_repmgr.utils.scrub import scrub
from tests.unit import recorded


@pytest.mark.parametrize(
    "text, expected",
    [
        ("host=a password=s3cr3t user=b", f"host=a password={MASK} user=b"),
        ("host=a password=s3cr3t", f"host=a password={MASK}"),
        ("PASSWORD = s3cr3t port=1", f"PASSWORD = {MASK} port=1"),
        ("password='s3 cr3t' user=b", f"password={MASK} user=b"),
        (r"password='it\'s s3cr3t' user=b", f"password={MASK} user=b"),
        (r"password='back\\slash s3cr3t' user=b", f"password={MASK} user=b"),
        ("password='a=s3cr3t b=s3cr3t' user=b", f"password={MASK} user=b"),
        ("'user=b password=''s3 cr3t'' host=a'", f"'user=b password={MASK} host=a'"),
        (r"'password=''it\''s s3cr3t'' host=a'", f"'password={MASK} host=a'"),
        # repmgr prints them without any quotes.
        ("password=two words s3cr3t dbname=x", f"password={MASK} dbname=x"),
        ("password=it's s3cr3t dbname=x", f"password={MASK} dbname=x"),
        ("password='s3cr3t dbname=x", f"password={MASK} dbname=x"),
        ('ping "host=a password=s3cr3t"', f'ping "host=a password={MASK}"'),
        ("CRITICAL (parameters: password=s3cr3t)", f"CRITICAL (parameters: password={MASK})"),
        ("password=s3cr3t\nDETAIL: more", f"password={MASK}\nDETAIL: more"),
        ("sslpassword=s3cr3t host=a", f"sslpassword={MASK} host=a"),
        ("PGPASSWORD=s3cr3t host=a", f"PGPASSWORD={MASK} host=a"),
        ("PGPASSWORD='s3 cr3t' psql", f"PGPASSWORD={MASK} psql"),
        ('PGPASSWORD="s3 cr3t" psql', f"PGPASSWORD={MASK} psql"),
        ("postgresql://repmgr:s3cr3t@a:5432/x", f"postgresql://repmgr:{MASK}@a:5432/x"),
        ("postgres://repmgr:s3@cr3t@a/x", f"postgres://repmgr:{MASK}@a/x"),
        ("postgresql://a/x?password=s3cr3t", f"postgresql://a/x?password={MASK}"),
    ],
)
def test_passwords_go(text, expected):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "host=a passfile=/etc/repmgr/pgpass user=b",
        "use_primary_conninfo_password=false",
        "use_primary_conninfo_password|false",
        "fe_sendauth: no password supplied",
        "postgresql://repmgr@a/x",
        "",
    ],
)
def test_the_rest_stays(text):
    assert scrub(text) == text


@pytest.mark.parametrize(
    "text",
    ["FATAL: it's\\me", "FATAL: it''s\\me", r"FATAL: it\'s\\me", "FATAL: it%27s%5Cme"],
)
def test_known_secrets_go_in_every_spelling(text):
    assert scrub(text, ["it's\\me", ""]) == f"FATAL: {MASK}"


@pytest.mark.parametrize("version", recorded.VERSIONS)
def test_the_leak_that_was_recorded(version):
    leak = recorded.one(version, "bad_config", "rec1-leaky", "node status --csv")
    assert "it's-leaked" in leak.stderr
    cleaned = scrub(leak.stderr)
    assert "leaked" not in cleaned
    assert "user=repmgr" in cleaned and "dbname=repmgr" in cleaned


def test_what_holds_no_password_stays_as_it_is():
    for recording in recorded.every():
        if recording.node != "rec1-leaky":
            assert scrub(recording.stdout) == recording.stdout, recording
            assert scrub(recording.stderr) == recording.stderr, recording
