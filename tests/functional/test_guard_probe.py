"""What the guard writes into its own server."""

import time

import psycopg2
import pytest

from saltext_repmgr.guard.config import Peer
from saltext_repmgr.guard.probe import Probe
from saltext_repmgr.guard.probe import step_all
from tests.functional.support import repmgr
from tests.lab.process import wait_until


@pytest.fixture
def watching(standby):
    """Write, as repmgrd does, which node it sees; -1 is nobody."""

    def write(node_id):
        standby.sql(f"SELECT repmgr.set_upstream_last_seen({node_id})", "repmgr")

    before = standby.sql("SELECT repmgr.get_upstream_node_id()", "repmgr")
    yield write
    write(before or -1)


def asked(standby, saw=None):
    """Have the guard's probe ask, and tell the server whom it saw; return the answer."""
    peer = Peer(2, standby.name, "standby", 1, True, repmgr.conninfo(standby))
    probe = Probe(peer, 0.01)
    probe.saw = saw
    deadline = time.monotonic() + 20
    while probe.saw is not None or probe.answer is None:
        assert time.monotonic() < deadline, probe.error
        step_all([probe])
        time.sleep(0.005)
    probe.close()
    return probe.answer


def told(standby, saw):
    """Return whom repmgrd watches by the server after the guard told it whom it saw."""
    asked(standby, saw)
    return standby.sql("SELECT repmgr.get_upstream_node_id()", "repmgr")


def test_the_upstream_that_repmgrd_watches_was_seen(standby, watching):
    watching(1)
    time.sleep(1.5)
    seen = "SELECT repmgr.get_upstream_last_seen()"
    assert standby.sql(seen, "repmgr") != "0"

    def noted():
        assert told(standby, saw=1) == "1"
        return standby.sql(seen, "repmgr") == "0"

    # It is so for less than a second.
    assert wait_until(noted, 20)


def test_the_one_that_repmgrd_watches_by_now_stays(standby, watching):
    watching(3)
    assert told(standby, saw=1) == "3"


def test_what_is_told_by_sessions_counts_from_the_right_role_only(standby):
    def told_by(connection, name):
        with connection.cursor() as cursor:
            cursor.execute(f"SET application_name = '{name}'")

    with standby.connect() as own, psycopg2.connect(repmgr.conninfo(standby)) as other:
        told_by(own, "repmgr-without-7")
        told_by(other, "repmgr-without-8")
        assert list(asked(standby).without) == [7]
        told_by(own, "repmgr-guard-start-7")
        told_by(other, "repmgr-guard-start-8")
        assert list(asked(standby).starting) == [8]
        told_by(own, "repmgr-without-7")
        # Whatever it is called, the question stays one that can be answered.
        told_by(own, "repmgr-without-99999999999")
        assert list(asked(standby).without) == []


def test_a_start_check_that_never_ends_is_one_whose_host_is_gone(standby):
    conninfo = f"{repmgr.conninfo(standby)} application_name=repmgr-guard-start-8"
    with psycopg2.connect(conninfo):
        assert list(asked(standby).starting) == [8]
        assert wait_until(lambda: not asked(standby).starting, 20)
