"""utils.trial: what keeps a server from starting is found by a start, and nothing is touched."""

import dataclasses
import encodings.ascii
import functools
import os
import pathlib
import socket
import subprocess
import tempfile
from types import SimpleNamespace

import pytest

from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import trial
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.spec import Layout
from tests.functional.support import clusters
from tests.malformed.base import PASSWORD

# psycopg2 looks for it while it is the user postgres, who may not read this Python's files.
assert encodings.ascii

HBA = "# repmgr, written by Salt: begin\nhost all all bad/32 md5\n# repmgr, written by Salt: end\n"
CONF = """\
port = {port}
listen_addresses = ''
unix_socket_directories = '/var/run/postgresql,{directory}'
external_pid_file = '{directory}/pid'
shared_buffers = '16MB'
include_dir = 'conf.d'
"""


@dataclasses.dataclass(frozen=True)
class Somewhere(Layout):
    """A server whose configuration is not below /etc/postgresql."""

    config_directory: str = ""


@pytest.fixture(scope="module", name="spare")
def spare_():
    """A running server of its own, as Debian would configure it."""
    clusters.require_root()
    version = clusters.newest_version()
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="repmgr-of-trial-") as name:
        path = pathlib.Path(name)
        clusters.run("chown", "postgres:", name)
        etc, data = path / "etc", path / "data"
        layout = Somewhere(version, "main", str(data), str(etc))
        clusters.as_postgres(f"{layout.bindir}/initdb", "-N", "-A", "peer", "-D", data)
        clusters.as_postgres("mkdir", "-p", etc / "conf.d")
        for file in ("pg_hba.conf", "pg_ident.conf"):
            clusters.as_postgres("mv", data / file, etc / file)
        (etc / "postgresql.conf").write_text(CONF.format(port=port, directory=path))
        options = f"-c config_file={etc}/postgresql.conf -c hba_file={etc}/pg_hba.conf"
        control = (f"{layout.bindir}/pg_ctl", "-s", "-w", "-D", data)
        clusters.as_postgres(*control, "-l", path / "log", "-o", options, "start")
        yield SimpleNamespace(layout=layout, port=port, data=data, etc=etc, hba=etc / "pg_hba.conf")
        clusters.as_postgres(*control, "-m", "immediate", "stop")


@pytest.fixture
def look_of(spare):
    """Make what a state knows of a node whose server is the spare one, given pillar's postgres."""

    def make(settings=None, hba=()):
        spec = pillar.read(
            {
                "cluster": "functional",
                "subnet": "192.0.2.0/24",
                "password": PASSWORD,
                "nodes": {"node1": {"id": 1, "host": clusters.own_name(), "role": "primary"}},
                "postgres": {
                    "port": spare.port,
                    # What repmgr needs is not what is tried here, and may not be installed.
                    "settings": {"listen_addresses": clusters.own_name(), **(settings or {})},
                    "hba": list(hba),
                },
            }
        )
        node = spec.nodes["node1"]
        found = host.data_directory(spare.layout)
        seen = Observation("node1", spare.layout.version, True, True, True, found, running=True)
        connection = functools.partial(observe.local_connection, spec, spare.layout, "postgres")
        return SimpleNamespace(
            spec=spec, node=node, seen=seen, layout=spare.layout, connection=connection
        )

    return make


def surroundings(spare, scratch):
    """All that a trial might touch, and must not."""
    kept = [spare.data / "postmaster.pid", spare.etc / "postgresql.conf", spare.data.parent / "pid"]
    found = subprocess.run(["pgrep", "-f", scratch], capture_output=True, check=False)
    return (
        [path.read_bytes() for path in kept],
        os.listdir(scratch),
        os.listdir(spare.etc / "conf.d"),
        found.stdout,
    )


@pytest.fixture(autouse=True)
def nothing_is_left(spare, monkeypatch):
    """The server that is there goes on as it was, and the trial leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=spare.data.parent) as scratch:
        os.chmod(scratch, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        before = surroundings(spare, scratch)
        yield
        assert surroundings(spare, scratch) == before
        assert (before[1], before[3]) == ([], b"")


@pytest.mark.parametrize(
    ("settings", "keys", "words"),
    [
        (
            {"shared_preload_libraries": "no_such_library", "work_mem": "8MB"},
            ["shared_preload_libraries"],
            'could not access file "no_such_library"',
        ),
        (
            {"session_preload_libraries": "no_such_library"},
            ["session_preload_libraries"],
            'could not access file "no_such_library"',
        ),
        (
            {"ssl": True, "ssl_cert_file": "/no/such.crt", "ssl_key_file": "/no/such.key"},
            ["ssl"],
            'could not load server certificate file "/no/such.crt"',
        ),
        ({"listen_addresses": "192.0.2.77"}, ["listen_addresses"], "could not bind"),
        ({"listen_addresses": "no-such-host.invalid"}, ["listen_addresses"], "could not translate"),
        (
            {"superuser_reserved_connections": 120, "max_connections": 100},
            ["superuser_reserved_connections"],
            "superuser_reserved_connections",
        ),
        ({"shared_buffers": "900GB"}, ["shared_buffers"], "could not map anonymous shared memory"),
        (
            {"unix_socket_directories": "/var/run/postgresql,/no/such"},
            ["unix_socket_directories"],
            'could not create lock file "/no/such/',
        ),
        ({"work_mem": "lots"}, ["work_mem"], 'invalid value for parameter "work_mem": "lots"'),
        ({"no_such_setting": 1}, ["no_such_setting"], "unrecognized configuration parameter"),
        ({"lc_messages": "xx_XX.UTF-8"}, ["lc_messages"], 'parameter "lc_messages"'),
        ({"min_wal_size": "1MB", "wal_keep_size": 0}, ["min_wal_size"], "min_wal_size"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_value_with_which_no_server_starts(look_of, settings, keys, words):
    with pytest.raises(Refused) as raised:
        trial.of_look(look_of(settings))
    assert words in str(raised.value)
    for key in keys:
        assert f"repmgr.postgres.settings.{key}" in str(raised.value)
    for key in (
        set(settings)
        - set(keys)
        - {"max_connections", "ssl_cert_file", "ssl_key_file", "wal_keep_size"}
    ):
        assert f"repmgr.postgres.settings.{key}" not in str(raised.value)


def test_a_setting_that_its_library_does_not_know(look_of):
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.trak": "all",
    }
    with pytest.raises(Refused, match='"pg_stat_statements.trak"'):
        trial.of_look(look_of(settings))


def test_a_rule_that_the_server_does_not_take(look_of):
    rules = ["local all all peer", "host all all 192.0.2.0/24 radius"]
    with pytest.raises(Refused) as raised:
        trial.of_look(look_of(hba=rules))
    assert "repmgr.postgres.hba.1" in str(raised.value)
    assert "repmgr.postgres.hba.0" not in str(raised.value)
    assert "radiusservers" in str(raised.value)


def test_settings_with_which_it_starts(look_of):
    trial.of_look(look_of({"work_mem": "8MB", "search_path": ["app", "public"]}))


def test_the_server_gives_its_own_memory_back(look_of, monkeypatch):
    # In blocks, as much as the server has and has to give back before it starts again.
    look = look_of({"shared_buffers": "16MB"})
    with look.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT setting FROM pg_settings WHERE name = 'shared_buffers'")
        assert cursor.fetchone() == ("2048",)
    started = []
    run = trial._Scratch._run

    def watch(self, options, output):
        started.append(options)
        return run(self, options, output)

    monkeypatch.setattr(trial._Scratch, "_run", watch)
    trial.of_look(look)
    assert "shared_buffers=16" in started[0]


def test_a_file_beside_the_data_is_found(look_of, spare):
    certificate, key = spare.data / "own.crt", spare.data / "own.key"
    clusters.as_postgres(
        *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-subj", "/CN=x", "-out", certificate, "-keyout", key),
    )
    trial.of_look(look_of({"ssl": True, "ssl_cert_file": "own.crt", "ssl_key_file": "own.key"}))


def test_what_a_block_of_before_said_does_not_count(look_of, spare):
    before = spare.hba.read_text()
    try:
        spare.hba.write_text(HBA + before)
        trial.of_look(look_of())
        spare.hba.write_text("host all all bad/32 md5\n" + before)
        with pytest.raises(Refused, match="the other files of the server"):
            trial.of_look(look_of())
    finally:
        spare.hba.write_text(before)
