import copy
import datetime
import ipaddress

import pytest
import salt.utils.yaml
import yaml

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils.spec import Role
from tests.malformed.base import GOOD
from tests.malformed.base import PASSWORD
from tests.malformed.base import PRIVATE_KEY
from tests.malformed.base import PUBLIC_KEY
from tests.malformed.base import changed
from tests.malformed_pillars import CASES

SSH = {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY}


def problems(value):
    with pytest.raises(errors.PillarError) as raised:
        pillar.read(value)
    return raised.value.problems


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_refused_under_exactly_its_key(case):
    found = problems(case.pillar)
    assert sorted({key for key, _ in found}) == sorted(case.keys)
    assert case.fragment in dict(found)[case.keys[0]]


def test_the_table_names_each_case_once_and_is_carried_by_yaml():
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    for case in CASES:
        assert yaml.safe_load(yaml.safe_dump(case.pillar)) == case.pillar, case.name


def test_all_mistakes_come_at_once():
    found = problems(
        {
            "cluster": "foo bar",
            "subnet": ["10.0.0.7/24", "0.0.0.0/0"],
            "nodes": {
                "a": {"host": "10.0.0.1", "role": "master"},
                "b": {"id": 2, "host": "localhost", "upstream": "z"},
                "c": {"id": 2, "hosst": "10.0.0.3"},
            },
            "password": "short",
            "force": "no",
            "postgres": {"port": "5432", "settings": {"wal_level": "minimal"}, "hba": ["x"]},
            "settings": {"failover": "never", "node_id": 1},
            "pgbouncer": {},
            "colour": "red",
        }
    )
    assert sorted(key for key, _ in found) == [
        "repmgr.cluster",
        "repmgr.colour",
        "repmgr.force",
        "repmgr.nodes.a.id",
        "repmgr.nodes.a.role",
        "repmgr.nodes.b.host",
        "repmgr.nodes.b.upstream",
        "repmgr.nodes.c.hosst",
        "repmgr.nodes.c.id",
        "repmgr.password",
        "repmgr.pgbouncer.databases",
        "repmgr.pgbouncer.password",
        "repmgr.postgres.hba.0",
        "repmgr.postgres.port",
        "repmgr.postgres.settings.wal_level",
        "repmgr.settings.failover",
        "repmgr.settings.node_id",
        "repmgr.subnet.0",
        "repmgr.subnet.1",
    ]


def test_a_missing_primary_is_told_beside_other_mistakes_of_nodes():
    found = problems(changed({"nodes:node1:role": "standby", "nodes:node2:id": "2"}))
    assert sorted(key for key, _ in found) == ["repmgr.nodes", "repmgr.nodes.node2.id"]


def test_an_empty_mapping_lacks_every_required_key():
    assert [key for key, _ in problems({})] == [
        "repmgr.subnet",
        "repmgr.nodes",
        "repmgr.cluster",
        "repmgr.password",
    ]


def test_the_error_text_holds_every_key_and_message():
    with pytest.raises(errors.PillarError) as raised:
        pillar.read(changed({"force": 1, "cluster": ""}))
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["repmgr.cluster", "repmgr.force"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_message_holds_a_secret(case):
    value = copy.deepcopy(case.pillar)
    if not isinstance(value, dict):
        value = changed({"cluster": ""})
    # Beside the mistakes about the secrets themselves, those of all other keys.
    value.setdefault("ssh", copy.deepcopy(SSH))
    value["bogus"] = 1
    text = "\n".join(f"{key} {message}" for key, message in problems(value))
    for secret in secrets_of(value):
        assert secret not in text


def secrets_of(value):
    password = value.get("password")
    if isinstance(password, (str, int)) and str(password).strip():
        yield str(password)
    pair = value["ssh"] if isinstance(value["ssh"], dict) else {"private_key": value["ssh"]}
    for part in ("private_key", "public_key"):
        lines = str(pair.get(part, "")).split()
        yield from (line for line in lines if len(line) > 25 and line != "**********")


WEIRD = (
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    "",
    " ",
    "x",
    "\0",
    "é",
    [],
    [[]],
    [None],
    ["x", 1],
    {},
    {1: {2: 3}},
    {"x": None},
    {None: None},
    datetime.date(2020, 1, 1),
    b"bytes",
)
FULL = {
    **GOOD,
    "ssh": SSH,
    "force": False,
    "rejoin": "auto",
    "manage_hosts": False,
    "postgres": {
        "version": 15,
        "cluster": "main",
        "port": 5432,
        "data_directory": "/srv/pg",
        "settings": {"max_wal_senders": 20, "listen_addresses": "*", "archive_mode": "off"},
        "hba": [
            {
                "type": "host",
                "database": "a",
                "user": "b",
                "address": "all",
                "method": "md5",
                "options": {"map": "m"},
            },
            "local all all peer",
        ],
    },
    "settings": {
        "failover": "manual",
        "barman_host": "b",
        "barman_server": "s",
        "event_notifications": "node_rejoin",
        "tablespace_mapping": ["/a=/b"],
        "recovery_min_apply_delay": 5,
        "reconnect_attempts": 3,
        "primary_visibility_consensus": False,
        "archive_ready_warning": 3,
        "log_file": "/var/log/x",
    },
}


def paths(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, (dict, list)):
        for name, inner in items:
            yield from (
                paths(inner, (*prefix, name))
                if isinstance(inner, (dict, list))
                else [(*prefix, name)]
            )


def replaced(value, path, new):
    if not path:
        return new
    result = copy.copy(value)
    result[path[0]] = replaced(value[path[0]], path[1:], new)
    return result


@pytest.mark.parametrize("path", list(paths(FULL)), ids=lambda path: ".".join(map(str, path)))
def test_any_value_anywhere_is_read_or_refused_but_never_a_crash(path):
    refused = 0
    for weird in WEIRD:
        try:
            pillar.read(replaced(FULL, path, weird))
        except errors.PillarError as exc:
            refused += 1
            assert all(key.startswith("repmgr") and message for key, message in exc.problems)
    # Nothing in the pillar takes all of these.
    assert refused > len(WEIRD) // 2


def test_the_good_pillar():
    value = copy.deepcopy(GOOD)
    spec = pillar.read(value)
    assert value == GOOD
    assert spec.cluster == "foobar"
    assert spec.subnets == (ipaddress.ip_network("192.168.1.0/24"),)
    assert list(spec.nodes) == ["node1", "node2", "node3", "node4", "node5"]
    assert [n.name for n in spec.members] == ["node1", "node2", "node3", "node4"]
    assert spec.bootstrap_primary.name == "node1"
    node3 = spec.nodes["node3"]
    assert (node3.id, node3.host, node3.role) == (3, "192.168.1.30", Role.STANDBY)
    assert (node3.priority, node3.location, node3.upstream) == (50, "dc2", None)
    assert (spec.nodes["node4"].role, spec.nodes["node4"].priority) == (Role.WITNESS, 0)
    assert spec.nodes["node5"].absent
    assert spec.password == PASSWORD
    assert (spec.force, spec.rejoin, spec.manage_hosts, spec.ssh) == (False, "ask", False, None)
    assert (spec.postgres.version, spec.postgres.cluster, spec.postgres.port) == (
        None,
        "main",
        5432,
    )
    assert PASSWORD not in repr(spec)


def test_everything_given():
    spec = pillar.read(FULL)
    assert spec.ssh == SSH
    assert PRIVATE_KEY not in repr(spec)
    assert (spec.postgres.version, spec.postgres.data_directory) == (15, "/srv/pg")
    assert [str(rule) for rule in spec.postgres.hba] == [
        "host a b all md5 map=m",
        "local all all peer",
    ]
    assert spec.settings["recovery_min_apply_delay"] == "5"


@pytest.mark.parametrize("section", ["postgres", "settings", "ssh"])
def test_an_empty_optional_section_is_as_none(section):
    assert pillar.read({**GOOD, section: None}) == pillar.read(GOOD)


@pytest.mark.parametrize(
    "changes",
    [
        {"subnet": ["10.0.0.0/8", "fd00::/64", "192.168.1.0/24"]},
        {"nodes:node2:host": "db_2.example.com"},
        {"nodes:node1:priority": 0},
        {"nodes:node1:ensure": "absent", "nodes:node2:role": "primary"},
        {"nodes:node5:role": "primary"},
        {"nodes:node3:upstream": "node2", "nodes:node2:upstream": "node1"},
        {"nodes:node5:host": "10.9.9.9"},
        {"nodes:node4:priority": 0},
        {"nodes:node2": {"id": 2, "host": "db2", "address": "192.168.1.20"}, "manage_hosts": True},
        {"postgres:settings:archive_mode": "on", "postgres:settings:archive_command": "true"},
        {"postgres:settings:listen_addresses": "localhost, 192.168.1.10"},
        {"postgres:settings:pg_stat_statements.track": "all"},
        {"settings:reconnect_attempts": 4, "settings:primary_visibility_consensus": True},
        {"settings:standby_reconnect_timeout": 60, "settings:node_rejoin_timeout": 60},
        {"password": "pass word:\\ü'\""},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_what_is_right_is_taken(changes):
    assert pillar.read(changed(changes)).cluster == "foobar"


def test_host_defaults_to_the_minion_id():
    nodes = {"db1.example.com": {"id": 1, "role": "primary"}}
    assert pillar.read({**GOOD, "nodes": nodes}).bootstrap_primary.host == "db1.example.com"


def test_an_address_is_kept_in_its_shortest_form():
    spec = pillar.read(
        changed(
            {
                "subnet": "fd00::/64",
                "nodes": {"n": {"id": 1, "role": "primary", "host": "FD00:0::1"}},
            }
        )
    )
    assert spec.nodes["n"].host == "fd00::1"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/srv/pg/", "/srv/pg"),
        ("/srv//pg/./15", "/srv/pg/15"),
        ("//srv/pg", "/srv/pg"),
        ("/etcetera/pg", "/etcetera/pg"),
    ],
)
def test_data_directory_is_normalised(given, kept):
    assert pillar.read(changed({"postgres:data_directory": given})).postgres.data_directory == kept


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("monitoring_history", "On", True),
        ("monitoring_history", "no", False),
        ("monitoring_history", 0, False),
        ("log_level", "debug", "DEBUG"),
        ("log_level", "error", "ERROR"),
        ("restore_command", "cp '%p' \\x", "cp '%p' \\x"),
        ("event_notifications", ["node_rejoin", "standby_clone"], "node_rejoin,standby_clone"),
        ("event_notifications", "node_rejoin, standby_clone", "node_rejoin,standby_clone"),
        ("tablespace_mapping", "/a=/b", ("/a=/b",)),
        ("degraded_monitoring_timeout", -1, -1),
    ],
)
def test_repmgr_settings_are_normalised(name, given, kept):
    assert pillar.read(changed({f"settings:{name}": given})).settings == {name: kept}


def test_keys_of_an_ssh_pair_are_stripped():
    padded = {"public_key": f"{PUBLIC_KEY}\n", "private_key": f"\n{PRIVATE_KEY}\n\n"}
    assert pillar.read({**GOOD, "ssh": padded}).ssh == SSH


def test_hba_entries_are_rules():
    spec = pillar.read(changed({"postgres:hba": ["host app app 10.0.0.0 255.0.0.0 md5"]}))
    (rule,) = spec.postgres.hba
    assert isinstance(rule, hba.Rule)
    assert rule.address == "10.0.0.0/8"


def test_what_yaml_makes_of_a_number_nobody_can_see():
    # Salt's YAML reads other numbers than YAML 1.1 does; docs/pillar.md says so.
    loaded = salt.utils.yaml.safe_load("{a: 010, b: '010', c: 1:30, d: 0o10}")
    assert loaded == {"a": 10, "b": "010", "c": 90, "d": "0o10"}
    for name in ("b", "d"):
        ((key, message),) = problems(changed({"nodes:node2:id": loaded[name]}))
        assert key == "repmgr.nodes.node2.id" and "without quotes" in message


@pytest.mark.parametrize("place", ["nodes:no\x85de", "colo\u2028ur", "postgres:settings:a\x0cb"])
def test_a_name_that_would_split_a_line_is_told_in_one(place):
    found = problems(changed({place: {}}))
    assert all(key.isprintable() and message.isprintable() for key, message in found)
    assert any("its name contains U+" in message for _, message in found)


@pytest.mark.parametrize(
    "password",
    [
        "https-is-not-enough",
        "vaulting horse",
        "{{half of it",
        "ENCryption",
        "a!vault secret",
        "$notansible",
    ],
)
def test_passwords_that_only_look_like_references(password):
    assert pillar.read(changed({"password": password})).password == password


def test_a_comma_within_quotes_is_part_of_a_name():
    rule = {"type": "local", "database": '"a,b"', "user": ["x", "y"], "method": "peer"}
    (found,) = pillar.read(changed({"postgres:hba": [rule]})).postgres.hba
    assert str(found) == 'local "a,b" x,y peer'


@pytest.mark.parametrize(
    "command", ["'/opt/my tools/archive' '%p'", "test ! -f '/a/%f' && cp %p '/a/%f'", "it's"]
)
def test_quotes_within_a_value_stay(command):
    spec = pillar.read(changed({"postgres:settings:archive_command": command}))
    assert spec.postgres.settings["archive_command"] == command


def test_what_weakens_the_fence_is_taken_without_one():
    settings = {"failover_validation_command": "/bin/true", "always_promote": True}
    spec = pillar.read(changed({"fence": False, "settings": settings}))
    assert spec.settings == settings
    # The value that it has anyway.
    assert pillar.read(changed({"settings:always_promote": False}))
