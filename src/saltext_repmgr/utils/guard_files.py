"""The guard's files on a node: its programs, what it is told, its unit, the start check.

What it does is in :mod:`saltext_repmgr.guard` and docs/design-failover.md.
"""

import json
from pathlib import Path

from saltext_repmgr import guard
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils.repmgr_parameters import effective

UNIT = "repmgr-guard"

_UNIT = """\
# Written by Salt (saltext-repmgr).
[Unit]
Description=Guard of the PostgreSQL cluster {cluster}: one primary
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=simple
User={user}
Environment=PYTHONPATH={directory} PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m repmgr_guard.daemon
# It has to look several times a second, also on a host with too much to do.
Nice=-10
OOMScoreAdjust=-900
Restart=always
RestartSec=200ms

[Install]
WantedBy=multi-user.target
"""


def files(spec, node, layout):
    """Return ``{path: (text, mode)}`` of all that the guard of a node is made of."""
    return {
        **_programs(layout),
        layout.guard_conf: (_configuration(spec, node, layout), "0644"),
        f"/etc/systemd/system/{UNIT}.service": (_unit(spec, layout), "0644"),
    }


def _programs(layout):
    source = Path(guard.__file__).parent
    directory = layout.guard_directory
    found = {}
    for path in sorted(source.iterdir()):
        if path.suffix == ".py":
            found[f"{directory}/repmgr_guard/{path.name}"] = (path.read_text("utf-8"), "0644")
        elif path.is_file():
            found[f"{directory}/{path.name}"] = (path.read_text("utf-8"), "0755")
    return found


def _configuration(spec, node, layout):
    settings = effective(repmgr_conf.node_settings(spec, node, layout))
    # The other members are not in it: the guard knows them from the metadata.
    told = {
        "node_id": node.id,
        "name": node.name,
        "host": node.host,
        "port": spec.postgres.port,
        "socket_directory": layout.socket_directory,
        "data_directory": layout.data_directory,
        "service": layout.service,
        "witness": node.is_witness,
        "fence": spec.fence,
        "vote_seconds": spec.failover_after,
        "automatic": settings["failover"] == "automatic",
        "promote": settings["promote_command"],
    }
    return json.dumps(told, indent=1) + "\n"


def _unit(spec, layout):
    return _UNIT.format(cluster=spec.cluster, user=layout.os_user, directory=layout.guard_directory)


def pg_ctl(spec, node, layout):
    """Return Debian's ``pg_ctl.conf``: whatever starts the server passes the start check."""
    program = f"-p {layout.guard_directory}/postgres"
    return (
        "# Written by Salt (saltext-repmgr): a server asks the other members before it starts as\n"
        "# a primary.\n"
        f"pg_ctl_options = '{program if spec.fence and not node.is_witness else ''}'\n"
    )
