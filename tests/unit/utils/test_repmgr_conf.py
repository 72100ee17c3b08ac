import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import spool
from saltext_repmgr.utils.repmgr_parameters import DEFAULTS
from saltext_repmgr.utils.repmgr_parameters import OWNED
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import GOOD
from tests.malformed.base import PASSWORD
from tests.malformed.base import changed

LAYOUT = Layout(15)


def settings_of(name="node3", value=None, layout=LAYOUT):
    spec = pillar.read(value or GOOD)
    return repmgr_conf.node_settings(spec, spec.nodes[name], layout)


def test_settings_of_a_standby():
    assert settings_of() == {
        "node_id": 3,
        "node_name": "node3",
        "conninfo": (
            "host=192.168.1.30 port=5432 user=repmgr dbname=repmgr connect_timeout=2"
            " tcp_user_timeout=1000 passfile=/etc/repmgr/pgpass"
        ),
        "data_directory": "/var/lib/postgresql/15/main",
        "pg_bindir": "/usr/lib/postgresql/15/bin",
        "passfile": "/etc/repmgr/pgpass",
        "use_replication_slots": True,
        "location": "dc2",
        "priority": 50,
        "failover": "automatic",
        "promote_command": (
            "/usr/lib/postgresql/15/bin/repmgr -f /etc/repmgr.conf standby promote"
        ),
        "follow_command": (
            "/usr/lib/postgresql/15/bin/repmgr -f /etc/repmgr.conf standby follow"
            " --upstream-node-id=%n"
        ),
        "service_start_command": "sudo -n /usr/bin/systemctl start postgresql@15-main",
        "service_stop_command": "sudo -n /usr/bin/systemctl stop postgresql@15-main",
        "service_restart_command": "sudo -n /usr/bin/systemctl restart postgresql@15-main",
        "service_reload_command": "/usr/bin/pg_ctlcluster 15 main reload",
        "event_notification_command": spool.COMMAND,
        "monitor_interval_secs": 1,
        "reconnect_attempts": 1,
        "reconnect_interval": 1,
        "election_rerun_interval": 1,
        "primary_notification_timeout": 15,
        "failover_validation_command": "/usr/local/lib/repmgr-guard/vote",
        "log_level": "INFO",
    }


def test_without_the_guard_repmgrd_asks_more_than_once():
    settings = settings_of(value=changed({"fence": False}))
    assert settings["reconnect_attempts"] == 3
    assert "failover_validation_command" not in settings


def test_a_consensus_of_repmgrd_s_own_needs_its_own_attempts():
    settings = settings_of(value=changed({"settings:primary_visibility_consensus": True}))
    assert settings["reconnect_attempts"] == 4


def test_a_witness_has_priority_zero():
    assert settings_of("node4")["priority"] == 0


def test_the_layout_decides_paths_and_services():
    settings = settings_of(layout=Layout(17, "app", "/srv/pg"))
    assert settings["data_directory"] == "/srv/pg"
    assert settings["pg_bindir"] == "/usr/lib/postgresql/17/bin"
    assert settings["promote_command"].startswith("/usr/lib/postgresql/17/bin/repmgr ")
    assert settings["service_stop_command"].endswith(" stop postgresql@17-app")
    assert settings["service_reload_command"] == "/usr/bin/pg_ctlcluster 17 app reload"


def test_the_pillar_wins_over_the_defaults():
    value = changed({"settings": {"reconnect_attempts": 6, "monitoring_history": "on"}})
    settings = settings_of(value=value)
    assert (settings["reconnect_attempts"], settings["monitoring_history"]) == (6, True)
    assert settings["reconnect_interval"] == 1
    value = changed({"settings": {"event_notification_command": "/bin/true"}})
    assert settings_of(value=value)["event_notification_command"] == "/bin/true"


def test_no_setting_holds_the_password():
    assert PASSWORD not in repmgr_conf.render(settings_of())


def test_parameters_of_the_tables_exist():
    assert set(DEFAULTS) <= set(PARAMETERS)
    assert set(OWNED) <= set(PARAMETERS)
    assert not set(DEFAULTS) & set(OWNED)
    assert set(settings_of()) <= set(PARAMETERS)


def test_render_quotes_strings_and_keeps_the_order_of_repmgr():
    text = repmgr_conf.render(
        {
            "zzz_unknown": "x",
            "promote_command": "it's \\ 100%\n",
            "use_replication_slots": True,
            "monitoring_history": False,
            "degraded_monitoring_timeout": -1,
            "tablespace_mapping": ("/a=/b", "/c=/d"),
            "node_id": 1,
        }
    )
    header, *lines = text.splitlines()
    assert header.startswith("# ")
    assert lines == [
        "node_id=1",
        "use_replication_slots=true",
        "tablespace_mapping='/a=/b'",
        "tablespace_mapping='/c=/d'",
        r"promote_command='it''s \\ 100%\n'",
        "monitoring_history=false",
        "degraded_monitoring_timeout=-1",
        "zzz_unknown='x'",
    ]
    assert text.endswith("\n")


def test_render_does_not_depend_on_the_order_given():
    settings = settings_of()
    backwards = dict(reversed(settings.items()))
    assert list(backwards) != list(settings)
    assert repmgr_conf.render(backwards) == repmgr_conf.render(settings)


@pytest.mark.parametrize("value", ["a\0b", "a\udfffb"])
def test_render_refuses_what_the_grammar_cannot_say(value):
    with pytest.raises(errors.UsageError):
        repmgr_conf.render({"promote_command": value})


def test_conninfo_takes_other_values_and_leaves_out_none():
    spec = pillar.read(GOOD)
    text = repmgr_conf.conninfo(
        spec,
        spec.nodes["node1"],
        LAYOUT,
        dbname="postgres",
        passfile=None,
        application_name="it's me",
        options="",
    )
    assert text == (
        "host=192.168.1.10 port=5432 user=repmgr dbname=postgres connect_timeout=2"
        r" tcp_user_timeout=1000 application_name='it\'s me' options=''"
    )


def test_conninfo_of_a_pillar_needs_no_quotes():
    # repmgr copies it into primary_conninfo and does not escape quotes there.
    assert "'" not in settings_of()["conninfo"]


def test_pgpass_has_two_lines_for_each_member_and_escapes():
    value = changed({"subnet": "fd00::/64", "postgres:port": 5433})
    value["nodes"] = {
        "b": {"id": 2, "host": "fd00::2"},
        "a": {"id": 1, "host": "db1", "role": "primary"},
        "c": {"id": 3, "host": "fd00::3", "ensure": "absent"},
    }
    spec = pillar.read(value)
    text = repmgr_conf.pgpass(spec, {"a": spec.password, "b": "another:one"})
    assert text == (
        "db1:5433:repmgr:repmgr:correct\\:horse\\\\battery\n"
        "db1:5433:replication:repmgr:correct\\:horse\\\\battery\n"
        "fd00\\:\\:2:5433:repmgr:repmgr:another\\:one\n"
        "fd00\\:\\:2:5433:replication:repmgr:another\\:one\n"
    )
    assert passwords.held(spec, text) == {"a": spec.password, "b": "another:one"}
