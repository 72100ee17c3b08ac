"""A repmgr cluster made of test servers, by hand: none of the code under test is in it."""

import pathlib
import shutil

from saltext_repmgr.utils.spec import Layout
from tests.functional.support.clusters import as_postgres

ETC = pathlib.Path("/etc/repmgr-functional")
PASSFILE = ETC / "pgpass"
PASSWORD = "it's a \\ secret: 100% =x"
CONF = """\
node_id={node.number}
node_name='{node.name}'
conninfo='{conninfo}'
data_directory='{node.data}'
pg_bindir='{node.layout.bindir}'
passfile='{passfile}'
use_replication_slots=true
failover=manual
node_rejoin_timeout=20
standby_reconnect_timeout=20
service_start_command='{ctl} start {options}'
service_stop_command='{ctl} stop -m fast'
service_restart_command='{ctl} restart {options} -m fast'
service_reload_command='{ctl} reload'
"""
# What the product gives the role, and no more: all that repmgr does here it does with these rights.
METADATA = """\
CREATE EXTENSION repmgr;
GRANT USAGE ON SCHEMA repmgr TO repmgr;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA repmgr TO repmgr;
REVOKE ALL ON DATABASE repmgr FROM PUBLIC;
GRANT CONNECT ON DATABASE repmgr TO repmgr;
"""


def prepare():
    """Make the directory of the configuration files, and the password file."""
    shutil.rmtree(ETC, ignore_errors=True)
    ETC.mkdir()
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    PASSFILE.write_text(f"*:*:*:repmgr:{escaped}\n", encoding="utf-8")
    PASSFILE.chmod(0o600)
    shutil.chown(PASSFILE, "postgres", "postgres")


def remove():
    shutil.rmtree(ETC, ignore_errors=True)


def conninfo(cluster):
    """How repmgr reaches a server."""
    return (
        f"host=127.0.0.1 port={cluster.port} user=repmgr dbname=repmgr connect_timeout=2"
        f" passfile={PASSFILE}"
    )


def conf(cluster):
    """Path of the repmgr.conf of a server."""
    return str(ETC / f"{cluster.name}.conf")


def configure(cluster, **extra):
    """Write the repmgr.conf of a server."""
    text = CONF.format(
        node=cluster,
        conninfo=conninfo(cluster),
        passfile=PASSFILE,
        ctl=f"{cluster.bin('pg_ctl')} -s -w -D {cluster.data} -l {cluster.log}",
        options=f'-o "-c config_file={cluster.etc}/postgresql.conf"',
    )
    text += "".join(f"{name}='{value}'\n" for name, value in extra.items())
    pathlib.Path(conf(cluster)).write_text(text, encoding="utf-8")


def repmgr(cluster, *words):
    """Run repmgr itself for a server."""
    return as_postgres(cluster.bin("repmgr"), "-f", conf(cluster), *words)


def make_primary(cluster):
    """Make a running server the primary of a cluster of its own."""
    configure(cluster)
    quoted = PASSWORD.replace("'", "''")
    cluster.sql(f"CREATE ROLE repmgr LOGIN REPLICATION PASSWORD '{quoted}' IN ROLE pg_monitor")
    cluster.sql("CREATE DATABASE repmgr")
    cluster.sql(METADATA, "repmgr")
    repmgr(cluster, "primary", "register")


def make_standby(cluster, primary):
    """Make a server that is down a streaming, registered standby."""
    configure(cluster)
    cluster.empty()
    repmgr(cluster, "standby", "clone", "--fast-checkpoint", "-d", conninfo(primary))
    cluster.start()
    await_streaming(primary, cluster)
    repmgr(cluster, "standby", "register", f"--upstream-node-id={primary.number}", "--wait-sync=30")


def await_streaming(upstream, standby):
    upstream.eventually(
        "SELECT state FROM pg_stat_replication"
        f" WHERE application_name = '{standby.name}' AND state = 'streaming'",
        "streaming",
    )


def slot(cluster):
    """Name of the replication slot that repmgr makes for a node."""
    return f"repmgr_slot_{cluster.number}"


def sockets():
    """Directory of the servers' sockets."""
    return Layout.socket_directory
