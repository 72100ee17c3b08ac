"""The Salt of a lab: its commands, its pillar, and waiting for its minions."""

import contextlib
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from . import pillar
from .errors import CommandError
from .errors import CommandTimeout
from .errors import HostDown
from .errors import SaltNotAnswering
from .host import Host
from .process import wait_until
from .salt_cli import ASK_AFTER
from .salt_cli import SaltResult
from .salt_cli import arguments
from .salt_cli import run_salt

Target = str | Sequence[str]

# Time for a question to all minions, and for the command that asks it to start. Twice that for
# the next one, and so on: the machine may be busy.
_PING_SECONDS = 10


class SaltSide:
    """What a lab can do with Salt. :class:`~tests.lab.lab.Lab` has the hosts."""

    hosts: dict[str, Host]

    @property
    def master(self) -> Host:
        """The host with the Salt master."""
        raise NotImplementedError

    @property
    def nodes(self) -> list[Host]:
        """The hosts with a minion."""
        raise NotImplementedError

    # -- commands ---------------------------------------------------------------------------

    def salt(
        self,
        target: Target,
        function: str,
        *args: Any,
        timeout: float = 120,
        ask_after: int = ASK_AFTER,
        options: Sequence[str] = (),
        **kwargs: Any,
    ) -> SaltResult:
        """``salt TARGET FUNCTION …`` on the master.

        Salt reads arguments as it does on any command line: the text ``"1"`` arrives as a number.

        :param target: a glob, or a list of minion ids. For the id of one minion, ``data`` is the
            answer of that minion, else minion id -> answer.
        :param timeout: seconds after which the command is killed.
        :param ask_after: Salt's own ``--timeout``, seconds: a minion that answers neither in that
            time nor when asked about the job then is given up on.
        :param options: more options of the command.
        :raises CommandTimeout: see ``timeout``.
        """
        to = ["-L", ",".join(target)] if not isinstance(target, str) else [target]
        words = [*to, function, *arguments(args, kwargs)]
        only = target if isinstance(target, str) and target in self.hosts else None
        options = [f"--timeout={ask_after}", *options]
        return run_salt(self.master, "salt", words, only=only, timeout=timeout, options=options)

    def salt_run(
        self,
        function: str,
        *args: Any,
        timeout: float = 300,
        options: Sequence[str] = (),
        **kwargs: Any,
    ) -> SaltResult:
        """``salt-run FUNCTION …`` on the master; see :meth:`salt`."""
        words = [function, *arguments(args, kwargs)]
        return run_salt(self.master, "salt-run", words, timeout=timeout, options=options)

    def salt_call(
        self,
        host: Host | str,
        function: str,
        *args: Any,
        timeout: float = 120,
        options: Sequence[str] = (),
        **kwargs: Any,
    ) -> SaltResult:
        """``salt-call FUNCTION …`` on a node; ``data`` is the answer itself; see :meth:`salt`."""
        where = self.hosts[host] if isinstance(host, str) else host
        words = [function, *arguments(args, kwargs)]
        return run_salt(where, "salt-call", words, only="local", timeout=timeout, options=options)

    # -- pillar -----------------------------------------------------------------------------

    def set_pillar(self, repmgr: Mapping[str, Any], refresh: bool = True) -> None:
        """Make ``repmgr:`` with this below it the pillar of everybody."""
        self.set_pillar_files({"repmgr": {"repmgr": repmgr}}, refresh=refresh)

    def set_pillar_files(
        self,
        files: Mapping[str, Mapping[str, Any]],
        top: Mapping[str, Sequence[str]] | None = None,
        refresh: bool = True,
    ) -> None:
        """Replace the whole pillar.

        :param files: name of an SLS -> its data.
        :param top: target -> names of SLS; everybody gets all of them by default.
        :param refresh: let the minions that are up take notice at once.
        """
        contents = pillar.files(files, top)
        self.master.run(["find", pillar.DIRECTORY, "-mindepth", "1", "-delete"])
        for name, content in contents.items():
            # It holds passwords.
            self.master.write(f"{pillar.DIRECTORY}/{name}", content, mode=0o600)
        awake = [host.name for host in self.nodes if host.up]
        if refresh and awake:
            self.salt(awake, "saltutil.refresh_pillar", wait=True).raise_for_status()

    # -- readiness --------------------------------------------------------------------------

    def _connected(self, host: Host) -> bool:
        """Whether the minion of a host listens to the master, as both sides see it.

        After a power failure, one side alone may still hold on to a connection that is none.
        """
        listing = ["ss", "-Htn", "state", "established"]
        with contextlib.suppress(CommandError, HostDown):
            here = host.run([*listing, "dport = :4505"], timeout=10).stdout.splitlines()
            there = self.master.run([*listing, "sport = :4505"], timeout=10).stdout.splitlines()
            # Bytes waiting to be read, bytes waiting to be sent, own end, other end.
            return bool({line.split()[2] for line in here} & {line.split()[3] for line in there})
        return False

    def wait_for_minions(self, names: Sequence[str] | None = None, timeout: float = 120) -> None:
        """Wait until these minions (default: those of all hosts that are up) answer.

        :raises SaltNotAnswering: one did not within ``timeout`` seconds.
        """
        wanted = list(names) if names is not None else [h.name for h in self.nodes if h.up]
        deadline = time.monotonic() + timeout
        patience = _PING_SECONDS
        answer: Any = None
        silent = wanted
        while silent and time.monotonic() < deadline:
            # Looking costs next to nothing. Asking costs what the minions need to start.
            left = deadline - time.monotonic()
            wait_until(lambda: all(self._connected(self.hosts[n]) for n in wanted), left, step=0.2)
            with contextlib.suppress(CommandTimeout):
                # Salt itself would take 10 s more to find out that a question went unheard.
                answer = self.salt(wanted, "test.ping", timeout=patience, ask_after=60).data
                answered = answer if isinstance(answer, dict) else {}
                silent = [name for name in wanted if answered.get(name) is not True]
            patience *= 2
        if silent:
            raise SaltNotAnswering(
                f"no answer from {', '.join(silent)} within {timeout:g} s; got {answer!r}"
            )
