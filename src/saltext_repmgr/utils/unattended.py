"""Files that keep unattended upgrades from stopping a node's programs. Pure.

The packages of a server stop it while they are replaced, and needrestart restarts services that use
an upgraded library: on all hosts in one night, without a word to the other nodes. The files tell both
programs to leave the node alone. ``apt-mark hold`` is not used: it would be in
the way of an administrator's own ``apt`` as well.
"""

from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import router_files

_APT = """\
// Written by Salt (saltext-repmgr): an upgrade of these packages stops servers in use. {instead}
Unattended-Upgrade::Package-Blacklist {{
{packages}
}};
"""
_NEEDRESTART = """\
# Written by Salt (saltext-repmgr): these services are not restarted on all hosts in one night.
# {instead}
{units}
"""
_NODE = "'salt-run repmgr.upgrade' does it, one node after the other."
_ROUTER = "Upgrade PgBouncer by hand, one host after the other."


def _files(name, packages, units, instead):
    blacklist = "\n".join(f'    "{package}$";' for package in packages)
    # needrestart compares the names of units with patterns in Perl.
    overrides = "\n".join(f"$nrconf{{override_rc}}->{{qr(^{unit})}} = 0;" for unit in units)
    return {
        f"/etc/apt/apt.conf.d/52{name}": _APT.format(instead=instead, packages=blacklist),
        f"/etc/needrestart/conf.d/{name}.conf": _NEEDRESTART.format(
            instead=instead, units=overrides
        ),
    }


def node_files(version):
    """Return ``{path: text}`` for a node with this major version of PostgreSQL."""
    server = f"postgresql-{version}"
    packages = (server, f"postgresql-client-{version}", f"{server}-repmgr", "repmgr(-common)?")
    return _files("repmgr", packages, (r"postgresql\@", "repmgrd", guard_files.UNIT), _NODE)


def host_files():
    """Return ``{path: text}`` for a host with a PgBouncer."""
    units = (router_files.SERVICE, router_files.UNIT)
    return _files("repmgr-pgbouncer", ("pgbouncer",), units, _ROUTER)
