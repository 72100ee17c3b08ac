"""What this extension writes for PostgreSQL is what a real server reads from it."""

import contextlib
import json
import pathlib
import subprocess
import tempfile

import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import changed

PACKAGED = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def as_postgres(*command, text=None):
    return subprocess.run(
        ["runuser", "-u", "postgres", "--", *command],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=True,
        cwd="/",
    ).stdout


@pytest.fixture(scope="module")
def bindir():
    assert PACKAGED, "no PostgreSQL below /usr/lib/postgresql: install postgresql-<version>"
    return PACKAGED[-1].parent


@pytest.fixture(scope="module")
def directory():
    """A directory of the user postgres."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["chown", "postgres:", name], check=True)
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def server(bindir, directory):
    """A server without network but with TLS; its data directory."""
    data = directory / "data"
    as_postgres(bindir / "initdb", "-D", data, "-A", "trust", "-N")
    certificate, key = data / "server.crt", data / "server.key"
    as_postgres(
        *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-subj", "/CN=x", "-out", certificate, "-keyout", key),
    )
    (data / "postgresql.conf").write_text(
        f"listen_addresses=''\nunix_socket_directories='{directory}'\nssl=on\n"
        f"ssl_cert_file='{certificate}'\nssl_key_file='{key}'\nssl_ca_file='{certificate}'\n"
    )
    as_postgres(bindir / "pg_ctl", "start", "-w", "-D", data, "-l", directory / "log")
    yield data
    as_postgres(bindir / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)


@pytest.fixture
def rules_of(bindir, directory, server):
    """Let the server parse a pg_hba.conf, without using it; returns the rows of its view."""

    def run(text):
        path = server / "pg_hba.conf"
        before = path.read_text(encoding="utf-8")
        with contextlib.ExitStack() as stack:
            stack.callback(path.write_text, before, encoding="utf-8")
            # The first line lets this very question in, should the file be reloaded.
            path.write_text("local all all trust\n" + text, encoding="utf-8")
            answer = as_postgres(
                *(bindir / "psql", "-XAt", "-h", directory, "-d", "postgres", "-c"),
                "select json_agg(r order by line_number) from pg_hba_file_rules r"
                " where line_number > 1",
            )
        return json.loads(answer)

    return run


ENTRIES = [
    "local all all peer",
    "local all all ident map=m",
    "local replication +app md5",
    'local "all" "+app" md5',
    'host "my db","a,b","c""d",plain "#x" 10.0.0.0/8 scram-sha-256',
    "host a, b c 10.0.0.0 255.255.0.0 md5",
    "host all all fd00:1::/32 md5",
    "host all all ::/0 reject",
    "host all all 0.0.0.0/0 reject",
    "host all all samenet md5",
    "host all all samehost md5",
    "host all all all password",
    "host all all DB.example.com md5",
    "host all all .example.com md5",
    "hostnossl all all 10.0.0.0/8 reject",
    "hostssl all all 10.0.0.0/8 cert",
    "hostssl all all 10.0.0.0/8 cert map=m clientname=DN",
    "hostssl all all 10.0.0.0/8 scram-sha-256 clientcert=verify-ca",
    "hostgssenc all all 10.0.0.0/8 gss",
    "host all all 10.0.0.0/8 gss include_realm=0",
    "host all all 10.0.0.0/8 gss include_realm=1 krb_realm=X",
    "host all all 10.0.0.0/8 ident map=m",
    'host all all 10.0.0.0/8 ldap ldapserver=l "ldapprefix=cn=a b, c" ldapsuffix=",dc=x"',
    {
        "type": "host",
        "database": ["my db", "all"],
        "user": "a b",
        "address": "10.1.0.0/16",
        "method": "ldap",
        "options": {"ldapserver": "l", "ldapprefix": 'cn="', "ldapport": 389},
    },
]


def test_the_server_reads_every_rule_as_it_was_meant(rules_of):
    spec = pillar.read(
        changed({"postgres:hba": ENTRIES, "subnet": ["192.168.1.0/24", "fd00::/64"]})
    )
    rules = hba.cluster_rules(spec)
    assert len(rules) == len(ENTRIES) + 4
    rows = rules_of(hba.block(rules))
    assert [row["error"] for row in rows] == [None] * len(rules)
    for number, rule in enumerate(rules):
        matching = [index for index, row in enumerate(rows) if hba.matches(rule, row)]
        assert matching == [number], str(rule)


def test_lines_are_read_as_the_server_reads_them(rules_of):
    lines = [entry for entry in ENTRIES if isinstance(entry, str)]
    rows = rules_of("\n".join(lines))
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows):
        assert hba.matches(hba.parse_line(line), row), line


@pytest.mark.parametrize(
    "line",
    [
        "local",
        "local all",
        "local all all",
        "host all all",
        "host all all all",
        "host all all 10.0.0.1 md5",
        "host all all 10.0.0.0 ffff:: md5",
        "host all all 10.0.0.0/255.0.0.0 md5",
        "host all all 10.0.0.0/33 md5",
        "host all all a,b md5",
        "local all all peer,md5",
        "local all all peer rubbish",
    ],
)
def test_what_the_parser_refuses_the_server_refuses_too(rules_of, line):
    with pytest.raises(errors.ParseError):
        hba.parse_line(line)
    (row,) = rules_of(line + "\n")
    assert row["error"]


def test_a_rule_of_the_server_survives_reading_and_writing(rules_of):
    text = "".join(f"{line}\n" for line in ENTRIES if isinstance(line, str))
    rows = rules_of(text)
    again = rules_of(hba.block(hba.from_row(row) for row in rows))
    same = ("type", "database", "user_name", "address", "netmask", "auth_method", "options")
    assert [[row[c] for c in same] for row in again] == [[row[c] for c in same] for row in rows]


@pytest.mark.parametrize(
    "text",
    ["it's", "''", "back\\slash", "ends \\", r"\n \061", '"x"', "100% %p", "  x  ", "# x", "grüße"],
)
def test_the_server_reads_nasty_strings_as_they_are(bindir, directory, text):
    assert value_in_server(bindir, directory, {"archive_command": text}, "archive_command") == text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("hot_standby", True, "on"),
        ("hot_standby", False, "off"),
        ("max_wal_senders", 24, "24"),
        ("checkpoint_completion_target", 0.75, "0.75"),
        ("seq_page_cost", 1e-05, "1e-05"),
        ("shared_preload_libraries", ("a", "b"), "a,b"),
        ("work_mem", "8MB", "8192"),
        ("pg_stat_statements.track", "all", "all"),
    ],
)
def test_the_server_reads_every_type(bindir, directory, name, value, shown):
    assert value_in_server(bindir, directory, {name: value}, name) == shown


def test_the_server_takes_what_repmgr_needs(bindir, directory):
    spec = pillar.read(changed({}))
    settings = pg_settings.server_settings(spec, spec.nodes["node1"])
    read = {name: value_in_server(bindir, directory, settings, name) for name in settings}
    assert read == {name: pg_settings.format_value(v).strip("'") for name, v in settings.items()}


def value_in_server(bindir, directory, settings, name):
    path = directory / "fragment.conf"
    path.write_text(pg_settings.render(settings), encoding="utf-8")
    path.chmod(0o644)
    return as_postgres(
        bindir / "postgres", "-C", name, f"--config-file={path}", "-D", directory
    ).removesuffix("\n")
