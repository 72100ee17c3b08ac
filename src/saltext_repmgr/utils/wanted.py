"""From pillar to one node: the specification, the paths and the files that follow from it."""

from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import host
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import release
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import spool
from saltext_repmgr.utils.errors import PillarError
from saltext_repmgr.utils.plan import Run
from saltext_repmgr.utils.spec import Layout

PILLAR_KEY = "repmgr"
# Inline pillar of an orchestration: which node it goes by as the primary.
RUN_KEY = "repmgr_run"

_REPMGRD_UNIT = """\
# Written by Salt (saltext-repmgr). The packaged init script cannot tell a dead daemon.
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


def packages(layout):
    """Return the names of the Debian packages a node needs."""
    repmgr = f"postgresql-{layout.version}-repmgr"
    # The guard runs on the system's own Python, so that Salt may come and go.
    return [f"postgresql-{layout.version}", repmgr, "sudo", "python3", "python3-psycopg2"]


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


def repmgrd_unit(spec, layout):
    """Return the systemd unit of repmgrd."""
    return _REPMGRD_UNIT.format(
        cluster=spec.cluster,
        service=layout.service,
        user=layout.os_user,
        bindir=layout.bindir,
        conf=layout.repmgr_conf,
    )


def daemon_files(spec, node, layout, unit):
    """Return ``{path: text}`` of the files that repmgrd reads when it starts."""
    settings = repmgr_conf.node_settings(spec, node, layout)
    return {
        layout.repmgr_conf: repmgr_conf.render(settings),
        f"/etc/systemd/system/{unit}.service": repmgrd_unit(spec, layout),
    }


def host_entries(spec):
    """Return ``{address: [names]}`` for /etc/hosts, where pillar asks for it."""
    entries = {}
    for node in spec.members if spec.manage_hosts else ():
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
        "private_key": f"/var/lib/postgresql/.ssh/{name}",
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
        "packages": packages(layout),
        "hosts": host_entries(spec),
        "repmgr_conf": layout.repmgr_conf,
        "repmgr_conf_text": repmgr_conf.render(repmgr_conf.node_settings(spec, node, layout)),
        "passfile": layout.passfile,
        "settings_file": layout.settings_file,
        "settings_text": pg_settings.render(pg_settings.server_settings(spec, node, layout)),
        "hba_file": f"{layout.config_directory}/pg_hba.conf",
        "sudoers_text": sudoers(layout),
        "spool": spool.DIRECTORY,
        "unit_text": repmgrd_unit(spec, layout),
        "guard_directory": layout.guard_directory,
        "pg_ctl_file": f"{layout.config_directory}/pg_ctl.conf",
        "pg_ctl_text": guard_files.pg_ctl(spec, node, layout),
        "ssh": ssh_files(spec),
    }
