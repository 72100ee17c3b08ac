"""Mistakes in the top level and the subnet."""

from tests.malformed.base import GOOD
from tests.malformed.base import REMOVE
from tests.malformed.base import Case
from tests.malformed.base import one

ROOT = [
    Case("pillar empty", None, ("repmgr",), "is missing"),
    Case("pillar a string", "foobar", ("repmgr",), "is a string; write a mapping"),
    Case("pillar a list", [GOOD], ("repmgr",), "is a list; write a mapping"),
    one("unknown key, similar", "subnets", "10.0.0.0/8", "did you mean 'subnet'?"),
    one("unknown key, synonym", "cluster_name", "x", "did you mean 'cluster'?"),
    one("unknown key, unlike any", "zzz", 1, "known keys: cluster, subnet"),
    one("cluster missing", "cluster", REMOVE, "is missing"),
    one("cluster empty", "cluster", "", "is empty"),
    one("cluster null", "cluster", None, "write the cluster's name as a string"),
    one("cluster a number", "cluster", 15, "in quotes"),
    one("cluster with a space", "cluster", "foo bar", "letters, digits"),
    one("cluster with a line break", "cluster", "foo\n", "letters, digits"),
    one("force a string", "force", "yes", "write true or false, without quotes"),
    one("force a number", "force", 1, "write true or false"),
    one("rejoin unknown", "rejoin", "perhaps", "write one of auto, ask, never"),
    one("rejoin a boolean", "rejoin", False, "write one of auto, ask, never"),
    one("rejoin, synonym", "rejoin", "automatic", "did you mean 'auto'?"),
    one("manage_hosts a string", "manage_hosts", "true", "write true or false"),
    one("history_days none", "history_days", 0, "1"),
    one("history_days a string", "history_days", "30", "write"),
]

SUBNET = [
    one("subnet missing", "subnet", REMOVE, "is missing"),
    one("subnet null", "subnet", None, "is missing"),
    one("subnet an empty list", "subnet", [], "is missing"),
    one("subnet a number", "subnet", 10, "write a network as a string"),
    one("subnet a mapping", "subnet", {"a": 1}, "(a mapping)"),
    one("subnet no network", "subnet", "lan", "write a network, for example"),
    one("subnet with host bits", "subnet", "192.168.1.7/24", "write '192.168.1.0/24'"),
    one("subnet without prefix", "subnet", "192.168.1.0", "without a prefix length"),
    one("subnet with netmask", "subnet", "192.168.1.0/255.255.255.0", "write '192.168.1.0/24'"),
    one("subnet with a big prefix", "subnet", "192.168.1.0/33", "write a network"),
    one("subnet everybody", "subnet", "0.0.0.0/0", "lets everybody connect"),
    one(
        "subnet everybody, IPv6",
        "subnet",
        ["192.168.1.0/24", "::/0"],
        "everybody",
        "repmgr.subnet.1",
    ),
    one(
        "subnet twice",
        "subnet",
        ["192.168.1.0/24", "192.168.1.0/24"],
        "already in repmgr.subnet.0",
        "repmgr.subnet.1",
    ),
    one(
        "subnet list with a number",
        "subnet",
        ["192.168.1.0/24", 7],
        "as a string",
        "repmgr.subnet.1",
    ),
]
