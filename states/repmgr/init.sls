# This node's part in its cluster, all of it: safe at any time, alone or by the orchestration.
include:
  - repmgr.prepare
  - repmgr.server
  - repmgr.daemon
