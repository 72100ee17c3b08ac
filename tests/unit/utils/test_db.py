"""How far a connection attempt got, by what libpq said."""

import pytest

from saltext_repmgr.utils import db
from saltext_repmgr.utils.facts import Reach

TCP = 'connection to server at "192.168.1.10", port 5432 failed: '
SOCKET = 'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: '


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        (TCP + 'FATAL: password authentication failed for user "repmgr"', Reach.REJECTED),
        (TCP + "FATAL: no pg_hba.conf entry for host", Reach.REJECTED),
        (TCP + 'FATAL: database "repmgr" does not exist', Reach.REJECTED),
        (TCP + "FATAL: the database system is starting up", Reach.REJECTED),
        (TCP + "FATAL: sorry, too many clients already", Reach.REJECTED),
        (TCP + "fe_sendauth: no password supplied", Reach.REJECTED),
        (TCP + "authentication method 10 not supported", Reach.REJECTED),
        (SOCKET + 'FATAL: Peer authentication failed for user "postgres"', Reach.REJECTED),
        (TCP + "Connection refused Is the server running on that host", Reach.REFUSED),
        (SOCKET + "No such file or directory Is the server running locally", Reach.REFUSED),
        (SOCKET + "Connection refused Is the server running locally", Reach.REFUSED),
        (TCP + "timeout expired", Reach.UNREACHABLE),
        (TCP + "No route to host Is the server running on that host", Reach.UNREACHABLE),
        (TCP + "Network is unreachable", Reach.UNREACHABLE),
        (TCP + "server closed the connection unexpectedly", Reach.UNREACHABLE),
        (
            'could not translate host name "node1" to address: Name or service not known',
            Reach.UNREACHABLE,
        ),
    ],
)
def test_classify(text, reach):
    assert db.classify(text) is reach


# What FATAL is in catalogues that PostgreSQL 15 comes with.
@pytest.mark.parametrize(
    "severity", ["ВАЖНО", "ФАТАЛЬНО", "致命错误", "치명적오류", "ფატალური", "FATALE", "FATALT"]
)
def test_a_server_of_another_language_has_rejected(severity):
    assert db.classify(TCP + severity + ":  x") is Reach.REJECTED
