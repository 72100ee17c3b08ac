"""The Debian packages of a node's server, and what is newer than they are."""

from pathlib import Path

from saltext_repmgr.utils import host
from saltext_repmgr.utils.errors import CommandFailed

_UNPACKED = "/var/lib/dpkg/updates"


def names(layout):
    """Return the names of the packages whose minor versions are kept up to date together."""
    version = layout.version
    return [
        f"postgresql-{version}",
        f"postgresql-client-{version}",
        f"postgresql-{version}-repmgr",
    ]


def newer(layout, salt, refresh=False):
    """Return ``{package: {"old": version, "new": version}}`` of what can be upgraded; a
    package that somebody put on hold is left out.

    salt
        Salt's ``__salt__``.
    refresh
        Fetch the lists of packages first.
    """
    wanted = names(layout)
    offered = salt["pkg.latest_version"](*wanted, refresh=refresh)
    installed = salt["pkg.version"](*wanted)
    held = salt["pkg.get_selections"](state="hold").get("hold", [])
    return {
        name: {"old": installed[name], "new": offered[name]}
        for name in wanted
        if installed[name] and offered[name] and name not in held
    }


def upgrade(layout, salt):
    """Install what is newer, and return it."""
    if any(Path(_UNPACKED).glob("*")):
        # The host went down in the midst of it.
        host.change(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"])
    found = newer(layout, salt)
    if found:
        wanted = [{name: versions["new"]} for name, versions in found.items()]
        salt["pkg.install"](pkgs=wanted, only_upgrade=True)
    left = newer(layout, salt)
    if left:
        raise CommandFailed(
            f"{', '.join(left)} could not be upgraded; run 'apt-get install --only-upgrade"
            f" {' '.join(left)}' on this host to see the reason"
        )
    return found
