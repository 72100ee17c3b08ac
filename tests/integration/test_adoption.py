"""Servers that were there before: what they had they keep, and what changes is announced.

The tests of this file are one story and run in its order.
"""

import pytest

from tests.integration.conftest import cluster_of

NODES = ("node1", "node2", "node3")
STANDBYS = ["node2", "node3"]
# As an administrator leaves a server that has been at work for years.
OWN = """\
# f\xfcr die Anwendung
shared_preload_libraries = 'pg_stat_statements'
wal_level = logical
max_replication_slots = 30
archive_mode = on
archive_command = '/usr/bin/true %p'
ssl = on
ssl_cert_file = '/etc/postgresql/app.crt'
ssl_key_file = '/etc/postgresql/app.key'
max_connections = 120
"""
LEFT_OVER = """\
ALTER SYSTEM SET recovery_target_time = '2020-01-01';
ALTER SYSTEM SET recovery_target_action = 'promote';
ALTER SYSTEM SET recovery_min_apply_delay = '1h';
ALTER SYSTEM SET work_mem = '9MB';
"""
KEPT = {
    "wal_level": "logical",
    "max_replication_slots": "30",
    "shared_preload_libraries": "pg_stat_statements,repmgr",
    "archive_mode": "on",
    "archive_command": "/usr/bin/true %p",
    "max_connections": "120",
    "work_mem": "9MB",
    "recovery_target_time": "",
    "recovery_min_apply_delay": "0",
}
TLS = """
install -o postgres -g postgres -m 600 /etc/ssl/private/ssl-cert-snakeoil.key /etc/postgresql/app.key
install -o postgres -g postgres -m 644 /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/postgresql/app.crt
"""


def settings(cluster, name, names):
    listed = ", ".join(f"'{n}'" for n in names)
    query = f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({listed})"
    return dict(line.split("|") for line in cluster.sql(name, query).splitlines())


@pytest.fixture(scope="module")
def cluster():
    with cluster_of("adopt", preinstalled=True) as built:
        etc = f"/etc/postgresql/{built.version}/main"
        node1 = built.lab["node1"]
        node1.sh(TLS + "install -d -o postgres -m 700 /srv/space")
        node1.run(["sh", "-c", f"iconv -t latin1 > {etc}/conf.d/50-app.conf"], input=OWN)
        # PostgreSQL takes this for the same.
        node1.sh(
            f"sed -i \"s/^data_directory = '\\(.*\\)'/data_directory '\\1\\/'/\" {etc}/postgresql.conf"
        )
        node1.sh(
            f"printf '# f\\374r\\n' >> {etc}/postgresql.conf; printf '# f\\374r\\n' >> {etc}/pg_hba.conf"
        )
        node1.run(["systemctl", "restart", f"postgresql@{built.version}-main"])
        built.sql("node1", "CREATE EXTENSION pg_stat_statements")
        built.sql("node1", "CREATE TABLESPACE space LOCATION '/srv/space'")
        built.sql(
            "node1", "CREATE TABLE app TABLESPACE space AS SELECT generate_series(1, 1000) AS n"
        )
        for number in range(23):
            plugin = f"pg_create_logical_replication_slot('app_{number}', 'pgoutput')"
            built.sql("node1", f"SELECT {plugin}")
        for line in LEFT_OVER.splitlines():
            built.sql("node1", line)
        built.lab["node2"].sh("install -d -o postgres -m 700 /srv/space")
        built.lab["node3"].sh(TLS + "install -d -o postgres -m 700 /srv/space")
        yield built


@pytest.fixture(scope="module")
def dry_run(cluster):
    before = cluster.started("node1"), cluster.fingerprint("node1")
    run = cluster.orchestrate("test=True")
    assert (cluster.started("node1"), cluster.fingerprint("node1")) == before
    return run


def test_the_dry_run_says_what_would_change(cluster, dry_run):
    assert dry_run.ok, dry_run
    node1 = dry_run.nodes("primary")["node1"]
    service = node1[f"postgresql@{cluster.version}-main"]
    assert service["comment"].startswith("would be restarted for "), service
    assert "shared_preload_libraries" in service["comment"]
    assert "recovery_target_time" in node1["ALTER SYSTEM of node1"]["comment"]
    gone = {"recovery_target_time", "recovery_min_apply_delay"}
    assert set(node1["ALTER SYSTEM of node1"]["changes"]) == gone


@pytest.fixture(scope="module")
def built(cluster, dry_run):
    return cluster.orchestrate()


def test_the_server_becomes_the_primary(cluster, dry_run, built):
    assert built.ok, built
    assert built.announced() == dry_run.announced()
    assert cluster.streaming("node1") == STANDBYS
    assert cluster.primary() == "node1"


def test_it_keeps_what_it_had_and_so_do_its_clones(cluster, built):
    for name in NODES:
        assert settings(cluster, name, KEPT) == KEPT, name
    assert (
        cluster.sql(
            "node1", "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical'"
        )
        == "23"
    )
    assert cluster.sql("node2", "SELECT count(*) FROM app") == "1000"
    tls = ("ssl", "ssl_cert_file")
    there = {"ssl": "on", "ssl_cert_file": "/etc/postgresql/app.crt"}
    assert settings(cluster, "node1", tls) == settings(cluster, "node3", tls) == there
    # It has no such files and keeps what its package configured; the run says so.
    own = settings(cluster, "node2", tls)
    assert own == {"ssl": "on", "ssl_cert_file": "/etc/ssl/certs/ssl-cert-snakeoil.pem"}
    cloned = built.nodes("standbys 1")["node2"]["data of node2"]["comment"]
    assert "this server cannot read /etc/postgresql/app.crt" in cloned


def test_a_second_run_changes_nothing(cluster, built):
    started = {name: cluster.started(name) for name in NODES}
    again = cluster.orchestrate()
    assert (again.ok, again.changes) == (True, {}), again
    assert {name: cluster.started(name) for name in NODES} == started
