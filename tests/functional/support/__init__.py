"""What the functional tests share: real servers, a repmgr cluster, loaders of minions."""
