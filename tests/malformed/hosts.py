"""Mistakes in hosts and addresses."""

from tests.malformed.base import many
from tests.malformed.base import one

HOSTS = [
    one("host null", "nodes:node2:host", None, "write a host name or an IP address"),
    one("host a float", "nodes:node2:host", 10.1, "in quotes"),
    one("host localhost", "nodes:node2:host", "localhost", "by which the other nodes reach"),
    one("host loopback", "nodes:node2:host", "127.0.1.1", "by which the other nodes reach"),
    one("host loopback, IPv6", "nodes:node2:host", "::1", "by which the other nodes reach"),
    one("host unspecified", "nodes:node2:host", "0.0.0.0", "by which the other nodes reach"),
    one("host multicast", "nodes:node2:host", "224.0.0.1", "is not the address of one host"),
    one(
        "host with a port",
        "nodes:node2:host",
        "192.168.1.20:5432",
        "write '192.168.1.20'; the port belongs",
    ),
    one("host name with a port", "nodes:node2:host", "db2:5432", "write 'db2'; the port belongs"),
    one(
        "host with a prefix",
        "nodes:node2:host",
        "192.168.1.20/24",
        "write '192.168.1.20'; the network",
    ),
    one("host in brackets", "nodes:node2:host", "[fd00::1]", "write 'fd00::1', without brackets"),
    one("host out of range", "nodes:node2:host", "192.168.1.256", "write a complete IP address"),
    one("host incomplete", "nodes:node2:host", "192.168.1", "write a complete IP address"),
    one("host with a space", "nodes:node2:host", "db 2", "write a host name"),
    one("host with a quote", "nodes:node2:host", "db'2", "write a host name"),
    one("host with a line break", "nodes:node2:host", "db2\n", "write a host name"),
    one("host empty", "nodes:node2:host", "", "write a host name"),
    one("host twice", "nodes:node2:host", "192.168.1.10", "also the host of node1"),
    many(
        "host twice, other case",
        {"nodes:node2:host": "NODE3.lan", "nodes:node3:host": "node3.lan"},
        "repmgr.nodes.node3.host",
        "also the host of node2",
    ),
    many(
        "host twice by default",
        {"nodes:node2:host": "node3", "nodes:node3": {"id": 3}},
        "repmgr.nodes.node3.host",
        "also the host of node2",
    ),
    one(
        "minion id localhost without host",
        "nodes:localhost",
        {"id": 6},
        "by which the other nodes reach",
        "repmgr.nodes.localhost.host",
    ),
    one(
        "host outside of the subnet",
        "nodes:node2:host",
        "192.168.2.20",
        "add 192.168.2.20/32 to repmgr.subnet",
    ),
    one("address no address", "nodes:node2:address", "db2", "is not an IP address"),
    one("address a number", "nodes:node2:address", 7, "write an IP address, in quotes"),
    one("address loopback", "nodes:node2:address", "127.0.0.1", "by which the other nodes reach"),
    one("address against host", "nodes:node2:address", "192.168.1.21", "but host is 192.168.1.20"),
    many(
        "address twice",
        {
            "nodes:node2": {"id": 2, "address": "192.168.1.99"},
            "nodes:node3": {"id": 3, "address": "192.168.1.99"},
        },
        "repmgr.nodes.node3.address",
        "also the address of node2",
    ),
    many(
        "address outside of the subnet",
        {"nodes:node2": {"id": 2, "address": "10.9.9.9"}},
        "repmgr.nodes.node2.address",
        "add 10.9.9.9/32",
    ),
    many(
        "manage_hosts without address",
        {"manage_hosts": True, "nodes:node2:host": "db2"},
        "repmgr.nodes.node2.address",
        "needs the IP address of host 'db2'",
    ),
]
