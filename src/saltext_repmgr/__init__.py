"""Salt extension that builds and keeps PostgreSQL clusters run by repmgr."""
