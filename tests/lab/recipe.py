"""The recipe of the images: what is written into them and what is run in them.

Whatever changes here makes new images: the text of this file is part of their key.
"""

import hashlib
from pathlib import Path

from .apt import Mirrors
from .process import run
from .releases import Release

TEXT = Path(__file__).read_text(encoding="utf-8")

#: Where the image keeps the packages it offers, and their index.
PACKAGES = "srv/packages"

#: Done once on each host when it comes up for the first time, then gone.
FIRST_BOOT_MARK = "var/lib/lab-first-boot"

# Stays: disks of hosts are thrown away after all, and it halves what an installation takes.
_FORCE_UNSAFE_IO = "etc/dpkg/dpkg.cfg.d/lab"
_APT_SETTINGS = "etc/apt/apt.conf.d/99lab"
_BUILD_SOURCES = "etc/apt/sources.list"
_BUILD_PROXY = "etc/apt/apt.conf.d/00lab-build"
_NO_SERVICES = "usr/sbin/policy-rc.d"

#: Brings the image up to date and fetches what it is to offer ("$@") with all it depends on; of
#: PostgreSQL "$1" also the oldest minor version that the mirrors have, to be upgraded from.
FETCH_SCRIPT = """
version=$1
shift
apt-get update
apt-get dist-upgrade -y -o APT::Status-Fd=3 3>&1
apt-get install -y --download-only -o APT::Keep-Downloaded-Packages=true -o APT::Status-Fd=3 "$@" 3>&1
mkdir -p /srv/packages
mv /var/cache/apt/archives/*.deb /srv/packages/
cd /srv/packages
for package in "postgresql-$version" "postgresql-client-$version"; do
  apt-get download "$package=$(apt-cache madison "$package" | cut -d'|' -f2 | tr -d ' ' | sort -V | head -1)"
done
cd /
rm -rf /var/lib/apt/lists/*
"""

#: The lists of the source inside the image, and the last touches that need the image's own tools.
FINISH_SCRIPT = """
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
rm -f /etc/apt/sources.list.d/*
apt-get update
apt-get clean
systemctl enable systemd-networkd.service ssh.service lab-first-boot.service
systemctl disable getty@tty1.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer console-getty.service \
  dev-hugepages.mount dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  getty-static.service getty.target systemd-networkd-wait-online.service \
  systemd-network-generator.service systemd-timesyncd.service
"""

#: What somebody does who prepares the host by hand. The cluster `main` is made at first boot:
#: made here, all hosts would have one and the same system identifier.
INSTALL_SCRIPT = """
apt-get install -y -o APT::Status-Fd=3 "$@" 3>&1
apt-get clean
"""

_FIRST_BOOT_UNIT = """\
[Unit]
Description=Host keys and, where PostgreSQL is installed, the cluster its package would have made
ConditionPathExists=/var/lib/lab-first-boot
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=basic.target ssh.service postgresql.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/lab-first-boot
RemainAfterExit=yes

[Install]
WantedBy=basic.target
"""

_FIRST_BOOT = """\
#!/bin/sh -e
# No RSA key: it alone takes longer than the rest of the boot.
for type in ecdsa ed25519; do
  ssh-keygen -q -t "$type" -N "" -f "/etc/ssh/ssh_host_${type}_key" </dev/null
done
if [ -x /usr/bin/pg_createcluster ]; then
  version=$(ls /usr/lib/postgresql | sort -n | tail -1)
  pg_createcluster "$version" main -- --no-sync
  # What starts all clusters at boot was decided before this one existed.
  systemctl daemon-reload
  systemctl start --no-block "postgresql@$version-main.service"
fi
rm -f /var/lib/lab-first-boot
"""

_NO_MAIN_CLUSTER = "etc/postgresql-common/createcluster.d/lab-build.conf"


def _write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    target.chmod(mode)


def sources_list(release: str, mirrors: Mirrors) -> str:
    """The text of apt's list of sources for a release, all of it from these mirrors."""
    suites = [(mirrors.archive, release), (mirrors.archive, f"{release}-updates")]
    if mirrors.security:
        suites.append((mirrors.security, f"{release}-security"))
    return "".join(f"deb {uri} {suite} main\n" for uri, suite in suites)


def forbid_services(root: Path) -> None:
    """Let packages be installed without starting a service."""
    _write(root, _NO_SERVICES, "#!/bin/sh\nexit 101\n", 0o755)


def prepare_for_packages(root: Path, release: Release, mirrors: Mirrors, proxy: str) -> None:
    """Give the new root the sources and the settings its packages are fetched with."""
    _write(root, _BUILD_SOURCES, sources_list(release.name, mirrors))
    _write(root, _BUILD_PROXY, proxy)
    _write(root, _FORCE_UNSAFE_IO, "force-unsafe-io\n")
    _write(root, _APT_SETTINGS, 'Acquire::Languages "none";\n')
    forbid_services(root)
    _write(root, "etc/systemd/system/lab-first-boot.service", _FIRST_BOOT_UNIT)
    _write(root, "usr/local/sbin/lab-first-boot", _FIRST_BOOT, 0o755)
    # The cluster that the package makes has this locale, as on a host set up by the installer.
    _write(root, "etc/default/locale", "LANG=C.UTF-8\n")


def write_package_index(root: Path) -> None:
    """Index the packages in the image, as a package source wants it."""
    entries = []
    for deb in sorted((root / PACKAGES).glob("*.deb")):
        control = run(["dpkg-deb", "--field", deb]).stdout.rstrip("\n")
        content = deb.read_bytes()
        entries.append(
            f"{control}\nFilename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    _write(root, f"{PACKAGES}/Packages", "\n".join(entries))


def finish(root: Path) -> None:
    """Take away what the build needed and a host must not have."""
    for path in (_BUILD_PROXY, _NO_SERVICES):
        (root / path).unlink()
    _write(root, "etc/resolv.conf", "")
    _write(root, "etc/machine-id", "")
    _write(root, FIRST_BOOT_MARK, "")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()


def prepare_for_install(upper: Path) -> None:
    """Let packages be installed without starting a service or making a database."""
    forbid_services(upper)
    _write(upper, _NO_MAIN_CLUSTER, "create_main_cluster = false\n")


def finish_install(upper: Path) -> None:
    """Take away what :func:`prepare_for_install` gave."""
    for path in (_NO_SERVICES, _NO_MAIN_CLUSTER):
        (upper / path).unlink()
