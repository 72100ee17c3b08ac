"""The guard: what keeps a cluster from having two primaries while no Salt is there.

These files run twice: here, for their tests, and as ``repmgr_guard`` in
``/usr/local/lib/repmgr-guard`` on every node, with Debian's Python and nothing but psycopg2. So
they import nothing of the extension. The design is in docs/design-failover.md.
"""
