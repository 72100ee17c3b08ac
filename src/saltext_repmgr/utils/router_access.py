"""What PgBouncer needs in the databases: its role, and in each database a function that tells
it how a client proves who it is.

The role may log in and call that function, and nothing else.
"""

from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils.spec import ROUTER_ROLE

SCHEMA = "pgbouncer"
FUNCTION = f"{SCHEMA}.get_auth(text)"
AUTH_QUERY = f"SELECT usename, passwd FROM {SCHEMA}.get_auth($1)"

# The role could otherwise learn the verifier of a superuser, and log in as one with it.
_BODY = (
    "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin"
    " AND NOT rolsuper AND NOT rolreplication"
    " AND (rolvaliduntil IS NULL OR rolvaliduntil > now())"
)
_CREATE = (
    f"CREATE OR REPLACE FUNCTION {SCHEMA}.get_auth(role text)"
    " RETURNS TABLE (usename text, passwd text)"
    f" LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS '{_BODY}'"
)
_ROLE = (
    "SELECT rolcanlogin AND NOT (rolsuper OR rolreplication OR rolcreaterole OR rolcreatedb"
    " OR rolbypassrls) AS plain, rolpassword FROM pg_authid WHERE rolname = %(role)s"
)
# The owner decides what a function of this kind may do, so it counts like the text.
_IS_THERE = (
    "SELECT p.prosecdef AND p.provolatile = 's' AND p.prosrc = %(body)s"
    " AND p.proconfig = '{search_path=pg_catalog}' AND o.rolsuper"
    " AND has_schema_privilege(%(role)s, p.pronamespace, 'USAGE')"
    " AND has_function_privilege(%(role)s, p.oid, 'EXECUTE')"
    " AND p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) a"
    "   WHERE a.grantee NOT IN (p.proowner, r.oid)) AS good"
    " FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner, pg_roles r"
    f" WHERE r.rolname = %(role)s AND p.oid = to_regprocedure('{FUNCTION}')"
)


def absent(connect, databases):
    """Return those of the databases that do not exist.

    connect
        Function that takes a database name and returns a context manager with a
        superuser's connection.
    databases
        Names.
    """
    with connect("postgres") as connection:
        found = db.rows(connection, "SELECT datname FROM pg_database WHERE datallowconn")
    there = {row["datname"] for row in found}
    return [name for name in databases if name not in there]


def missing(connect, databases):
    """Return what is missing, as a list of words; an empty list when all is there.

    connect
        As in :func:`absent`.
    databases
        Names of databases that exist.
    """
    with connect("postgres") as connection:
        found = db.rows(connection, _ROLE, {"role": ROUTER_ROLE})
    if not found:
        return ["role", "password", *(f"function in {name}" for name in databases)]
    gaps = [] if found[0]["plain"] else ["role"]
    if found[0]["rolpassword"] is None:
        gaps.append("password")
    for name in databases:
        with connect(name) as connection:
            rows = db.rows(connection, _IS_THERE, {"role": ROUTER_ROLE, "body": _BODY})
        if not (rows and rows[0]["good"]):
            gaps.append(f"function in {name}")
    return gaps


def create(connect, password, databases):
    """Make whatever :func:`missing` found; may be run at any time.

    password
        Clear text, for a role that has none. That of another is changed together with the files
        of all PgBouncers, and not here.
    """
    with connect("postgres") as connection:
        if not db.rows(connection, _ROLE, {"role": ROUTER_ROLE}):
            db.run(connection, f"CREATE ROLE {ROUTER_ROLE}")
        db.run(
            connection,
            f"ALTER ROLE {ROUTER_ROLE} LOGIN NOSUPERUSER NOREPLICATION NOCREATEROLE NOCREATEDB"
            " NOBYPASSRLS",
        )
        stored = db.row(connection, _ROLE, {"role": ROUTER_ROLE})["rolpassword"]
        if stored is None:
            metadata.set_password(connection, password, ROUTER_ROLE)
    for name in databases:
        with connect(name) as connection:
            if db.rows(connection, _IS_THERE, {"role": ROUTER_ROLE, "body": _BODY}) != [
                {"good": True}
            ]:
                _make_function(connection)


def _make_function(connection):
    # Whoever owned it before would own it after CREATE OR REPLACE, too.
    db.run(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    db.run(connection, f"ALTER SCHEMA {SCHEMA} OWNER TO CURRENT_USER")
    db.run(connection, f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC")
    # At once: it is everybody's from the moment it is made to that of the REVOKE.
    db.run(connection, "BEGIN")
    db.run(connection, f"DROP FUNCTION IF EXISTS {FUNCTION}")
    db.run(connection, _CREATE)
    db.run(connection, f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    db.run(connection, f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROUTER_ROLE}")
    db.run(connection, f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROUTER_ROLE}")
    db.run(connection, "COMMIT")
