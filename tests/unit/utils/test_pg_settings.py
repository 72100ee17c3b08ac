import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import GOOD
from tests.malformed.base import changed

LAYOUT = Layout(15)


def settings_of(value=GOOD, name="node2"):
    spec = pillar.read(value)
    return pg_settings.server_settings(spec, spec.nodes[name])


def test_what_repmgr_needs():
    assert settings_of() == {
        "listen_addresses": "*",
        "port": 5432,
        "wal_level": "replica",
        "hot_standby": True,
        "max_wal_senders": 20,
        "max_replication_slots": 20,
        "wal_log_hints": True,
        "shared_preload_libraries": "repmgr",
        "password_encryption": "scram-sha-256",
        # What is left of a recovery of a server that was there before counts for nothing.
        "recovery_target": "",
        "recovery_target_lsn": "",
        "recovery_target_name": "",
        "recovery_target_time": "",
        "recovery_target_timeline": "latest",
        "recovery_target_xid": "",
    }


def test_all_members_get_the_same():
    assert settings_of(name="node1") == settings_of(name="node2") == settings_of(name="node4")


@pytest.mark.parametrize(("members", "limit"), [(1, 20), (19, 20), (20, 40), (39, 40)])
def test_limits_grow_with_the_cluster_in_steps(members, limit):
    # Each step is a restart of every server.
    nodes = {f"n{i}": {"id": i, "host": f"192.168.1.{i}"} for i in range(1, members + 1)}
    nodes["n1"]["role"] = "primary"
    settings = settings_of({**GOOD, "nodes": nodes}, "n1")
    assert (settings["max_wal_senders"], settings["max_replication_slots"]) == (limit, limit)


@pytest.mark.parametrize("members", range(1, 30))
def test_the_default_limit_is_never_refused(members):
    assert pg_settings.default_capacity(members) >= pg_settings.minimum_capacity(members)


def test_the_pillar_wins_and_adds():
    settings = settings_of(
        changed(
            {
                "postgres:port": 5433,
                "postgres:settings": {"wal_level": "logical", "work_mem": "8MB"},
            }
        )
    )
    assert (settings["port"], settings["wal_level"], settings["work_mem"]) == (
        5433,
        "logical",
        "8MB",
    )


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ("citus, pg_stat_statements", "citus,pg_stat_statements,repmgr"),
        (["citus", "pg_stat_statements"], "citus,pg_stat_statements,repmgr"),
        ("repmgr,citus", "repmgr,citus"),
        ('"repmgr"', "repmgr"),
        ("", "repmgr"),
    ],
)
def test_repmgr_is_among_the_preloaded_libraries(given, result):
    settings = settings_of(changed({"postgres:settings:shared_preload_libraries": given}))
    assert settings["shared_preload_libraries"] == result


def test_render():
    text = pg_settings.render(
        {
            "work_mem": "8MB",
            "archive_command": r"cp '%p' \\host",
            "hot_standby": True,
            "fsync": False,
            "max_connections": 100,
            "seq_page_cost": 1.5,
            "random_page_cost": 1e-05,
            "search_path": ("a", "b"),
        }
    )
    header, *lines = text.splitlines()
    assert header.startswith("# ")
    assert lines == [
        r"archive_command = 'cp ''%p'' \\\\host'",
        "fsync = off",
        "hot_standby = on",
        "max_connections = 100",
        "random_page_cost = '1e-05'",
        "search_path = 'a,b'",
        "seq_page_cost = 1.5",
        "work_mem = '8MB'",
    ]
    assert text.endswith("\n")


def test_render_refuses_a_carriage_return():
    with pytest.raises(errors.UsageError):
        pg_settings.render({"archive_command": "a\rb"})
