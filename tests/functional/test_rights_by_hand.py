"""utils.metadata on servers that had a cluster of repmgr before: made by hand, or by an earlier release."""

import psycopg2
import pytest

from saltext_repmgr.utils import metadata
from tests.functional.support.attacks import ATTACKS
from tests.functional.support.attacks import DENIED
from tests.functional.support.attacks import attempt
from tests.functional.support.repmgr import PASSWORD

# As repmgr's manual has a cluster made by hand.
BY_HAND = """
CREATE ROLE repmgr LOGIN SUPERUSER CREATEROLE PASSWORD 'another one';
CREATE DATABASE repmgr OWNER repmgr
"""
BY_HAND_INSIDE = "SET SESSION AUTHORIZATION repmgr; CREATE EXTENSION repmgr"
# What the server says of the role, which is what it may do to superusers' sessions.
OWNED_BY_ROLE = """
SELECT count(*) FROM pg_shdepend
 WHERE refobjid = 'repmgr'::regrole AND deptype = 'o'
   AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


@pytest.fixture
def by_hand(fresh):
    """A server whose cluster was made by hand."""
    fresh.sql(BY_HAND)
    fresh.sql(BY_HAND_INSIDE, "repmgr")
    return fresh


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_role_of_a_cluster_made_by_hand_cannot_have(by_hand, attack):
    metadata.create(by_hand.connect, PASSWORD)
    with pytest.raises(psycopg2.Error, match=DENIED):
        attempt(by_hand, ATTACKS[attack])


def test_a_cluster_made_by_hand_is_told_first(by_hand):
    before = [
        "role",
        "role without SUPERUSER, CREATEROLE",
        "password",
        "database for nobody but its role",
        "database owned by postgres",
        "rights",
    ]
    assert metadata.missing(by_hand.connect, PASSWORD) == before
    by_hand.sql("INSERT INTO repmgr.events VALUES (7, 'kept', true, now(), '')", "repmgr")
    metadata.create(by_hand.connect, PASSWORD)
    assert metadata.missing(by_hand.connect, PASSWORD) == []
    assert by_hand.sql("SELECT event FROM repmgr.events", "repmgr") == "kept"
    assert by_hand.sql(OWNED_BY_ROLE, "repmgr") == "0"


def test_what_else_the_role_owns_stays_its_own(by_hand):
    by_hand.sql("CREATE DATABASE shop OWNER repmgr")
    by_hand.sql("CREATE TABLE public.mine (); ALTER TABLE public.mine OWNER TO repmgr", "repmgr")
    metadata.create(by_hand.connect, PASSWORD)
    assert metadata.missing(by_hand.connect, PASSWORD) == []
    owner = "SELECT datdba::regrole FROM pg_database WHERE datname = 'shop'"
    assert by_hand.sql(owner) == "repmgr"
    owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 'mine'"
    assert by_hand.sql(owner, "repmgr") == "repmgr"


def test_the_rights_of_an_earlier_release_are_narrowed(fresh):
    metadata.create(fresh.connect, PASSWORD)
    fresh.sql("ALTER DATABASE repmgr OWNER TO repmgr")
    fresh.sql("GRANT CONNECT, TEMP ON DATABASE repmgr TO PUBLIC")
    fresh.sql("GRANT ALL ON ALL TABLES IN SCHEMA repmgr TO repmgr", "repmgr")
    expected = ["database for nobody but its role", "database owned by postgres", "rights"]
    assert metadata.missing(fresh.connect, PASSWORD) == expected
    metadata.create(fresh.connect, PASSWORD)
    assert metadata.missing(fresh.connect, PASSWORD) == []
    with pytest.raises(psycopg2.Error, match="permission denied"):
        attempt(fresh, ATTACKS["a trigger on the records"])
