"""What a bare host of each Debian release is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import MappingProxyType


@dataclass(frozen=True)
class Release:
    """A Debian release as the lab uses it.

    ``base`` is what a small server has before anybody thinks of PostgreSQL; ``offered`` is what
    its package source, which is inside the image, offers on top of that. ``old_libc`` says that
    its C library is older than that of the machines that the lab runs on.
    """

    name: str
    postgres: int
    base: tuple[str, ...]
    offered: tuple[str, ...]
    old_libc: bool = field(default=False, repr=False)

    @property
    def database(self) -> tuple[str, ...]:
        """What somebody who prepared the host by hand would have installed."""
        return (f"postgresql-{self.postgres}", f"postgresql-{self.postgres}-repmgr")


_BASE = (
    "ca-certificates",
    "dbus",
    "debian-archive-keyring",
    "iproute2",
    "iputils-ping",
    "less",
    "libffi8",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "netbase",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
)

_OFFERED = (
    "acl",
    "cron",
    "curl",
    "locales",
    "logrotate",
    "lsof",
    "needrestart",
    "pgbouncer",
    "postgresql",
    "postgresql-contrib",
    "psmisc",
    "python3-psycopg2",
    "python3-venv",
    "repmgr",
    "rsync",
    "strace",
    "unattended-upgrades",
    # To measure against.
    "etcd-client",
    "etcd-server",
    "patroni",
    "python3-etcd",
)


def _release(
    name: str,
    postgres: int,
    replaced: Mapping[str, str] = MappingProxyType({}),
    *,
    old_libc: bool = False,
) -> Release:
    base = tuple(replaced.get(package, package) for package in _BASE)
    return Release(
        name=name,
        postgres=postgres,
        base=base,
        offered=(f"postgresql-{postgres}", f"postgresql-{postgres}-repmgr", *_OFFERED),
        old_libc=old_libc,
    )


RELEASES = {
    "bullseye": _release(
        "bullseye", 13, {"libssl3": "libssl1.1", "libffi8": "libffi7"}, old_libc=True
    ),
    "bookworm": _release("bookworm", 15),
    "trixie": _release("trixie", 17, {"libssl3": "libssl3t64", "libreadline8": "libreadline8t64"}),
}
