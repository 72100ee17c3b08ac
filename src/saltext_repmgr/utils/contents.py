"""What users keep in a running server; on it rests whether a packaged cluster may give way."""

from saltext_repmgr.utils import db
from saltext_repmgr.utils.facts import FIRST_USER_OID

_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY oid"
_CATALOGS = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'pg_catalog'
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid' AND a.attnum > 0
 WHERE c.relkind = 'r' AND c.oid < %(first)s
 ORDER BY 1
"""
# What has no OID from the counter. A large object's may be chosen by the user.
_OTHERS = ("pg_largeobject_metadata", "pg_replication_slots", "pg_prepared_xacts")


def databases(connection):
    """Return the names of the databases that can be connected to."""
    return [row["datname"] for row in db.rows(connection, _DATABASES)]


def of_users(connection):
    """Return whether the database at the other end of the connection, or what all databases
    share, holds anything that initdb did not make.

    Every object of a user has an OID from FirstNormalObjectId (access/transam.h) up, so all
    catalogs that have an ``oid`` are looked through. What was created and dropped again is
    nothing.
    """
    first = {"first": FIRST_USER_OID}
    looks = [
        f"SELECT 1 FROM {row['name']} WHERE oid >= %(first)s"
        for row in db.rows(connection, _CATALOGS, first)
    ]
    looks += [f"SELECT 1 FROM pg_catalog.{name}" for name in _OTHERS]
    any_of_them = " OR ".join(f"EXISTS ({look})" for look in looks)
    return db.row(connection, f"SELECT {any_of_them} AS found", first)["found"]
