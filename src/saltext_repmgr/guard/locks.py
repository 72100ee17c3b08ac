"""Advisory locks by which nodes tell each other of a switchover (docs/design-switchover.md) and
of a new password.

They are held by sessions on the old primary and end with them, whatever those end by.
"""

CLASS = 1919248484
# A switchover has begun here ...
BEGUN = 1
# ... is about to stop the server, as soon as everybody is ready ...
READY = 2
# ... and stops it: routers pause.
PLANNED = 3
# Whose turn it is: a lock of this class, numbered as the node that is to be the primary, or that
# goes down and comes back as what it was. Whoever was called for another one keeps out.
TURN_CLASS = CLASS + 1

# repmgr's password is about to change here, as soon as everybody waits for it ...
ROTATING = 5
# ... and has changed.
ROTATED = 6

# Every role may take such a lock in each database that lets it in. Those that count are of repmgr's
# database and of a superuser: neither the password of repmgr's role nor that of a router is enough.
OURS = """l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND o.rolsuper
   AND l.database = (SELECT oid FROM pg_database WHERE datname = 'repmgr')"""
HELD = f"""
SELECT l.objid::int AS lock
  FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_roles o ON o.oid = a.usesysid
 WHERE {OURS} AND l.classid::bigint = %(class)s
"""
