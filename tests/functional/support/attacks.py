"""What a role tries that wants more than it was given."""

import contextlib

import psycopg2

from tests.functional.support.repmgr import PASSWORD

# By the role of repmgr in its database, and what the server says to it.
ATTACKS = {
    "another search path for superusers": "ALTER DATABASE repmgr SET search_path = evil",
    "a schema for functions": "CREATE SCHEMA evil",
    "a function in public": "CREATE FUNCTION public.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a temporary table": "CREATE TEMP TABLE pg_authid (rolname name)",
    "a trigger on the records": (
        "CREATE TRIGGER evil BEFORE UPDATE ON repmgr.nodes"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "a rule on the records": "CREATE RULE evil AS ON UPDATE TO repmgr.nodes DO ALSO NOTHING",
    "a function in repmgr's schema": (
        "CREATE FUNCTION repmgr.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    "a default of the records": "ALTER TABLE repmgr.nodes ALTER location SET DEFAULT 'evil'",
    "a foreign key": "CREATE TABLE repmgr.evil (id int REFERENCES repmgr.nodes)",
    "another role": "CREATE ROLE evil SUPERUSER",
    "a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "a file": "COPY (SELECT 1) TO '/tmp/repmgr-evil'",
    "a setting": "ALTER SYSTEM SET archive_command = 'true'",
}


DENIED = "permission denied|must be owner|must be superuser"


@contextlib.contextmanager
def session(server, user, password, dbname, **more):
    """A connection of a role, as it makes it itself."""
    place = {"host": "127.0.0.1", "port": server.port, "dbname": dbname}
    connection = psycopg2.connect(**place, user=user, password=password, **more)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def attempt(server, statement, user="repmgr", password=PASSWORD, dbname="repmgr"):
    with session(server, user, password, dbname) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
