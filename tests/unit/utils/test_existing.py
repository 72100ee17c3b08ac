"""What a server had before is kept: the settings file, its neighbours, and what a clone gets."""

import dataclasses

import pytest

from saltext_repmgr.utils import existing
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.facts import Configuration
from saltext_repmgr.utils.facts import Override
from saltext_repmgr.utils.facts import Sender
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.spec import PostgresSpec
from tests.unit.utils.test_plan import NODES
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server
from tests.unit.utils.test_plan import standby

AUTO = "/var/lib/postgresql/15/main/postgresql.auto.conf"


def asking(**settings):
    return dataclasses.replace(SPEC, postgres=PostgresSpec(settings=settings))


def has(make=server, altered=(), overrides=(), included=True, slots=(), nodes=None, **others):
    config = Configuration(others, tuple(altered), tuple(overrides), included)
    return make(configuration=config, slots=tuple(slots), nodes=nodes)


def written(own, spec=SPEC):
    return limits.settle(spec, NODES["node1"], seen("node1", data(), own))[0]


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("wal_level", "logical", "logical"),
        ("wal_level", "minimal", "replica"),
        ("wal_level", "Replica", "replica"),
        ("max_wal_senders", "50", 50),
        ("max_wal_senders", "5", 20),
        ("max_replication_slots", "31", 31),
        ("listen_addresses", "localhost", "*"),
        ("listen_addresses", "10.0.0.1,localhost", "10.0.0.1,localhost"),
        ("password_encryption", "md5", "md5"),
        ("shared_preload_libraries", "pg_stat_statements", "pg_stat_statements,repmgr"),
        ("shared_preload_libraries", "repmgr, auto_explain", "repmgr,auto_explain"),
        ("shared_preload_libraries", "", "repmgr"),
        ("hot_standby", "off", True),
        ("recovery_target_time", "2020-01-01", ""),
        ("recovery_target_timeline", "3", "latest"),
    ],
)
def test_a_default_lowers_nothing(name, found, expected):
    assert written(has(**{name: found}))[name] == expected


@pytest.mark.parametrize("name", ["wal_level", "max_wal_senders", "shared_preload_libraries"])
def test_a_server_that_is_down_is_started_with_no_less(name):
    found = {"wal_level": "logical", "max_wal_senders": "50", "shared_preload_libraries": "a"}
    expected = {**found, "max_wal_senders": 50, "shared_preload_libraries": "a,repmgr"}
    settings, _ = limits.settle(SPEC, NODES["node1"], seen("node1", data()), found)
    assert settings[name] == expected[name]


KEPT = {
    **{"wal_level": "logical", "max_wal_senders": "50", "max_replication_slots": "31"},
    **{"shared_preload_libraries": "a,repmgr", "listen_addresses": "10.0.0.1"},
}
AS_KEPT = {
    **{"wal_level": "logical", "max_wal_senders": 50, "max_replication_slots": 31},
    **{"shared_preload_libraries": "a,repmgr", "listen_addresses": "*"},
}


def test_a_clone_to_be_gets_what_its_primary_runs_with():
    observed = seen("node2", node1=server(kept=KEPT))
    settings, _ = limits.settle(SPEC, NODES["node2"], observed)
    assert {name: settings[name] for name in KEPT} == AS_KEPT


def test_what_runs_is_not_lowered_where_no_file_asks_for_it():
    settings = written(server(kept=KEPT))
    expected = {**AS_KEPT, "shared_preload_libraries": "repmgr"}
    assert {name: settings[name] for name in KEPT} == expected


def test_a_witness_has_nothing_of_the_primary():
    observed = seen("node4", node1=server(kept=KEPT))
    assert limits.settle(SPEC, NODES["node4"], observed)[0]["wal_level"] == "replica"


def test_pillar_may_lower_it():
    spec = asking(wal_level="replica", max_wal_senders=12, shared_preload_libraries="b")
    own = has(wal_level="logical", max_wal_senders="50", shared_preload_libraries="a")
    settings = written(own, spec)
    names = ("wal_level", "max_wal_senders", "shared_preload_libraries")
    assert [settings[n] for n in names] == ["replica", 12, "b,repmgr"]


def slot(name, kind="logical"):
    return Slot(name, kind, False)


@pytest.mark.parametrize("spec", [SPEC, asking(wal_level="replica")])
def test_but_not_below_what_slots_need(spec):
    # The server would not start again.
    observed = seen("node1", data(), has(slots=[slot("app"), slot("repmgr_slot_2", "physical")]))
    settings, (held,) = limits.settle(spec, NODES["node1"], observed)
    assert settings["wal_level"] == "logical"
    assert held.line == (
        "wal_level stays logical and is not replica yet: the logical slot(s) app need that; drop"
        " them first"
    )


def test_nor_below_the_slots_there_are():
    own = has(slots=[slot(f"s{n}", "physical") for n in range(7)])
    own = dataclasses.replace(own, max_replication_slots=9)
    observed = seen("node1", data(), own)
    settings, (held,) = limits.settle(asking(max_replication_slots=6), NODES["node1"], observed)
    assert (settings["max_replication_slots"], held.asked) == (9, 6)


@pytest.mark.parametrize(
    ("values", "slots", "words"),
    [
        ({"wal_level": "logical", "max_replication_slots": "2"}, [slot("a"), slot("b")], ""),
        (
            {"wal_level": "replica", "max_replication_slots": "2"},
            [slot("a")],
            "the logical slot(s) a",
        ),
        ({"wal_level": "replica", "max_replication_slots": "2"}, [slot("a", "physical")], ""),
        ({"wal_level": "logical", "max_replication_slots": "1"}, [slot("a"), slot("b")], "2 slots"),
    ],
)
def test_a_restart_that_would_fail_is_known_before(values, slots, words):
    found = existing.start_objection(values, slots)
    assert words in found
    assert bool(found) == bool(words)


# -- ALTER SYSTEM -----------------------------------------------------------------------------


def resets(own, spec=SPEC):
    observed = seen("node1", data(), own)
    asked = {*spec.postgres.settings, *spec.settings}
    return {r.name for r in existing.resets(written(own, spec), observed, asked)}


@pytest.mark.parametrize(
    ("name", "value", "goes"),
    [
        ("shared_preload_libraries", "pg_stat_statements", True),
        ("shared_preload_libraries", "a, repmgr", False),
        ("wal_level", "minimal", True),
        ("wal_level", "logical", False),
        ("max_wal_senders", "5", True),
        ("max_wal_senders", "50", False),
        ("hot_standby", "off", True),
        ("wal_log_hints", "yes", False),
        ("listen_addresses", "localhost", True),
        ("listen_addresses", "10.0.0.1", False),
        ("password_encryption", "md5", False),
        ("recovery_target_time", "2020-01-01", True),
        ("recovery_target", "", False),
        ("recovery_target_timeline", "Latest", False),
        ("promote_trigger_file", "/tmp/go", True),
        ("recovery_min_apply_delay", "1h", True),
    ],
)
def test_what_alter_system_said_against_the_cluster_goes(name, value, goes):
    own = has(altered=[name], **{name: value})
    assert resets(own) == ({name} if goes else set())
    # In a file of the administrator's it is outranked, or has to be corrected there.
    assert resets(has(**{name: value})) == set()


def test_what_it_loaded_is_loaded_all_the_same():
    name = "shared_preload_libraries"
    own = has(altered=[name], **{name: "pg_stat_statements"})
    assert written(own)[name] == "pg_stat_statements,repmgr"


def test_a_delayed_standby_stays_delayed():
    name = "recovery_min_apply_delay"
    delayed = has(standby, altered=[name], **{name: "1h"})
    assert resets(delayed) == set()
    meant = asking(recovery_min_apply_delay="2h")
    assert resets(has(altered=[name], **{name: "1h"}), meant) == set()


# -- what is said -----------------------------------------------------------------------------


def said(own):
    return survey.waiting(SPEC, NODES["node1"], seen("node1", data(), own))


def test_a_line_that_outranks_one_of_ours_is_named():
    (found,) = said(has(overrides=[Override("work_mem", "6MB", AUTO, 3)]))
    assert found.note is True
    assert found.what == (f"work_mem is '6MB' by {AUTO} line 3, which outranks the value of pillar")
    assert found.step.startswith('"ALTER SYSTEM RESET work_mem" on node1')


def test_a_file_that_is_not_read_is_a_problem():
    (found,) = said(has(included=False))
    assert (found.note, "include_dir = 'conf.d'" in found.step) == (False, True)


def test_what_a_run_will_reset_is_still_to_do():
    own = has(
        altered=["recovery_target_time"],
        overrides=[Override("recovery_target_time", "2020-01-01", AUTO, 3)],
        recovery_target_time="2020-01-01",
    )
    (found,) = said(own)
    assert found.planned is True
    assert "recovery_target_time = '2020-01-01' by ALTER SYSTEM is reset" in found.what


# -- a clone ----------------------------------------------------------------------------------

CONF = "/etc/postgresql/15/main/conf.d/app.conf"
OURS = "/etc/postgresql/15/main/conf.d/90-repmgr.conf"
TLS = {
    "ssl": "on",
    "ssl_cert_file": "/etc/app.crt",
    "ssl_key_file": "/etc/app.key",
    "ssl_min_protocol_version": "TLSv1.3",
}


def portable(rows, asked=(), files=()):
    rows = [(n, v, rows_file) for rows_file, mapping in rows.items() for n, v in mapping.items()]
    return existing.portable(rows, "90-repmgr.conf", asked, lambda path: path in files)


def test_a_command_is_no_path_and_keeps_its_partner():
    archive = {"archive_mode": "on", "archive_command": "/usr/bin/true %p"}
    assert portable({CONF: archive}, files=["/usr/bin/true"]) == (archive, [])
    found, (note,) = portable({CONF: archive})
    assert (found, "no /usr/bin/true on this host yet" in note) == (archive, True)


def test_tls_comes_with_all_of_its_files_or_not_at_all():
    assert portable({CONF: TLS}, files=["/etc/app.crt", "/etc/app.key"]) == (TLS, [])
    found, (note,) = portable({CONF: {**TLS, "work_mem": "9MB"}}, files=["/etc/app.crt"])
    assert found == {"work_mem": "9MB"}
    assert note == f"{', '.join(TLS)} not taken over: this server cannot read /etc/app.key"


def test_other_paths_go_alone():
    logs = {"logging_collector": "on", "log_directory": "/srv/log"}
    found, (note,) = portable({CONF: logs})
    assert (found, "log_directory not taken over" in note) == ({"logging_collector": "on"}, True)


def test_what_our_file_passed_on_is_the_servers_own():
    ours = {
        "wal_level": "logical",
        "shared_preload_libraries": "timescaledb,repmgr",
        "wal_log_hints": "on",
        "synchronous_standby_names": "ANY 1 (node2)",
    }
    own = {"wal_level": "logical", "shared_preload_libraries": "timescaledb"}
    assert portable({OURS: ours}) == (own, [])
    assert portable({OURS: ours}, asked=own) == ({}, [])
    assert portable({OURS: {"shared_preload_libraries": "repmgr"}}) == ({}, [])


def test_what_is_left_of_a_recovery_stays_there():
    left = {**dict.fromkeys(existing.CLONE, "x"), "recovery_target_action": "promote"}
    assert portable({CONF: left}) == ({}, [])


def test_all_members_write_the_same_after_a_failover():
    # A clone has in its own files what the primary has in its.
    own = {"wal_level": "logical", "max_wal_senders": "50", "shared_preload_libraries": "a"}
    first = pg_settings.server_settings(SPEC, NODES["node1"], own)
    rows = {OURS: {name: pg_settings.plain_value(first[name]) for name in own}}
    copied, _ = portable(rows)
    assert pg_settings.server_settings(SPEC, NODES["node2"], copied) == first


# -- standbys that have to confirm ------------------------------------------------------------

SYNCHRONOUS = dataclasses.replace(SPEC, synchronous=1)
CONFIRMS = Sender("node2", "streaming", "0/1", "0/1", "async")


@pytest.mark.parametrize(
    ("running", "senders", "waits"),
    [
        ("", (), False),
        ("", (dataclasses.replace(CONFIRMS, application_name="other"),), False),
        ("", (dataclasses.replace(CONFIRMS, state="catchup"),), False),
        ("", (CONFIRMS,), True),
        ("node2", (), True),
        (None, (), True),
    ],
)
def test_a_server_at_work_waits_for_standbys_once_they_are_there(running, senders, waits):
    own = dataclasses.replace(has(), synchronous=running, senders=senders)
    observed = seen("node1", data(), own)
    settings, held = limits.settle(SYNCHRONOUS, NODES["node1"], observed)
    assert bool(settings["synchronous_standby_names"]) == waits
    assert [h.name for h in held] == ([] if waits else ["synchronous_standby_names"])
    # The orchestration comes back to it, and it is still to do until then.
    assert limits.waits_for_standbys(SYNCHRONOUS, NODES["node1"], observed) is not waits
    found = survey.waiting(SYNCHRONOUS, NODES["node1"], observed)
    assert [a.planned for a in found] == ([] if waits else [True])
