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
# Held by a router that has paused.
PAUSED = 4

# repmgr's password is about to change here, as soon as everybody waits for it ...
ROTATING = 5
# ... and has changed.
ROTATED = 6

HELD = """
SELECT objid::int AS lock FROM pg_locks
 WHERE locktype = 'advisory' AND classid::bigint = %(class)s AND objsubid = 2 AND granted
"""
