"""What PgBouncer needs in the databases: its role, and in each database a function that tells
it how a client proves who it is.

The role may log in and call that function, and nothing else. Schema and function have a name that no
other tool uses: a ``pgbouncer.get_auth`` that was there before is left as it is.
"""

from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import roles
from saltext_repmgr.utils.spec import ROUTER_ROLE

SCHEMA = "repmgr_pgbouncer"
FUNCTION = f"{SCHEMA}.get_auth(text)"
# With the type written out no other function of that name can be meant.
AUTH_QUERY = f"SELECT usename, passwd FROM {SCHEMA}.get_auth($1::pg_catalog.text)"
# What releases before this one asked, of a function that they made themselves.
FORMER_QUERY = "SELECT usename, passwd FROM pgbouncer.get_auth($1)"
_FORMER = "pgbouncer.get_auth(text)"

# It runs with a superuser's rights. The schema for temporary objects would be searched before all
# others unless it is named as the last one: whoever calls the function could put a table or a type of
# its own in the place of PostgreSQL's. So that is done, and the names are complete.
_PATH = "pg_catalog, pg_temp"
# The role could otherwise learn the verifier of a superuser, and log in as one with it.
_BODY = (
    "SELECT a.rolname::pg_catalog.text, a.rolpassword FROM pg_catalog.pg_authid a"
    " WHERE a.rolname OPERATOR(pg_catalog.=) $1 AND a.rolcanlogin"
    " AND NOT a.rolsuper AND NOT a.rolreplication AND (a.rolvaliduntil IS NULL"
    " OR a.rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())"
)
# By its text it is known to be ours. It lets its caller become a superuser.
_FORMER_BODY = (
    "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin"
    " AND NOT rolsuper AND NOT rolreplication"
    " AND (rolvaliduntil IS NULL OR rolvaliduntil > now())"
)
_CREATE = (
    "CREATE OR REPLACE FUNCTION {schema}.get_auth(role text)"
    " RETURNS TABLE (usename text, passwd text)"
    f" LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {_PATH} AS '{_BODY}'"
)
_ROLE = "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %(role)s"
# The owner decides what a function of this kind may do, so it counts like the text.
_IS_THERE = (
    "SELECT p.prosecdef AND p.provolatile = 's' AND p.prosrc = %(body)s"
    f" AND p.proconfig = ARRAY['search_path={_PATH}'] AND o.rolsuper AND s.rolsuper"
    " AND has_schema_privilege(r.oid, n.oid, 'USAGE')"
    " AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
    " AND p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) a"
    "   WHERE a.grantee NOT IN (p.proowner, r.oid)) AS good"
    " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " JOIN pg_roles o ON o.oid = p.proowner JOIN pg_roles s ON s.oid = n.nspowner, pg_roles r"
    f" WHERE r.rolname = %(role)s AND p.oid = to_regprocedure('{FUNCTION}')"
)
_IS_FORMER = (
    "SELECT 1 FROM pg_proc p WHERE p.prosecdef AND p.prosrc = %(body)s"
    f" AND p.oid = to_regprocedure('{_FORMER}')"
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
    """Return what is missing or is to be taken away, as a list of words; [] when all is right.

    connect
        As in :func:`absent`.
    databases
        Names of databases that exist.
    """
    with connect("postgres") as connection:
        found = db.rows(connection, _ROLE, {"role": ROUTER_ROLE})
        excess = roles.excess(connection, ROUTER_ROLE)
    gaps = [] if found and found[0]["rolcanlogin"] else ["role"]
    if excess:
        gaps.append(f"role without {', '.join(excess)}")
    if not found or found[0]["rolpassword"] is None:
        gaps.append("password")
    for name in databases:
        with connect(name) as connection:
            if not _is_there(connection):
                gaps.append(f"function in {name}")
            if _is_former(connection):
                gaps.append(f"former function in {name} made safe")
    return gaps


def _is_there(connection):
    rows = db.rows(connection, _IS_THERE, {"role": ROUTER_ROLE, "body": _BODY})
    return bool(rows and rows[0]["good"])


def _is_former(connection):
    return bool(db.rows(connection, _IS_FORMER, {"body": _FORMER_BODY}))


def create(connect, password, databases):
    """Make whatever :func:`missing` found; may be run at any time.

    password
        Clear text, for a role that has none. That of another is changed together with the files
        of all PgBouncers, and not here.
    """
    with connect("postgres") as connection:
        if not db.rows(connection, _ROLE, {"role": ROUTER_ROLE}):
            db.run(connection, f"CREATE ROLE {ROUTER_ROLE}")
        db.run(connection, f"ALTER ROLE {ROUTER_ROLE} LOGIN")
        roles.take_away(connection, ROUTER_ROLE)
        stored = db.row(connection, _ROLE, {"role": ROUTER_ROLE})["rolpassword"]
        if stored is None:
            metadata.set_password(connection, password, ROUTER_ROLE)
    for name in databases:
        with connect(name) as connection:
            if not _is_there(connection):
                _make_function(connection)
            if _is_former(connection):
                # A PgBouncer with the files of before asks it until its host has the new ones.
                db.run(connection, _CREATE.format(schema="pgbouncer"))


def _make_function(connection):
    # At once: it is everybody's from the moment it is made to that of the REVOKE.
    db.run(connection, "BEGIN")
    db.run(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    # Whoever owned it before would own it after CREATE OR REPLACE, too.
    db.run(connection, f"ALTER SCHEMA {SCHEMA} OWNER TO CURRENT_USER")
    db.run(connection, f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC")
    db.run(connection, f"DROP FUNCTION IF EXISTS {FUNCTION}")
    db.run(connection, _CREATE.format(schema=SCHEMA))
    db.run(connection, f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    db.run(connection, f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {ROUTER_ROLE}")
    db.run(connection, f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROUTER_ROLE}")
    db.run(connection, "COMMIT")
