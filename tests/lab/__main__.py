"""``python -m tests.lab``: labs by hand, and a way into the hosts of those that others started."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from . import apt
from . import progress
from . import state
from .errors import LabError
from .lab import Lab
from .prepare import prepare
from .process import CLEAN_ENV
from .process import follow
from .process import run
from .releases import RELEASES
from .screen import Screen
from .spec import MASTER
from .spec import LabSpec
from .wheel import pip_environment

_WATCHED_SECONDS = 1800


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="start a lab that stays until `down`")
    up.add_argument("name")
    up.add_argument("--nodes", default="node1,node2,node3", help="names, separated by commas")
    up.add_argument("--release", default="bookworm", choices=sorted(RELEASES))
    up.add_argument("--salt", default="3008.3", help="version of Salt, or `none`")
    up.add_argument("--preinstalled", action="store_true", help="with PostgreSQL and repmgr")

    commands.add_parser("list", help="show the labs that are up")

    enter = commands.add_parser("enter", help="get a shell on a host, or run a command there")
    enter.add_argument("name")
    enter.add_argument("host", nargs="?", default=MASTER)
    enter.add_argument("argv", nargs=argparse.REMAINDER, metavar="command")

    down = commands.add_parser("down", help="power a lab off and remove it")
    down.add_argument("name")

    build = commands.add_parser("build", help="make images and Salt now rather than on first use")
    build.add_argument("releases", nargs="*", metavar="release", help=" ".join(sorted(RELEASES)))

    packages = commands.add_parser("packages", help="install what this machine lacks")
    packages.add_argument("purpose", choices=("python", "lab", "database"))

    watch = commands.add_parser("watch", help="run a command of pip and show how far it is")
    watch.add_argument("title")
    watch.add_argument("argv", nargs=argparse.REMAINDER, metavar="command")
    return parser


def _up(args: argparse.Namespace) -> None:
    lab = Lab(
        args.name,
        nodes=tuple(filter(None, args.nodes.split(","))),
        release=args.release,
        salt=None if args.salt == "none" else args.salt,
        preinstalled=args.preinstalled,
        persistent=True,
    )
    with Screen() as screen:
        lab.up(tell=screen.doing)
    _show(lab)


def _show(lab: Lab) -> None:
    spec = lab.spec
    salt = f"Salt {spec.salt}" if spec.salt else "no Salt"
    installed = ", PostgreSQL installed" if spec.preinstalled else ""
    print(f"{lab.name}: Debian {spec.release}, {salt}{installed}")
    for host in lab:
        print(f"  {host.name:<12} {host.address:<12} {'up' if host.up else 'down'}")


def _list(_: argparse.Namespace) -> None:
    for known in state.running():
        _show(Lab.attach(known.spec.name))


def _enter(args: argparse.Namespace) -> None:
    host = Lab.attach(args.name).hosts.get(args.host)
    if host is None:
        raise LabError(f"there is no host {args.host!r} in the lab {args.name!r}")
    argv = [*host.prefix(), *(args.argv or ["bash", "--login"])]
    os.execvpe(argv[0], argv, {**CLEAN_ENV, "TERM": os.environ.get("TERM", "dumb")})


def _down(args: argparse.Namespace) -> None:
    Lab.attach(args.name).down()


def _build(args: argparse.Namespace) -> None:
    apt.ensure_tools()
    for name in args.releases or sorted(RELEASES):
        spec = LabSpec("build", release=name, preinstalled=True)
        with Screen() as screen:
            screen.section(f"What hosts of Debian {name} are made of")
            prepare(spec, screen.doing)
            screen.event("ready to boot")


def _packages(args: argparse.Namespace) -> None:
    if args.purpose == "python" and not shutil.which("dpkg-query"):
        # Whoever works elsewhere has a Python that is complete, or sees it in what pip says.
        return
    wanted = {"python": apt.python_packages(), "lab": apt.lab_packages()}
    wanted["database"] = (*apt.lab_packages(), *apt.DATABASE)
    missing = apt.missing(*wanted[args.purpose])
    if not missing:
        return
    if os.geteuid() != 0:
        raise LabError(f"install these first, as root: apt-get install {' '.join(missing)}")
    with Screen() as screen:
        listed = f"{len(missing)} packages: {', '.join(missing)}"
        screen.section(f"Installing on this machine {listed}")
        apt.install(missing, screen.doing)
        screen.event("installed, with what they depend on")
    if "pgbouncer" in missing and os.path.isdir("/run/systemd/system"):
        # Its package starts one. Tests run their own.
        run(["systemctl", "disable", "--now", "--quiet", "pgbouncer"])


def _watch(args: argparse.Namespace) -> None:
    with Screen() as screen:
        screen.section(args.title)
        follow(
            args.argv, progress.pip(screen.doing), timeout=_WATCHED_SECONDS, env=pip_environment()
        )
        screen.event("installed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    # What hosts get is for all of their users to read.
    os.umask(0o022)
    args = _parser().parse_args(arguments)
    action = {"up": _up, "list": _list, "enter": _enter, "down": _down, "build": _build}
    action |= {"packages": _packages, "watch": _watch}
    try:
        action[args.command](args)
    except LabError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
