"""utils.scram on verifiers that the server made, or lets people in with."""

import base64
import hashlib
import hmac

import pytest

from saltext_repmgr.utils import db
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import scram
from saltext_repmgr.utils.errors import PillarError
from tests.malformed.base import GOOD

ROLE = "scram_test"
PASSWORDS = ("correct horse", "it's", 'back\\slash "quoted" $x$ 100%', " blanks ", "x" * 200)


@pytest.fixture
def role(primary):
    """A role that may log in; its name."""
    primary.sql(f"CREATE ROLE {ROLE} LOGIN")
    yield ROLE
    primary.sql(f"DROP ROLE {ROLE}")


@pytest.fixture
def stored(primary, role):
    """Let the server make a verifier; returns what it stores."""

    def store(password, setting="password_encryption = 'scram-sha-256'"):
        value = "NULL" if password is None else "'" + password.replace("'", "''") + "'"
        primary.sql(f"SET {setting}; ALTER ROLE {role} PASSWORD {value}")
        return primary.sql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'") or None

    return store


def made_with(password, iterations, salt=b"sixteen bytes ok"):
    """A verifier by the RFC, without the code under test."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    encoded = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest())]
    tail = base64.b64encode(server).decode()
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{tail}"


@pytest.mark.parametrize("password", PASSWORDS, ids=lambda password: password[:20])
def test_a_verifier_of_the_server(stored, password):
    verifier = stored(password)
    assert verifier.startswith("SCRAM-SHA-256$4096:")
    assert scram.matches(verifier, password)
    assert not scram.matches(verifier, password + "x")
    assert not scram.matches(verifier, password[:-1])
    assert not scram.matches(verifier, password.upper())


def test_the_same_password_in_two_verifiers(stored):
    one, other = stored("correct horse"), stored("correct horse")
    assert one != other
    assert scram.matches(one, "correct horse")
    assert scram.matches(other, "correct horse")


def test_another_number_of_iterations(stored, version):
    if version >= 16:
        assert stored("correct horse", "scram_iterations = 10000").startswith(
            "SCRAM-SHA-256$10000:"
        )
    verifier = stored(made_with("correct horse", 10000))
    assert verifier == made_with("correct horse", 10000), "stored as it is, not as a password"
    assert scram.matches(verifier, "correct horse")
    assert not scram.matches(verifier, "correct horsf")


@pytest.mark.parametrize("iterations", [1, 4095, 10000])
def test_what_matches_is_what_the_server_lets_in(stored, primary, iterations):
    verifier = stored(made_with("correct horse", iterations))
    assert scram.matches(verifier, "correct horse")
    with db.connect("127.0.0.1", primary.port, ROLE, "postgres", "correct horse") as connection:
        assert db.row(connection, "SELECT current_user AS name") == {"name": ROLE}


def test_an_md5_hash_does_not_match(stored):
    verifier = stored("correct horse", "password_encryption = md5")
    assert verifier.startswith("md5")
    assert not scram.matches(verifier, "correct horse")


def test_a_role_without_password_does_not_match(stored):
    assert stored(None) is None
    assert not scram.matches(None, "correct horse")
    assert not scram.matches(None, "")


def test_a_password_that_is_not_ascii(stored):
    assert scram.matches(stored("grüße, 数据"), "grüße, 数据")


@pytest.mark.parametrize("password", ["ﬁligature", "soft\u00adhyphen", "no\u00a0break"])
def test_a_password_that_saslprep_changes(stored, password):
    # The server prepares it, matches() does not: hence the pillar refuses it.
    assert not scram.matches(stored(password), password)
    with pytest.raises(PillarError, match="repmgr.password: contains characters"):
        pillar.read({**GOOD, "password": password})
