"""Names of sessions by which nodes tell each other something, on their own servers.

They end with whoever tells it, whatever that ends by.
"""

# This node is about to be promoted; a start check elsewhere waits for it.
VOTE = "repmgr-guard-vote"
# This node has lost the primary of the number that follows, and does not go back to it while the
# session lasts (docs/design-switchover.md). Anybody may call a session so; those of superusers count.
WITHOUT = "repmgr-without-"
# This node has seen that the new primary of that number had recorded all that are to follow it.
RECORDED = "repmgr-recorded-"
# The start check of the node of that number lets it be the primary again.
START = "repmgr-guard-start-"
