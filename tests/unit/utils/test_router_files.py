"""The files of a host with a PgBouncer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saltext_repmgr.router import config
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import PillarError
from tests.malformed.base import changed

SECRET = 'it\'s:"another"\\horse'
WANTED = {"password": SECRET, "databases": ["app", "more"]}
HOSTS = {"node1": {}, "router1": {"host": "192.168.1.60"}}


def spec_of(**changes):
    return pillar.read(changed({"pgbouncer": {**WANTED, **changes}}))


def test_by_default_every_data_node_has_one():
    assert spec_of().routers == {
        "node1": "192.168.1.10",
        "node2": "192.168.1.20",
        "node3": "192.168.1.30",
    }
    assert pillar.read(changed({})).routers == {}


def test_hosts_that_are_no_nodes():
    spec = spec_of(hosts=HOSTS)
    assert spec.routers == {"node1": "192.168.1.10", "router1": "192.168.1.60"}
    assert spec.minions == ("node1", "node2", "node3", "node4", "router1")


def test_a_minion_without_one():
    with pytest.raises(PillarError, match="repmgr.pgbouncer.hosts: this minion, node4"):
        wanted.router_of({"repmgr": changed({"pgbouncer": WANTED})}, "node4")


def test_what_is_written_there_is_all_that_it_needs(tmp_path):
    text = "import repmgr_router.router.daemon as made; print(made.__file__)"
    for name, (content, _) in router_files.files(spec_of(), "node1").items():
        if name.startswith(router_files.DIRECTORY):
            path = tmp_path / Path(name).relative_to(router_files.DIRECTORY)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"{tmp_path}/repmgr_router/router/daemon.py", done.stderr


def test_no_file_but_two_has_the_password():
    spec = spec_of(hosts=HOSTS, settings={"pool_mode": "transaction"})
    texts = [router_files.ini(spec), *(t for t, _ in router_files.files(spec, "node1").values())]
    escaped = json.dumps(SECRET)[1:-1]
    assert [text for text in texts if SECRET in text or escaped in text] == []
    assert router_files.userlist(SECRET) == '"pgbouncer" "it\'s:""another""\\horse"\n'
    assert router_files.pgpass(SECRET) == '*:*:*:pgbouncer:it\'s\\:"another"\\\\horse\n'


def settings(**changes):
    text = router_files.ini(spec_of(settings=changes))
    head, _, body = text.partition("\n[pgbouncer]\n")
    assert f"%include {config.DATABASES}" in head.splitlines()
    return dict(line.split(" = ", 1) for line in body.splitlines())


def test_settings_of_the_pillar_count():
    found = settings(pool_mode="transaction", server_connect_timeout=5, server_fast_close=False)
    assert found["pool_mode"] == "transaction"
    assert (found["server_connect_timeout"], found["server_fast_close"]) == ("5", "0")
    assert (found["listen_port"], found["auth_type"]) == ("6432", "scram-sha-256")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, "extra_float_digits,options"),
        ("extra_float_digits", "extra_float_digits,options"),
        ("options , search_path", "options,search_path"),
        ("search_path,extra_options", "search_path,extra_options,options"),
    ],
)
def test_options_of_clients_are_always_ignored(given, written):
    settings = {} if given is None else {"ignore_startup_parameters": given}
    found = router_files.settings(spec_of(settings=settings))
    assert found["ignore_startup_parameters"] == written


def test_the_daemon_reads_what_is_written_for_it(tmp_path):
    spec = spec_of(hosts=HOSTS)
    path = tmp_path / "router.json"
    path.write_text(router_files.files(spec, "router1")[config.CONFIG][0], encoding="utf-8")
    told = config.load(str(path))
    assert (told.name, told.databases, told.port) == ("router1", ("app", "more"), 6432)
    # The witness has no data, and who left is not asked.
    assert [m.name for m in told.members] == ["node1", "node2", "node3"]
    assert told.members[0].conninfo.startswith("host=192.168.1.10 port=5432 user=pgbouncer ")


def test_the_paths_are_those_of_the_daemon():
    assert router_files.STATE_DIRECTORY == config.STATE_DIRECTORY
    assert (router_files.DATABASES, router_files.STATE) == (config.DATABASES, config.STATE)


def test_who_is_let_in():
    spec = spec_of(hosts=HOSTS)
    lines = [str(rule) for rule in hba.cluster_rules(spec)][2:]
    assert lines == [
        "host app,more all 192.168.1.10/32 scram-sha-256",
        "host postgres +pgbouncer 192.168.1.10/32 scram-sha-256",
        "host app,more all 192.168.1.60/32 scram-sha-256",
        "host postgres +pgbouncer 192.168.1.60/32 scram-sha-256",
    ]
