"""Run ``scripts/demo`` and ``scripts/test``, each as the first command of a bare machine.

For each release two machines are made and thrown away. On the first the demo builds a cluster,
twice: with nothing there, and with what the first one left in the cache. On the second the checks
run that are asked for.
"""

import argparse
import shlex
import signal
import sys
import time

from tests.lab.errors import LabError
from tests.lab.screen import Screen

from .machine import bare_machine

_RELEASES = ("bookworm", "trixie")
_CHECKS = ("lint", "unit", "docs", "functional")

# Without these the run would prove nothing.
_BARE = """
for tool in gcc cc pip pip3 sudo git debootstrap systemd-nspawn psql; do
  ! command -v $tool || { echo "not a bare machine: it has $tool"; exit 1; }
done
if python3 -c 'import ensurepip' 2>/dev/null; then
  echo "not a bare machine: python3 has ensurepip"; exit 1
fi
for path in /root/.cache/pip /var/cache/saltext-repmgr-lab .venv /usr/include/python3*; do
  [ ! -e "$path" ] || { echo "not a bare machine: it has $path"; exit 1; }
done
if ls /var/lib/apt/lists/*Packages* 2>/dev/null; then
  echo "not a bare machine: apt has lists of packages"; exit 1
fi
"""

_DEMO = """
set -e
seconds() { date +%s; }
began=$(seconds); scripts/demo --release "$RELEASE"; cold=$(($(seconds) - began))
scripts/demo status
scripts/demo down
began=$(seconds); scripts/demo --release "$RELEASE"; warm=$(($(seconds) - began))
scripts/demo down
[ -z "$(ls /var/lib/saltext-repmgr-lab)" ] || { echo "the demo left something behind"; exit 1; }
echo "== fresh $RELEASE: scripts/demo took $cold s with nothing there, $warm s the second time"
"""


def _scripts(release: str, checks: list[str]) -> dict[str, str]:
    """Command -> the script that runs it on a bare machine."""
    named = f"RELEASE={release}\n"
    scripts = {"scripts/demo": f"{named}{_BARE}{_DEMO}"}
    if checks:
        command = f"scripts/test {shlex.join(checks)}"
        scripts[command] = f"{named}{_BARE}exec {command}"
    return scripts


def _try(release: str, command: str, script: str) -> bool:
    began = time.monotonic()
    print(f"== fresh {release}: {command}, the first command of a bare machine", flush=True)
    with Screen() as screen:
        screen.section(f"A minimal Debian {release}")
        with bare_machine(release, screen.doing) as machine:
            screen.event("installed; what follows runs in it")
            screen.doing("")
            passed = machine.run(script) == 0
    outcome = "passed" if passed else "FAILED"
    print(f"== fresh {release}: {command}: {outcome} after {time.monotonic() - began:.0f} s")
    return passed


def main(arguments: list[str]) -> int:
    """Run all that is asked for and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fresh", description=__doc__)
    parser.add_argument("--release", choices=_RELEASES, action="append")
    parser.add_argument(
        "--checks", default=",".join(_CHECKS), help="of scripts/test; default: %(default)s"
    )
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    failed = []
    try:
        for release in args.release or _RELEASES:
            for command, script in _scripts(
                release, list(filter(None, args.checks.split(",")))
            ).items():
                if not _try(release, command, script):
                    failed.append(f"{command} on {release}")
    except LabError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    if failed:
        print(f"failed on a bare machine: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
