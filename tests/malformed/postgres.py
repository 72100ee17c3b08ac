"""Mistakes in the server and its access rules."""

from tests.malformed.base import one

POSTGRES = [
    one("postgres a string", "postgres", "15", "is a string; write a mapping"),
    one(
        "unknown postgres key, similar",
        "postgres:data_directroy",
        "/srv/pg",
        "did you mean 'data_directory'?",
    ),
    one(
        "unknown postgres key, synonym",
        "postgres:pgdata",
        "/srv/pg",
        "did you mean 'data_directory'?",
    ),
    one("version a string", "postgres:version", "15", "without quotes"),
    one("version a float", "postgres:version", 9.6, "write a whole number"),
    one("version too old", "postgres:version", 9, "from 10 to 30"),
    one("version too new", "postgres:version", 31, "from 10 to 30"),
    one("cluster with a dash", "postgres:cluster", "my-db", "breaks its systemd service"),
    one("cluster going up", "postgres:cluster", "../main", "letters, digits"),
    one("port a string", "postgres:port", "5432", "without quotes"),
    one("port zero", "postgres:port", 0, "from 1 to 65535"),
    one("port too big", "postgres:port", 65536, "from 1 to 65535"),
    one("data_directory relative", "postgres:data_directory", "pg/main", "not absolute"),
    one("data_directory a number", "postgres:data_directory", 5, "write a path"),
    one("data_directory the root", "postgres:data_directory", "/", "belongs to the system"),
    one("data_directory the root twice", "postgres:data_directory", "//", "belongs to the system"),
    one("data_directory /etc", "postgres:data_directory", "/etc/", "belongs to the system"),
    one(
        "data_directory in /etc",
        "postgres:data_directory",
        "/etc/postgresql/15/main",
        "belongs to the system",
    ),
    one("data_directory in /tmp", "postgres:data_directory", "/tmp/pg", "belongs to the system"),
    one(
        "data_directory too high",
        "postgres:data_directory",
        "/var/lib/postgresql/",
        "belongs to the system",
    ),
    one("data_directory going up", "postgres:data_directory", "/srv/../etc", "without '..'"),
    one("data_directory with a quote", "postgres:data_directory", "/srv/p'g", "it consists of"),
    one("data_directory with a space", "postgres:data_directory", "/srv/p g", "it consists of"),
]

HBA = [
    one("hba a string", "postgres:hba", "host all all 10.0.0.0/8 md5", "is a string; write a list"),
    one(
        "hba item a number",
        "postgres:hba",
        [5],
        "write a mapping or a line",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line empty",
        "postgres:hba",
        ["# nothing"],
        "is empty or a comment",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line on two lines",
        "postgres:hba",
        ["local all all peer\nlocal all all peer"],
        "several lines",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line too short",
        "postgres:hba",
        ["host all all"],
        "has no address",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line without method",
        "postgres:hba",
        ["host all all 10.0.0.0 255.0.0.0"],
        "has no method",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line with an open quote",
        "postgres:hba",
        ['host "all all 10.0.0.0/8 md5'],
        "is not closed",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line of unknown type",
        "postgres:hba",
        ["hosts all all 10.0.0.0/8 md5"],
        "did you mean 'host'?",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line of unknown method",
        "postgres:hba",
        ["host all all 10.0.0.0/8 scram"],
        "did you mean 'scram-sha-256'?",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line with trust",
        "postgres:hba",
        ["local all all trust", "host all all 10.0.0.0/8 trust"],
        "without a password",
        "repmgr.postgres.hba.1",
    ),
    one(
        "hba line with a bad network",
        "postgres:hba",
        ["host all all 10.0.0.0/33 md5"],
        "not a network in CIDR form",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line with host bits",
        "postgres:hba",
        ["host all all 10.0.0.7/8 md5"],
        "write '10.0.0.0/8' for the network or '10.0.0.7/32'",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line without prefix",
        "postgres:hba",
        ["host all all 10.0.0.7 md5"],
        "write '10.0.0.7/32'",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba line, local with an address",
        "postgres:hba",
        ["local all all 10.0.0.0/8 md5"],
        "not an option of the form",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba mapping with unknown key",
        "postgres:hba",
        [{"type": "local", "database": "all", "users": "all", "user": "all", "method": "peer"}],
        "did you mean 'user'?",
        "repmgr.postgres.hba.0.users",
    ),
    one(
        "hba mapping without method",
        "postgres:hba",
        [{"type": "local", "database": "all", "user": "all"}],
        "is missing",
        "repmgr.postgres.hba.0.method",
    ),
    one(
        "hba mapping without address",
        "postgres:hba",
        [{"type": "host", "database": "all", "user": "all", "method": "md5"}],
        "is missing; write a network",
        "repmgr.postgres.hba.0.address",
    ),
    one(
        "hba mapping, local with an address",
        "postgres:hba",
        [
            {
                "type": "local",
                "database": "all",
                "user": "all",
                "address": "10.0.0.0/8",
                "method": "peer",
            }
        ],
        "a local rule has none",
        "repmgr.postgres.hba.0.address",
    ),
    one(
        "hba mapping with host bits",
        "postgres:hba",
        [
            {
                "type": "host",
                "database": "all",
                "user": "all",
                "address": "10.0.0.7/8",
                "method": "md5",
            }
        ],
        "write '10.0.0.0/8'",
        "repmgr.postgres.hba.0.address",
    ),
    one(
        "hba mapping with a bad address",
        "postgres:hba",
        [
            {
                "type": "host",
                "database": "all",
                "user": "all",
                "address": "10.0.0/8",
                "method": "md5",
            }
        ],
        "write a network",
        "repmgr.postgres.hba.0.address",
    ),
    one(
        "hba mapping with trust",
        "postgres:hba",
        [
            {
                "type": "hostssl",
                "database": "all",
                "user": "all",
                "address": "all",
                "method": "trust",
            }
        ],
        "without a password",
        "repmgr.postgres.hba.0.method",
    ),
    one(
        "hba mapping with no databases",
        "postgres:hba",
        [{"type": "local", "database": [], "user": "all", "method": "peer"}],
        "is an empty list",
        "repmgr.postgres.hba.0.database",
    ),
    one(
        "hba mapping with bad options",
        "postgres:hba",
        [{"type": "local", "database": "all", "user": "all", "method": "peer", "options": ["map"]}],
        "no usable value for map",
        "repmgr.postgres.hba.0.options",
    ),
    *(
        one(
            f"hba mapping with a comma in {key}",
            "postgres:hba",
            [
                {
                    "type": "local",
                    "database": "all",
                    "user": "all",
                    "method": "peer",
                    key: "app,reports",
                }
            ],
            "write a list, [app, reports]",
            f"repmgr.postgres.hba.0.{key}",
        )
        for key in ("database", "user")
    ),
    one(
        "hba mapping with a name in quotes",
        "postgres:hba",
        [{"type": "local", "database": "'app'", "user": "all", "method": "peer"}],
        "without these quotes",
        "repmgr.postgres.hba.0.database",
    ),
    one(
        "hba line with a form feed",
        "postgres:hba",
        ["local all\x0call peer"],
        "U+000C, a line break",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba peer over the network",
        "postgres:hba",
        ["host all all 10.0.0.0/8 peer"],
        "local rules only",
        "repmgr.postgres.hba.0",
    ),
    one(
        "hba cert without TLS",
        "postgres:hba",
        ["host all all 10.0.0.0/8 cert"],
        "hostssl rules only",
        "repmgr.postgres.hba.0",
    ),
]
