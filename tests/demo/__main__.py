"""The command line of ``scripts/demo``."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from tests.lab import Lab
from tests.lab import LabError
from tests.lab import LabRunning
from tests.lab import NoSuchLab
from tests.lab.paths import cache_dir
from tests.lab.screen import Screen
from tests.lab.spec import MASTER

from . import hosts
from . import tour
from .orchestrate import COMMAND

_COMMANDS = ("up", "status", "enter", "down")
_MOST_NODES = 9
_RELEASES = ("bookworm", "trixie")


def _node_count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= _MOST_NODES:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_NODES}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Makes a Salt master and bare Debian hosts on this machine, builds a PostgreSQL"
        " cluster on them, and shows what came of it. Needs root.",
        epilog="Without a command: up, which takes --nodes N and --release RELEASE.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="demo", help="name of this demo; default: %(default)s")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    up = commands.add_parser("up", parents=[common], help="do all of it")
    up.add_argument(
        "--nodes", type=_node_count, default=3, metavar="N", help="how many; default: %(default)s"
    )
    up.add_argument("--release", choices=_RELEASES, default=_RELEASES[0])
    commands.add_parser("status", parents=[common], help="show the hosts and the cluster")
    enter = commands.add_parser(
        "enter", parents=[common], help="get a shell on a host, or run a command there, as root"
    )
    enter.add_argument("host", metavar="HOST", help=f"a node, or {MASTER}")
    enter.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.add_parser("down", parents=[common], help="remove the hosts and all that is on them")
    return parser


def _call(args: argparse.Namespace, *words: str) -> str:
    """How this person calls this script."""
    start = ["sudo"] * ("SUDO_UID" in os.environ) + ["scripts/demo", words[0]]
    if args.name != "demo":
        start.append(f"--name={args.name}")
    return " ".join([*start, *words[1:]])


def _up(args: argparse.Namespace) -> None:
    with contextlib.suppress(NoSuchLab):
        _refuse(args, Lab.attach(args.name))
    lab, pillar = hosts.new_lab(args.name, args.nodes, args.release)
    with Screen() as screen:
        tour.build(lab, pillar, screen)
        try:
            tour.tour(lab, screen)
        except BaseException:
            screen.section("The hosts are left as they are, to be looked at")
            screen.verbatim(_ways_on(args, lab))
            screen.text("On each: journalctl, /var/log/salt, /var/log/postgresql")
            raise
        screen.section("All yours")
        screen.verbatim(_ways_on(args, lab))


def _refuse(args: argparse.Namespace, lab: Lab) -> None:
    names = ", ".join(host.name for host in lab)
    raise LabRunning(
        f"a demo is up already: {names} (Debian {lab.spec.release})\n"
        f"  look at it:  {_call(args, 'status')}\n"
        f"  remove it:   {_call(args, 'down')}"
    )


def _ways_on(args: argparse.Namespace, lab: Lab) -> str:
    ways = (
        (_call(args, "enter", MASTER), "a shell on the Salt master; in it:"),
        ("", "  salt '*' repmgr_node.plan"),
        ("", f"  {COMMAND}"),
        (_call(args, "enter", lab.nodes[-1].name), "a shell on a node"),
        (_call(args, "status"), "the hosts and the cluster"),
        (_call(args, "down"), "remove it all"),
    )
    width = max(len(command) for command, _ in ways)
    return "\n".join(f"{command:<{width}}   {what}" for command, what in ways)


def _status(args: argparse.Namespace) -> None:
    lab = Lab.attach(args.name)
    with Screen() as screen:
        screen.section(f"Hosts: Debian {lab.spec.release}, Salt {lab.spec.salt}")
        for host in lab:
            screen.text(f"{host.name:<9} {host.address:<11} {'up' if host.up else 'OFF'}")
        for host in lab.nodes:
            if host.up:
                tour.look(host, screen)
                break


def _enter(args: argparse.Namespace) -> None:
    lab = Lab.attach(args.name)
    host = lab.hosts.get(args.host)
    if host is None:
        raise LabError(f"there is no host {args.host!r}; there are: {', '.join(lab.hosts)}")
    if not host.up:
        raise LabError(f"{host.name} is off")
    argv = [*host.prefix(), *(args.argv or ["bash", "--login"])]
    kept = {"TERM": os.environ.get("TERM", "dumb"), "LANG": "C.UTF-8", "HOME": "/root"}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.execvpe(argv[0], argv, {**kept, "PATH": path, "USER": "root", "LOGNAME": "root"})


def _down(args: argparse.Namespace) -> None:
    lab = Lab.attach(args.name)
    try:
        lab.down()
    except LabError:
        # On a busy machine the hosts are gone long before their disks are removed.
        if _is_up(args.name):
            raise
    print(f"The hosts are gone. {cache_dir()} stays: with it the next demo starts in seconds.")


def _is_up(name: str) -> bool:
    try:
        Lab.attach(name)
    except NoSuchLab:
        return False
    return True


def main(argv: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    words = list(argv)
    if not words or words[0] not in (*_COMMANDS, "-h", "--help"):
        words.insert(0, "up")
    args = _parser().parse_args(words)
    if os.geteuid() != 0:
        print(
            "scripts/demo: makes whole hosts, so it needs root: sudo scripts/demo", file=sys.stderr
        )
        return 2
    commands = {"up": _up, "status": _status, "enter": _enter, "down": _down}
    try:
        commands[args.command](args)
    except NoSuchLab:
        print(f"scripts/demo: no demo is up; start one: {_call(args, 'up')}", file=sys.stderr)
        return 1
    except LabError as err:
        print(f"\nscripts/demo: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscripts/demo: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
