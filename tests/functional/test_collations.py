"""utils.server.describe: databases whose text is sorted by other rules on this host."""

import pytest

from saltext_repmgr.utils import server
from saltext_repmgr.utils.facts import Collation
from saltext_repmgr.utils.spec import ROLE_NAME

VERSION = "SELECT datcollversion FROM pg_database WHERE datname = '{}'"


@pytest.fixture
def described(primary):
    def ask():
        with primary.connect("repmgr") as connection:
            return server.describe(connection, ROLE_NAME).collations

    return ask


@pytest.fixture
def database(primary):
    """One that has a collation with a version: ICU's."""
    icu = "LOCALE_PROVIDER icu ICU_LOCALE 'de' TEMPLATE template0"
    primary.sql(f"CREATE DATABASE sorted {icu}")
    yield "sorted"
    primary.sql("DROP DATABASE sorted")


def test_those_of_this_host_are_none_to_tell(primary, database, described):
    assert primary.sql(VERSION.format(database))
    assert described() == ()


def test_one_that_another_host_made(primary, database, described):
    here = primary.sql(VERSION.format(database))
    # As its files say where they come from a host with another library.
    primary.sql(f"UPDATE pg_database SET datcollversion = '1.2.3' WHERE datname = '{database}'")
    assert described() == (Collation(database, "1.2.3", here),)
    primary.sql(f"ALTER DATABASE {database} REFRESH COLLATION VERSION")
    assert described() == ()


def test_c_utf8_is_the_same_everywhere(primary, described):
    locale = "LOCALE 'C.UTF-8' TEMPLATE template0"
    primary.sql(f"CREATE DATABASE plain {locale}")
    try:
        assert primary.sql(VERSION.format("plain")) == ""
        assert described() == ()
    finally:
        primary.sql("DROP DATABASE plain")
