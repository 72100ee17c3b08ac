"""From a whole pillar to one node: who it is, where things lie, what its files say."""

import dataclasses
import json
import re

import pytest

from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import PillarError
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import GOOD
from tests.malformed.base import PASSWORD
from tests.malformed.base import PRIVATE_KEY
from tests.malformed.base import PUBLIC_KEY
from tests.malformed.base import changed

LAYOUT = Layout(15)


def test_a_minion_is_the_node_of_its_name():
    values = {"repmgr": changed({"postgres:version": 15})}
    spec, node, layout = wanted.subject(values, "node2")
    assert (spec.cluster, node.id, layout) == ("foobar", 2, LAYOUT)


def test_a_minion_that_is_no_node():
    with pytest.raises(PillarError) as raised:
        wanted.subject({"repmgr": GOOD}, "node9")
    assert str(raised.value).startswith("repmgr.nodes: this minion, node9, is not in it")


def test_a_pillar_without_the_key():
    with pytest.raises(PillarError, match="repmgr: there is no such key in this pillar"):
        wanted.read({"other": {}})


def test_paths_follow_from_pillar():
    values = changed({"postgres": {"version": 17, "cluster": "app", "data_directory": "/srv/pg"}})
    layout = wanted.layout_of(pillar.read(values))
    assert dataclasses.astuple(layout) == (17, "app", "/srv/pg")
    assert layout.config_directory == "/etc/postgresql/17/app"
    assert layout.clone_marker == "/var/lib/repmgr-clone/17-app.json"
    assert layout.former_clone_marker == "/srv/pg.repmgr-clone"
    assert layout.service == "postgresql@17-app"


@pytest.mark.parametrize("name", ["node1", "node2", "node4", "node5"])
def test_what_the_files_render_has_no_secret(name):
    ssh = {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY}
    spec = pillar.read(changed({"ssh": ssh}))
    text = json.dumps(wanted.describe(spec, spec.nodes[name], LAYOUT))
    assert json.loads(text)["node"] == name
    for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], PRIVATE_KEY.splitlines()[1]):
        assert secret not in text


def test_names_of_the_nodes_in_etc_hosts():
    def entries(changes):
        return wanted.host_entries(pillar.read(changed(changes)))

    assert entries({}) == {}
    assert entries({"manage_hosts": True}) == {
        "192.168.1.10": ["node1"],
        "192.168.1.20": ["node2"],
        "192.168.1.30": ["node3"],
        "192.168.1.40": ["node4"],
    }
    named = {"nodes:node2:host": "db2.example.com", "nodes:node2:address": "192.168.1.20"}
    found = entries({"manage_hosts": True, **named})
    assert found["192.168.1.20"] == ["db2.example.com", "node2"]


def test_names_of_nodes_that_left_go_from_etc_hosts():
    def entries(changes):
        return wanted.former_host_entries(pillar.read(changed({"manage_hosts": True, **changes})))

    assert wanted.former_host_entries(pillar.read(GOOD)) == {}
    assert entries({}) == {"192.168.1.50": ["node5"]}
    assert entries({"nodes:node3:host": "192.168.1.50", "nodes:node5:host": "db5"}) == {}
    assert entries({"nodes:node5:host": "db5.example.com"}) == {}


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        ({"ldapserver": "l", "ldapbindpasswd": "hunter2"}, True),
        ({"ldapserver": "l"}, False),
    ],
)
def test_rules_with_a_secret_are_known(options, secret):
    rule = {
        "type": "host",
        "database": "app",
        "user": "app",
        "address": "10.0.0.0/8",
        "method": "ldap",
        "options": options,
    }
    text, found = wanted.hba_block(pillar.read(changed({"postgres:hba": [rule]})))
    assert found is secret
    assert "10.0.0.0/8" in text


def test_repmgrd_is_older_than_the_files_it_reads():
    spec = pillar.read(GOOD)
    files = wanted.daemon_files(spec, spec.nodes["node2"], LAYOUT, "repmgrd")
    assert sorted(files) == ["/etc/repmgr.conf", "/etc/systemd/system/repmgrd.service"]
    assert "node_id=2" in files["/etc/repmgr.conf"]
    assert "/usr/lib/postgresql/15/bin/repmgrd -f /etc/repmgr.conf" in "".join(files.values())


@pytest.mark.parametrize(
    ("settings", "restarts"),
    [
        ({"log_level": "DEBUG"}, True),
        ({"log_facility": "USER"}, True),
        ({"log_status_interval": 9}, False),
    ],
)
def test_the_unit_changes_with_what_repmgrd_reads_at_its_start_only(settings, restarts):
    plain, other = pillar.read(GOOD), pillar.read(changed({"settings": settings}))
    before = wanted.repmgrd_unit(plain, plain.nodes["node2"], LAYOUT)
    assert (wanted.repmgrd_unit(other, other.nodes["node2"], LAYOUT) != before) is restarts


def test_history_is_deleted_by_what_runs_on_the_node_alone():
    spec = pillar.read(changed({"history_days": 7, "postgres:port": 5433}))
    service, timer = wanted.purge_units(spec, LAYOUT).values()
    assert "/usr/lib/postgresql/15/bin/psql -Xq -h /var/run/postgresql -p 5433 -d repmgr" in service
    assert service.count("make_interval(days => 7)") == 2
    assert "OnCalendar=weekly" in timer
    assert wanted.describe(spec, spec.nodes["node4"], LAYOUT)["purge_units"] == {}


def test_unattended_upgrades_leave_alone_what_stops_the_server():
    spec = pillar.read(GOOD)
    files = wanted.describe(spec, spec.nodes["node2"], LAYOUT)["unattended"]
    apt, needrestart = files.values()
    # As unattended-upgrades compares them.
    patterns = re.findall(r'^    "(.*)";$', apt, re.MULTILINE)
    left = ("postgresql-15", "postgresql-client-15", "postgresql-15-repmgr", "repmgr-common")
    for name in left:
        assert any(re.match(pattern, name) for pattern in patterns), name
    for name in ("postgresql-15-postgis-3", "postgresql-common", "libpq5", "postgresql-150"):
        assert not any(re.match(pattern, name) for pattern in patterns), name
    for unit in ("postgresql", "repmgrd", "repmgr-guard"):
        assert f"->{{qr(^{unit}" in needrestart
