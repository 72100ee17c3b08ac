"""repmgr's role, database and extension in a server, and the rights the role needs.

The role is no superuser. What it is given is what repmgr 5.2 to 5.5 ask for when they
register, clone, follow, promote, rejoin and fail over, tried one by one.
"""

from saltext_repmgr.utils import db
from saltext_repmgr.utils import scram
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME

# pg_promote, pg_wal_replay_resume: promotion without a superuser. The rest is what
# pg_rewind reads the source with (PostgreSQL manual, pg_rewind, Notes).
_FUNCTIONS = (
    "pg_catalog.pg_promote(boolean, integer)",
    "pg_catalog.pg_wal_replay_resume()",
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
)
_ROLE = (
    "SELECT rolcanlogin AND rolreplication AS login, rolpassword,"
    " pg_has_role(oid, 'pg_monitor', 'usage') AS monitor,"
    " EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0"
    "   AND 'synchronous_commit=local' = ANY (setconfig)) AS local_commits"
    " FROM pg_authid a WHERE rolname = %(role)s"
)
_RIGHTS = (
    "SELECT has_schema_privilege(%(role)s, 'repmgr', 'USAGE')"
    " AND coalesce((SELECT bool_and(has_table_privilege(%(role)s, c.oid, privilege))"
    "   FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) privilege"
    "   WHERE relnamespace = 'repmgr'::regnamespace AND relkind IN ('r', 'v')),"
    "   false) AS granted"
)


def missing(connect, password):
    """Return what is missing, as a list of words; an empty list when all is there.

    connect
        Function that takes a database name and returns a context manager with a
        superuser's connection.
    password
        Clear text that the role's stored verifier must match.
    """
    with connect("postgres") as connection:
        found = db.rows(connection, _ROLE, {"role": ROLE_NAME})
        exists = db.rows(
            connection,
            "SELECT 1 FROM pg_database WHERE datname = %(name)s",
            {"name": DATABASE_NAME},
        )
    if not found:
        return ["role", "password", "database", "extension", "rights"]
    gaps = []
    if not (found[0]["login"] and found[0]["monitor"] and found[0]["local_commits"]):
        gaps.append("role")
    if not scram.matches(found[0]["rolpassword"], password):
        gaps.append("password")
    if not exists:
        return gaps + ["database", "extension", "rights"]
    with connect(DATABASE_NAME) as connection:
        if not db.rows(connection, "SELECT 1 FROM pg_extension WHERE extname = 'repmgr'"):
            return gaps + ["extension", "rights"]
        granted = db.row(connection, _RIGHTS, {"role": ROLE_NAME})["granted"]
        functions = all(
            db.row(
                connection,
                "SELECT has_function_privilege(%(role)s, %(function)s, 'EXECUTE') AS granted",
                {"role": ROLE_NAME, "function": function},
            )["granted"]
            for function in _FUNCTIONS
        )
    if not (granted and functions):
        gaps.append("rights")
    return gaps


def create(connect, password):
    """Make whatever :func:`missing` found; may be run at any time.

    The password is turned into a verifier here, so that the server's log never sees it,
    whatever it logs.
    """
    with connect("postgres") as connection:
        if not db.rows(connection, _ROLE, {"role": ROLE_NAME}):
            db.run(connection, f"CREATE ROLE {ROLE_NAME}")
        stored = db.row(connection, _ROLE, {"role": ROLE_NAME})["rolpassword"]
        db.run(connection, f"ALTER ROLE {ROLE_NAME} LOGIN REPLICATION")
        if not scram.matches(stored, password):
            set_password(connection, password)
        db.run(connection, f"GRANT pg_monitor TO {ROLE_NAME}")
        # Its metadata must be writable while no synchronous standby is there.
        db.run(connection, f"ALTER ROLE {ROLE_NAME} SET synchronous_commit = local")
        exists = db.rows(
            connection,
            "SELECT 1 FROM pg_database WHERE datname = %(name)s",
            {"name": DATABASE_NAME},
        )
        if not exists:
            db.run(connection, f"CREATE DATABASE {DATABASE_NAME} OWNER {ROLE_NAME}")
    with connect(DATABASE_NAME) as connection:
        db.run(connection, "CREATE EXTENSION IF NOT EXISTS repmgr")
        db.run(connection, f"GRANT USAGE ON SCHEMA repmgr TO {ROLE_NAME}")
        db.run(connection, f"GRANT ALL ON ALL TABLES IN SCHEMA repmgr TO {ROLE_NAME}")
        for function in _FUNCTIONS:
            db.run(connection, f"GRANT EXECUTE ON FUNCTION {function} TO {ROLE_NAME}")
        if _has_pg_checkpoint(connection):
            db.run(connection, f"GRANT pg_checkpoint TO {ROLE_NAME}")


def takes(connection, password, role=ROLE_NAME):
    """Whether a role's stored verifier fits a password; None where there is no such role."""
    found = db.rows(connection, _ROLE, {"role": role})
    return scram.matches(found[0]["rolpassword"], password) if found else None


def set_password(connection, password, role=ROLE_NAME):
    """Give a role another password; a server that logs statements logs the verifier of it."""
    stored_as = verifier(connection, password, role)
    db.run(connection, f"ALTER ROLE {role} PASSWORD %(v)s", {"v": stored_as})


def _has_pg_checkpoint(connection):
    # Since PostgreSQL 15; repmgr 5.5 uses it before a switchover.
    return bool(db.rows(connection, "SELECT 1 FROM pg_roles WHERE rolname = 'pg_checkpoint'"))


def verifier(connection, password, role):
    """Return what a server stores of a role's password, made here."""
    from psycopg2.extensions import encrypt_password  # pylint: disable=import-outside-toplevel

    return encrypt_password(password, role, scope=connection, algorithm="scram-sha-256")
