"""repmgr's role, database and extension in a server, and the rights the role needs.

The role is no superuser, and nothing in the database is its own: superusers use that database, and
the owner of a table or of a database decides what happens in their sessions. What it is given is what
repmgr 5.2 to 5.5 ask for when they register, clone, follow, promote, rejoin and fail over, tried one
by one.
"""

from saltext_repmgr.utils import db
from saltext_repmgr.utils import roles
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
# With TRIGGER it could have a superuser's statement run a function.
_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
_RIGHTS = """
SELECT has_schema_privilege(r.oid, 'repmgr', 'USAGE')
   AND NOT has_schema_privilege(r.oid, 'repmgr', 'CREATE')
   AND coalesce((SELECT bool_and(has_table_privilege(r.oid, c.oid, privilege))
         FROM pg_class c, unnest(%(privileges)s) privilege
        WHERE c.relnamespace = 'repmgr'::regnamespace AND c.relkind IN ('r', 'v')), false)
   AND NOT EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x
        WHERE c.relnamespace = 'repmgr'::regnamespace AND x.grantee = r.oid
          AND x.privilege_type <> ALL (%(privileges)s)) AS granted
  FROM pg_roles r WHERE r.rolname = %(role)s
"""
# In a database that PUBLIC may use, every login role can take the locks that repmgr's nodes tell
# each other of a switchover by.
_DATABASE = """
SELECT o.rolsuper AND o.rolname <> %(role)s AS owned,
       has_database_privilege(%(role)s, d.datname, 'CONNECT') AND NOT EXISTS (
           SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
            WHERE x.grantee = 0
               OR x.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
                  AND x.privilege_type <> 'CONNECT') AS closed
  FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba WHERE d.datname = %(name)s
"""
# Statements that give what belongs to repmgr's extension to the superuser that runs them.
_OWNERSHIP = """
SELECT format('ALTER %%s OWNER TO CURRENT_USER', x.what) AS statement
  FROM (SELECT 'SCHEMA ' || n.oid::regnamespace AS what, n.nspowner AS owner
          FROM pg_namespace n WHERE n.nspname = 'repmgr'
         UNION ALL
        SELECT 'TABLE ' || c.oid::regclass, c.relowner
          FROM pg_class c
         WHERE c.relnamespace = 'repmgr'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
         UNION ALL
        SELECT 'ROUTINE ' || p.oid::regprocedure, p.proowner
          FROM pg_proc p WHERE p.pronamespace = 'repmgr'::regnamespace) x
  JOIN pg_roles o ON o.oid = x.owner
 WHERE NOT o.rolsuper OR o.rolname = %(role)s
"""
# PostgreSQL has no statement for the owner of an extension alone. The one that there is takes all
# that the role owns, here and among the databases: it is used where that is nothing else.
_OWNS_EXTENSION_ONLY = """
SELECT count(*) > 0 AND coalesce(bool_and(s.classid = 'pg_extension'::regclass
                                          AND s.dbid <> 0), false) AS yes
  FROM pg_shdepend s
 WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'
   AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
   AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_PUBLIC_CREATES = """
SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) x
                WHERE n.nspname = 'public' AND x.grantee = 0
                  AND x.privilege_type = 'CREATE') AS yes
"""
# What repmgr works with; the functions of pg_rewind are below.
_ALLOWED = ("REPLICATION",)


def missing(connect, password):
    """Return what is missing or is to be taken away, as a list of words; [] when all is right.

    connect
        Function that takes a database name and returns a context manager with a
        superuser's connection.
    password
        Clear text that the role's stored verifier must match.
    """
    with connect("postgres") as connection:
        found = db.rows(connection, _ROLE, {"role": ROLE_NAME})
        if not found:
            return ["role", "password", "database", "extension", "rights"]
        excess = roles.excess(connection, ROLE_NAME, _ALLOWED)
        database = _database(connection)
    gaps = []
    if not (found[0]["login"] and found[0]["monitor"] and found[0]["local_commits"]):
        gaps.append("role")
    if excess:
        gaps.append(f"role without {', '.join(excess)}")
    if not scram.matches(found[0]["rolpassword"], password):
        gaps.append("password")
    if not database:
        return gaps + ["database", "extension", "rights"]
    if not database["closed"]:
        gaps.append("database for nobody but its role")
    with connect(DATABASE_NAME) as connection:
        if not db.rows(connection, "SELECT 1 FROM pg_extension WHERE extname = 'repmgr'"):
            return gaps + ["extension", "rights"]
        if not database["owned"] or db.rows(connection, _OWNERSHIP, {"role": ROLE_NAME}):
            gaps.append("database owned by postgres")
        # A superuser's tell nothing of what it has without that.
        if "SUPERUSER" in excess or not _has_rights(connection):
            gaps.append("rights")
    return gaps


def _database(connection):
    found = db.rows(connection, _DATABASE, {"name": DATABASE_NAME, "role": ROLE_NAME})
    return found[0] if found else None


def _has_rights(connection):
    parameters = {"role": ROLE_NAME, "privileges": list(_PRIVILEGES)}
    return (
        db.row(connection, _RIGHTS, parameters)["granted"]
        and not db.row(connection, _PUBLIC_CREATES)["yes"]
        and all(
            db.row(
                connection,
                "SELECT has_function_privilege(%(role)s, %(function)s, 'EXECUTE') AS granted",
                {"role": ROLE_NAME, "function": function},
            )["granted"]
            for function in _FUNCTIONS
        )
    )


def create(connect, password):
    """Make whatever :func:`missing` found; may be run at any time, also beside a repmgrd.

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
        if not _database(connection):
            db.run(connection, f"CREATE DATABASE {DATABASE_NAME}")
        # At once, as whoever is a member already goes on to connect.
        db.run(connection, "BEGIN")
        if not _database(connection)["owned"]:
            db.run(connection, f"ALTER DATABASE {DATABASE_NAME} OWNER TO CURRENT_USER")
        db.run(connection, f"REVOKE ALL ON DATABASE {DATABASE_NAME} FROM PUBLIC, {ROLE_NAME}")
        db.run(connection, f"GRANT CONNECT ON DATABASE {DATABASE_NAME} TO {ROLE_NAME}")
        db.run(connection, "COMMIT")
    with connect(DATABASE_NAME) as connection:
        db.run(connection, "BEGIN")
        db.run(connection, "CREATE EXTENSION IF NOT EXISTS repmgr")
        _own(connection)
        _grant(connection)
        db.run(connection, "COMMIT")
    with connect("postgres") as connection:
        # Last: what it had as a superuser it has by name now.
        roles.take_away(connection, ROLE_NAME, _ALLOWED)


def _own(connection):
    for row in db.rows(connection, _OWNERSHIP, {"role": ROLE_NAME}):
        db.run(connection, row["statement"])
    if db.row(connection, _OWNS_EXTENSION_ONLY, {"role": ROLE_NAME})["yes"]:
        db.run(connection, f"REASSIGN OWNED BY {ROLE_NAME} TO CURRENT_USER")


def _grant(connection):
    if db.row(connection, _PUBLIC_CREATES)["yes"]:
        db.run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    db.run(connection, f"REVOKE ALL ON SCHEMA repmgr FROM {ROLE_NAME}")
    db.run(connection, f"GRANT USAGE ON SCHEMA repmgr TO {ROLE_NAME}")
    tables = "ALL TABLES IN SCHEMA repmgr"
    db.run(connection, f"REVOKE ALL ON {tables} FROM {ROLE_NAME}")
    db.run(connection, f"GRANT {', '.join(_PRIVILEGES)} ON {tables} TO {ROLE_NAME}")
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
