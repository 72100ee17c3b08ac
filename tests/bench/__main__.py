"""The command line of ``scripts/bench``."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import LabError
from tests.lab.screen import Screen

from . import build
from . import failover
from . import switchover

_RELEASES = ("bookworm", "trixie")
_SUBJECTS = {
    "build": build.measure,
    "failover": failover.measure,
    "switchover": switchover.measure,
}
_RUNS = {"build": 3, "failover": 5, "switchover": 5}


def _runs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures this project next to what could be had at best, in one run on this"
        " machine. It makes hosts of its own and needs root. Exits 0 whatever the figures are.",
    )
    parser.add_argument(
        "subject",
        nargs="?",
        choices=sorted(_SUBJECTS),
        default="build",
        help="build: three hosts become a cluster (the default); failover: how long nobody can"
        " write when a primary is lost; switchover: how long clients wait when it is moved",
    )
    defaults = ", ".join(f"{runs} for {subject}" for subject, runs in _RUNS.items())
    parser.add_argument("--runs", "--rounds", type=_runs, help=f"of each; default: {defaults}")
    parser.add_argument("--release", choices=_RELEASES, default=_RELEASES[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--name", default="bench", help="name of its lab; default: %(default)s")
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure, and return 0 if there are figures."""
    args = _parser().parse_args(argv)
    if os.geteuid() != 0:
        print("scripts/bench: makes whole hosts, so it needs root", file=sys.stderr)
        return 2
    try:
        with Screen() as screen:
            runs = args.runs or _RUNS[args.subject]
            figures = _SUBJECTS[args.subject](args.name, args.release, runs, screen)
        if args.json:
            args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except (LabError, OSError) as err:
        print(f"\nscripts/bench: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscripts/bench: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
