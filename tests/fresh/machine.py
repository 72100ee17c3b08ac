"""A bare machine: a minimal Debian in a directory, with a checkout and the way to the mirrors."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab import apt
from tests.lab import progress
from tests.lab import recipe
from tests.lab.cgroup import lab_cgroups
from tests.lab.paths import CHECKOUT
from tests.lab.paths import cache_dir
from tests.lab.process import CLEAN_ENV
from tests.lab.process import follow
from tests.lab.process import kill_tree
from tests.lab.process import run
from tests.lab.store import CONFINED
from tests.lab.store import workshop

#: Where the bare machine has the checkout.
PLACE = "/srv/saltext-repmgr"

#: Where the labs of the bare machine are, by their defaults.
_RUNS = "var/lib/saltext-repmgr-lab"

_SECONDS = 3600
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info", ".pytest_cache")

# What pip reads without being told to.
_PIP_FILES = (
    "/etc/pip.conf",
    "/etc/xdg/pip/pip.conf",
    "/root/.pip/pip.conf",
    "/root/.config/pip/pip.conf",
)
_PATH = re.compile(r"(?:^|[\s='\"]|file://)(/[^\s'\"]+)")

# No HOME, nothing in the environment, and files for nobody else: that, too, is found on machines.
# The mounts are gone with the first process of the namespaces, and so is everything it started. The
# root directory becomes that of the mount namespace: whoever enters it later, as the lab does with
# its own, would find the root directory of this machine otherwise.
_ENTER = """
root=$1; shift
mount --bind "$root" "$root"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
umask 077
cd "$root"
pivot_root . .
umount -l .
exec env -i "$@"
"""


class BareMachine:
    """A machine whose disk is a directory. It shares kernel and network with this one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, script: str) -> int:
        """Run a shell script in the checkout, its output shown as it comes; its exit code.

        Whatever it leaves running or mounted ends with it.
        """
        variables = [f"{key}={value}" for key, value in _pip_variables().items()]
        shell = [f"PATH={CLEAN_ENV['PATH']}", *variables, "sh", "-c", f"cd {PLACE}\n{script}"]
        command = [*CONFINED, "sh", "-ec", _ENTER, "sh", str(self.root), *shell]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=dict(CLEAN_ENV)) as process:
            try:
                return process.wait()
            except BaseException:
                kill_tree(process.pid)
                raise
            finally:
                self._remove_groups()

    def _remove_groups(self) -> None:
        """Remove the control groups of labs that could not do so any more."""
        for lab in (self.root / _RUNS).glob("*/"):
            for group in lab_cgroups(lab):
                for parent, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(parent)


@contextlib.contextmanager
def bare_machine(release: str, tell: progress.Tell) -> Iterator[BareMachine]:
    """A machine of a Debian release that has seen nothing yet. It is gone after the block.

    :raises CommandError: it could not be made.
    """
    apt.ensure_tools()
    with workshop(cache_dir() / "fresh", _SECONDS) as scratch:
        root = scratch / release
        _install(release, root, tell)
        tell("")
        _carry_mirrors(root, release)
        shutil.copytree(CHECKOUT, f"{root}{PLACE}", ignore=_LEFT_OUT, symlinks=True)
        yield BareMachine(root)


def _install(release: str, root: Path, tell: progress.Tell) -> None:
    options = ["--variant=minbase", "--include=python3"]
    follow(
        [*CONFINED, "debootstrap", *options, release, str(root), apt.mirrors().archive],
        progress.debootstrap(tell),
        timeout=_SECONDS,
        where=f"a minimal Debian {release}",
    )
    root.chmod(0o755)
    shutil.rmtree(root / "var/lib/apt/lists")
    run(["chroot", root, "apt-get", "clean"])
    # As in any root that is no machine of its own: nobody wants its services.
    recipe.forbid_services(root)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n", encoding="ascii")


def _carry_mirrors(root: Path, release: str) -> None:
    """Carry over how this machine reaches its mirrors, and nothing else."""
    sources = recipe.sources_list(release, apt.mirrors())
    (root / "etc/apt/sources.list").write_text(sources, encoding="utf-8")
    (root / "etc/apt/apt.conf.d/00proxy").write_text(apt.proxy_settings(), encoding="utf-8")
    # Programs of the packages make the bundle of certificates anew, with these.
    carried = {Path("/etc/resolv.conf"), Path("/usr/local/share/ca-certificates")}
    files = [Path(file) for file in _PIP_FILES if Path(file).is_file()]
    texts = [*(file.read_text(encoding="utf-8") for file in files), *_pip_variables().values()]
    for path in map(Path, _PATH.findall("\n".join(texts))):
        # The pages of an index link to files beside them.
        carried.add(path.parent if path.name == "simple" else path)
    for path in sorted({*carried, *files}):
        if path.exists():
            _carry(path, root / path.relative_to("/"))


def _carry(path: Path, target: Path) -> None:
    if not path.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    # Links: it may hold gigabytes, and nothing changes them in place.
    link = path.stat().st_dev == target.stat().st_dev
    run(["cp", "-rL" + "l" * link, f"{path}/.", target], timeout=_SECONDS)


def _pip_variables() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
