"""Names of sessions by which nodes tell each other something, on their own servers.

They end with whoever tells it, whatever that ends by.
"""

# This node is about to be promoted; a start check elsewhere waits for it.
VOTE = "repmgr-guard-vote"
# SQL: whether it says so. Anybody may call a session so; those of superusers count.
VOTING = f"""EXISTS (SELECT FROM pg_stat_activity a JOIN pg_roles o ON o.oid = a.usesysid
                WHERE o.rolsuper AND a.application_name = '{VOTE}')"""
# This node has lost the primary of the number that follows, and does not go back to it while the
# session lasts (docs/design-switchover.md). Here, too, those of superusers count.
WITHOUT = "repmgr-without-"
# This node has seen that the new primary of that number had recorded all that are to follow it.
RECORDED = "repmgr-recorded-"
# A router that has its clients wait. A name and not a lock: everybody who may use its database could
# take the lock before it. Those of PgBouncer's role count.
ROUTER = "repmgr-router"
ROUTER_PAUSED = "repmgr-router-paused"
# The start check of the node of that number lets it be the primary again.
START = "repmgr-guard-start-"
