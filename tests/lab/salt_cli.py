"""Salt's own commands, run on the hosts, their answers as data.

The daemons are systemd units of the hosts: they have to come back after a power failure like
everything else there, so nothing on this machine starts or watches them.
"""

import json
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import CommandError
from .host import Host

#: How long Salt waits for a minion before it asks whether the job still runs there, in seconds.
ASK_AFTER = 10


@dataclass(frozen=True)
class SaltResult:
    """What one of Salt's commands said. ``data`` is ``None`` when that was no JSON."""

    cmdline: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    data: Any

    def raise_for_status(self) -> "SaltResult":
        """Return this result, or raise :class:`CommandError` if the command failed."""
        if self.returncode:
            raise CommandError(self.cmdline, self.returncode, self.stdout, self.stderr)
        return self


def arguments(args: Iterable[Any], kwargs: dict[str, Any]) -> list[str]:
    """Words for Salt's command line; what is not text travels as JSON, which is YAML, too."""
    words = [arg if isinstance(arg, str) else json.dumps(arg) for arg in args]
    for key, value in kwargs.items():
        words.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    return words


def parse(stdout: str) -> Any:
    """The data in what a command printed; ``None`` when there is none."""
    # salt prints one document per minion, or one sentence when there is nothing to say.
    for text in (stdout, stdout.replace("}\n{", ", ")):
        try:
            data = json.loads(text)
        except ValueError:
            continue
        return None if isinstance(data, str) else data
    return None


def _run_plainly(
    host: Host, command: str, words: Sequence[str], only: str | None, timeout: float
) -> tuple[int, str, str, Any]:
    """What :func:`tests.lab.factories.run` does, where pytest-salt-factories is not installed."""
    done = host.run([command, *words], check=False, timeout=timeout)
    data = parse(done.stdout)
    if only is not None and isinstance(data, dict) and only in data:
        data = data[only]
    return done.returncode, done.stdout, done.stderr, data


def run_salt(
    host: Host,
    command: str,
    words: Sequence[str],
    *,
    only: str | None = None,
    timeout: float,
    options: Sequence[str] = (),
) -> SaltResult:
    """Run one of Salt's commands on a host.

    :param only: return no more than the answer of this minion.
    :param timeout: seconds after which the command is killed.
    :raises CommandTimeout: that happened.
    """
    everything = ["--out=json", "--out-indent=0", "--log-level=error", *options, *words]
    try:
        from .factories import run  # pylint: disable=import-outside-toplevel
    except ImportError:
        run = _run_plainly
    result = run(host, command, everything, only, timeout)
    return SaltResult((host.name, command, *everything), *result)
