"""From pillar to one node: the specification, the paths and the files that follow from it."""

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import host
from saltext_repmgr.utils import release
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import spool
from saltext_repmgr.utils import unattended
from saltext_repmgr.utils.errors import PillarError
from saltext_repmgr.utils.plan import Run
from saltext_repmgr.utils.repmgr_parameters import effective
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import Layout

PILLAR_KEY = "repmgr"
# Inline pillar of an orchestration: which node it goes by as the primary.
RUN_KEY = "repmgr_run"

# repmgrd takes these from its file when it starts, and not when it is told to read it again;
# in the unit, a change of them is one that restarts it.
_AT_START = ("node_id", "log_level", "log_facility")

_REPMGRD_UNIT = """\
# Written by Salt (saltext-repmgr). The packaged init script cannot tell a dead daemon.
# It starts with: {at_start}
[Unit]
Description=repmgrd, failover daemon of the PostgreSQL cluster {cluster}
After={service}.service network-online.target
Wants=network-online.target
# It gives up while its server is down and must be there when the server is back.
StartLimitIntervalSec=0

[Service]
Type=simple
User={user}
ExecStart={bindir}/repmgrd -f {conf} --daemonize=false --no-pid-file
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""

_SSH_DIRECTORY = "/var/lib/postgresql/.ssh"
PURGE_UNIT = "repmgr-purge"
_PURGE_SERVICE = """\
# Written by Salt (saltext-repmgr).
[Unit]
Description=old history of the repmgr cluster {cluster} is deleted

[Service]
Type=oneshot
User={user}
# A superuser's session takes no function from a schema of somebody else.
Environment="PGOPTIONS=-c search_path="
ExecStart={bindir}/psql -Xq -h {socket} -p {port} -d {database} -c "{statement}"
"""
_PURGE_TIMER = """\
# Written by Salt (saltext-repmgr).
[Unit]
Description=weekly, old history of the repmgr cluster {cluster} is deleted

[Timer]
OnCalendar=weekly
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
"""


def node_of(spec, minion_id):
    """Return the :class:`~saltext_repmgr.utils.spec.NodeSpec` of a minion.

    Raises ``PillarError`` where the minion is not one of the cluster's nodes.
    """
    if minion_id not in spec.nodes:
        raise PillarError(
            [
                (
                    f"{PILLAR_KEY}.nodes",
                    f"this minion, {minion_id}, is not in it (there are: {', '.join(spec.nodes)});"
                    " the keys must be minion ids",
                )
            ]
        )
    return spec.nodes[minion_id]


def read(values):
    """Return the :class:`~saltext_repmgr.utils.spec.ClusterSpec` in a whole pillar."""
    if PILLAR_KEY not in values:
        raise PillarError(
            [
                (
                    PILLAR_KEY,
                    "there is no such key in this pillar; see pillar.example, and give the pillar"
                    " to the master's orchestrations and to every node ('*' in the top file)",
                )
            ]
        )
    # On a minion that is asked for nothing its checks would be the most of what is loaded.
    from saltext_repmgr.utils import pillar

    return pillar.read(values[PILLAR_KEY])


def default_version():
    """Return the PostgreSQL major version that this host's release brings."""
    return release.postgres_version(host.release())


def layout_of(spec):
    """Return the :class:`~saltext_repmgr.utils.spec.Layout` of this host."""
    version = spec.postgres.version or default_version()
    return Layout(version, spec.postgres.cluster, spec.postgres.data_directory or "")


def subject(values, minion_id):
    """Return ``(spec, node, layout)`` of a minion, given its whole pillar."""
    spec = read(values)
    return spec, node_of(spec, minion_id), layout_of(spec)


def router_of(values, minion_id):
    """Return the :class:`~saltext_repmgr.utils.spec.ClusterSpec` of a host with a PgBouncer.

    Raises ``PillarError`` where the minion is none.
    """
    spec = read(values)
    if minion_id not in spec.routers:
        listed = ", ".join(spec.routers) or "none"
        raise PillarError(
            [
                (
                    f"{PILLAR_KEY}.pgbouncer.hosts",
                    f"this minion, {minion_id}, is not in it (there are: {listed})",
                )
            ]
        )
    return spec


def run_of(values, test):
    """Return the :class:`~saltext_repmgr.utils.plan.Run` that an orchestration handed over.

    test
        Whether this is a dry run, in which earlier steps have only been announced.
    """
    said = values.get(RUN_KEY) or {}
    return Run(
        primary=said.get("primary"),
        new=bool(said.get("new")),
        system_identifier=said.get("system_identifier"),
        assume=bool(test),
    )


def packages(spec, layout):
    """Return the names of the Debian packages a node needs."""
    repmgr = f"postgresql-{layout.version}-repmgr"
    # The guard runs on the system's own Python, so that Salt may come and go.
    names = [f"postgresql-{layout.version}", repmgr, "sudo", "python3", "python3-psycopg2"]
    return [*names, "openssh-client"] if spec.ssh else names


def hba_block(spec):
    """Return ``(text, secret)``: our block of pg_hba.conf, and whether an option in it is
    a secret (the password of an LDAP or RADIUS server)."""
    rules = hba.cluster_rules(spec)
    words = [option.partition("=")[0] for rule in rules for option in rule.options]
    return hba.block(rules), any("passwd" in w or "secret" in w for w in words)


def sudoers(layout):
    """Return the sudoers rules: the server's own unit, three verbs, nothing else."""
    verbs = ("start", "stop", "restart")
    rules = ", ".join(f"/usr/bin/systemctl {verb} {layout.service}" for verb in verbs)
    return (
        "# Written by Salt (saltext-repmgr): what repmgr needs to start and stop its server.\n"
        f"Defaults:{layout.os_user} !requiretty\n"
        f"{layout.os_user} ALL=(root) NOPASSWD: {rules}\n"
    )


def repmgrd_unit(spec, node, layout):
    """Return the systemd unit of repmgrd."""
    settings = {"node_id": node.id, **effective(spec.settings)}
    return _REPMGRD_UNIT.format(
        cluster=spec.cluster,
        service=layout.service,
        user=layout.os_user,
        bindir=layout.bindir,
        conf=layout.repmgr_conf,
        at_start=", ".join(f"{name}={settings[name]!r}" for name in _AT_START),
    )


def own_units():
    """Return the names of the units that this extension makes on a node."""
    return [f"{guard_files.UNIT}.service", "repmgrd.service", f"{PURGE_UNIT}.timer"]


def purge_units(spec, layout):
    """Return ``{path: text}`` of the timer that keeps the metadata's history short.

    It needs neither the master nor the minion; on a standby it does nothing.
    """
    tables = {"monitoring_history": "last_monitor_time", "events": "event_timestamp"}
    deletes = " ".join(
        f"DELETE FROM repmgr.{table} WHERE {column} < now() - make_interval(days => {spec.history_days});"
        for table, column in tables.items()
    )
    service = _PURGE_SERVICE.format(
        cluster=spec.cluster,
        user=layout.os_user,
        bindir=layout.bindir,
        socket=layout.socket_directory,
        port=spec.postgres.port,
        database=DATABASE_NAME,
        statement=f"DO 'BEGIN IF NOT pg_is_in_recovery() THEN {deletes} END IF; END'",
    )
    return {
        f"/etc/systemd/system/{PURGE_UNIT}.service": service,
        f"/etc/systemd/system/{PURGE_UNIT}.timer": _PURGE_TIMER.format(cluster=spec.cluster),
    }


def repmgr_conf_check(spec, layout):
    """Return a command that has repmgr read a configuration file, whose path is put behind it."""
    log = " --log-to-file" if spec.settings.get("log_file") else ""
    # repmgr refuses to run as root, and this asks it for something that needs no server.
    asks = f"{layout.bindir}/repmgr{log} node status --is-shutdown-cleanly -f"
    words = "repmgr does not take this configuration: correct repmgr.settings in pillar"
    return (
        f"sh -c 'runuser -u {layout.os_user} -- {asks} \"$1\" || {{ echo {words}; exit 1; }}' check"
    )


def daemon_files(spec, node, layout, unit):
    """Return ``{path: text}`` of the files that repmgrd reads when it starts."""
    settings = repmgr_conf.node_settings(spec, node, layout)
    return {
        layout.repmgr_conf: repmgr_conf.render(settings),
        f"/etc/systemd/system/{unit}.service": repmgrd_unit(spec, node, layout),
    }


def host_entries(spec):
    """Return ``{address: [names]}`` for /etc/hosts, where pillar asks for it."""
    return _host_entries(spec, spec.members)


def former_host_entries(spec):
    """Return the same of the nodes marked absent, save for addresses that a member has now."""
    present = host_entries(spec)
    former = _host_entries(spec, spec.absent_nodes)
    return {address: names for address, names in former.items() if address not in present}


def _host_entries(spec, nodes):
    entries = {}
    for node in nodes if spec.manage_hosts else ():
        if not node.address and not checks.ip_address(node.host):
            continue
        # Without an address of its own, the host is one.
        names = (node.host, node.name) if node.address else (node.name,)
        entries[node.address or node.host] = list(dict.fromkeys(names))
    return entries


def ssh_files(spec):
    """Return where the postgres user's key goes, with its public half; empty without one."""
    if not spec.ssh:
        return {}
    kind = spec.ssh["public_key"].split()[0]
    name = {"ssh-rsa": "id_rsa", "ssh-ed25519": "id_ed25519"}.get(kind, "id_ecdsa")
    return {
        "public_key": spec.ssh["public_key"].strip(),
        "directory": _SSH_DIRECTORY,
        "private_key": f"{_SSH_DIRECTORY}/{name}",
    }


def describe(spec, node, layout):
    """Return, as plain data without any secret, all that the SLS files of a node render."""
    return {
        "problems": [],
        "cluster": spec.cluster,
        "node": node.name,
        "absent": node.absent,
        "witness": node.is_witness,
        "version": layout.version,
        "port": spec.postgres.port,
        "service": layout.service,
        "bindir": layout.bindir,
        "os_user": layout.os_user,
        "data_directory": layout.data_directory,
        "config_directory": layout.config_directory,
        "packages": packages(spec, layout),
        "unattended": unattended.node_files(layout.version),
        "hosts": host_entries(spec),
        "repmgr_conf": layout.repmgr_conf,
        "repmgr_conf_text": repmgr_conf.render(repmgr_conf.node_settings(spec, node, layout)),
        "repmgr_conf_check": repmgr_conf_check(spec, layout),
        "passfile": layout.passfile,
        "settings_file": layout.settings_file,
        "hba_file": f"{layout.config_directory}/pg_hba.conf",
        "sudoers_text": sudoers(layout),
        "spool": spool.DIRECTORY,
        "unit_text": repmgrd_unit(spec, node, layout),
        "guard_directory": layout.guard_directory,
        "pg_ctl_file": f"{layout.config_directory}/pg_ctl.conf",
        "pg_ctl_text": guard_files.pg_ctl(spec, node, layout),
        "purge_units": {} if node.is_witness else purge_units(spec, layout),
        "purge_timer": f"{PURGE_UNIT}.timer",
        "routed": spec.pgbouncer is not None,
        "former_hosts": former_host_entries(spec),
        "former_ssh_hosts": [n.host for n in spec.absent_nodes] if spec.ssh else [],
        "ssh": ssh_files(spec),
    }
