"""The router: has PgBouncer on its host follow the primary, without Salt.

These files run twice: here, for their tests, and as ``repmgr_router.router`` in
``/usr/local/lib/repmgr-router`` on every host with a PgBouncer, with Debian's Python and nothing
but psycopg2; of the extension they use the guard's probe only. See docs/design-switchover.md.
"""
