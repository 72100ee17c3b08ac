"""A start of PostgreSQL with new settings, on a directory of its own, before the server gets them.

What keeps a server from starting is only found by a start: a library that is not installed, a
missing certificate, an address of another host, more memory than there is. Nothing of the
server's own is touched: the trial has data, a port and copies of the configuration files of its
own, and lets nobody in but the postgres user of this host.
"""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import host
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.scrub import scrub

_START_SECONDS = 120
# Should the minion be killed meanwhile, the trial ends by itself.
_LIFE_SECONDS = 180
_INITDB_SECONDS = 300
_MOST_WORDS = 1500
# Relative to the data directory, which is another one here.
_TLS_FILES = (
    *("ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_crl_dir"),
    "ssl_dh_params_file",
)
# Another server's history, and where it streams from.
_OF_RECOVERY = re.compile(r"\s*(primary_|recovery_target|promote_trigger_file)")
_SAID = re.compile(r"^.*?\b(?:FATAL|PANIC|ERROR|WARNING|LOG|DETAIL|HINT|CONTEXT):\s+(.*)")
_USUAL = re.compile(
    r"(starting PostgreSQL|listening on|database system|received|shutting down|redirecting|"
    r"aborting startup|background worker|the database system)"
)
_NO_SUCH_NAME = re.compile(r'invalid configuration parameter name "([^"]+)"')
_LET_IN = "local all postgres peer\nlocal all,replication all reject\nhost all,replication all all reject\n"


def of_look(look):
    """Raise :class:`~saltext_repmgr.utils.errors.Refused` where there is an :func:`objection`."""
    words = objection(look)
    if words:
        raise Refused(f"{words}. The server was not touched, and what it has stays in force")


def objection(look):
    """Try the settings and the rules that a node is to have now.

    look
        A :class:`~saltext_repmgr.utils.look.Look`.

    Returns PostgreSQL's own words and the keys of pillar where no server starts with them, else an
    empty string. A key is named when the server does start without it.
    """
    running = _running(look) if look.seen.running else {}
    with _scratch(look.layout) as scratch:
        scratch.running = running
        words = scratch.start(*_texts(look, look.spec))
        if not words:
            return ""
        keys = [k for k, spec in _without(look.spec) if not scratch.start(*_texts(look, spec))]
    where = f"{' or '.join(keys)} in pillar"
    if not keys:
        where = "repmgr.postgres in pillar, or the other files of the server"
    return f"PostgreSQL does not start with this configuration: {words}. Correct {where}"


def _texts(look, spec):
    settings, _ = limits.settle(spec, look.node, look.seen)
    return pg_settings.render(settings), hba.block(hba.cluster_rules(spec))


def _without(spec):
    """Yield ``(key, spec)`` for each value of pillar that may be at fault, and the pillar without
    it."""
    postgres = spec.postgres
    for name in postgres.settings:
        rest = {n: value for n, value in postgres.settings.items() if n != name}
        changed = dataclasses.replace(postgres, settings=rest)
        yield f"repmgr.postgres.settings.{name}", dataclasses.replace(spec, postgres=changed)
    for index in range(len(postgres.hba)):
        rest = postgres.hba[:index] + postgres.hba[index + 1 :]
        changed = dataclasses.replace(postgres, hba=rest)
        yield f"repmgr.postgres.hba.{index}", dataclasses.replace(spec, postgres=changed)


def _running(look):
    """Return what the running server holds of the memory, and gives back when it is restarted."""
    query = "SELECT name, setting FROM pg_settings WHERE name IN ('shared_buffers', 'huge_pages')"
    with contextlib.suppress(RepmgrError), look.connection() as connection:
        return {row["name"]: row["setting"] for row in db.rows(connection, query)}
    return {}


@contextlib.contextmanager
def _scratch(layout):
    account = host.as_user(layout.os_user)
    with tempfile.TemporaryDirectory(prefix="repmgr-trial-") as name:
        # root writes here, postgres only below "work": neither follows the other's links.
        os.chown(name, 0, account["group"])
        os.chmod(name, 0o750)
        work = Path(name, "work")
        work.mkdir(mode=0o700)
        os.chown(work, account["user"], account["group"])
        yield _Scratch(layout, Path(name), work)


class _Scratch:
    """Files for a trial; it may be started many times."""

    def __init__(self, layout, directory, work):
        self.layout, self._directory = layout, directory
        self._data, self._conf = work / "data", work / "conf"
        self._port = _free_port()
        self.running = {}
        # What the server itself cannot read does not count for it either.
        self._as_postgres("cp", "-RL", layout.config_directory, str(self._conf))

    def start(self, settings, block):
        """Start a server with the text of our settings file and our lines of ``pg_hba.conf``, and
        stop it. Return why it does not start, in PostgreSQL's words, or an empty string."""
        self._write(self._conf / "conf.d" / Path(self.layout.settings_file).name, settings)
        self._write(self._conf / "pg_hba.conf", _LET_IN + self._hba(block))
        self._have_data()
        asked = self._ask("shared_buffers")
        if asked.returncode:
            return self._words(asked.stderr)
        options = [*self._options(), *self._memory(int(asked.stdout)), *self._tls()]
        with open(self._directory / "said", "w+", encoding="utf-8", errors="replace") as output:
            error = self._run(options, output)
            output.seek(0)
            text = output.read()
        unknown = _NO_SUCH_NAME.search(text)
        if error is None and unknown is None:
            return ""
        return self._words(unknown[0] if error is None else error or text)

    def _run(self, options, output):
        """Return None where the server started, else an error of its session or ''."""
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["timeout", "--signal=QUIT", "--kill-after=5", str(_LIFE_SECONDS)]
            + [f"{self.layout.bindir}/postgres", "-D", str(self._data), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            **host.as_user(self.layout.os_user),
        )
        try:
            return self._await(process)
        finally:
            # It has nothing to lose. "timeout" hands the signal on.
            process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _await(self, process):
        user = self.layout.os_user
        for _ in act.polls(_START_SECONDS):
            if process.poll() is not None:
                return ""
            try:
                # Libraries of sessions are loaded by a session.
                with db.connect(
                    self.layout.socket_directory, self._port, user, "postgres", os_user=user
                ):
                    return None
            except ConnectionFailed as err:
                if err.kind is Reach.REJECTED and "the database system is" not in str(err):
                    return str(err)
        raise CommandFailed(
            f"PostgreSQL, tried with the new settings on a scratch directory, is not ready after"
            f" {_START_SECONDS} s; nothing was written. Run again when this host has less to do"
        )

    def _options(self):
        own = {
            "config_file": self._conf / "postgresql.conf",
            "data_directory": self._data,
            "hba_file": self._conf / "pg_hba.conf",
            "ident_file": self._conf / "pg_ident.conf",
            # Debian's is what systemd knows the real server by.
            "external_pid_file": self._conf / "pid",
            "port": self._port,
            "archive_mode": "off",
            "fsync": "off",
            "autovacuum": "off",
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_line_prefix": "",
            "log_min_messages": "warning",
            "lc_messages": "C",
        }
        if self.layout.version < 15:
            own["stats_temp_directory"] = "pg_stat_tmp"
        return [word for name, value in own.items() for word in ("-c", f"{name}={value}")]

    def _memory(self, blocks):
        """What the running server has it gives back before it starts with the new settings."""
        held = int(self.running.get("shared_buffers", 0))
        options = ["-c", f"shared_buffers={max(blocks - held, 16)}"] if held else []
        return options + (
            ["-c", "huge_pages=off"] if self.running.get("huge_pages") == "on" else []
        )

    def _tls(self):
        options = []
        if self._ask("ssl").stdout.strip() == "on":
            for name in _TLS_FILES:
                value = self._ask(name).stdout.strip()
                if value and not value.startswith("/"):
                    options += ["-c", f"{name}={self.layout.data_directory}/{value}"]
        return options

    def _ask(self, name):
        argv = [f"{self.layout.bindir}/postgres", "-D", str(self._data), "-C", name]
        options = ("config_file", "data_directory", "hba_file", "ident_file", "external_pid_file")
        given = self._options()
        pairs = zip(given[::2], given[1::2])
        kept = [w for pair in pairs if pair[1].partition("=")[0] in options for w in pair]
        return self._as_postgres(*argv, *kept)

    def _have_data(self):
        if (self._directory / "made").exists():
            return
        argv = [f"{self.layout.bindir}/initdb", "--no-sync", "--auth=peer", "--encoding=UTF8"]
        argv += ["--locale=C", f"--wal-segsize={self._segment_size()}", "-D", str(self._data)]
        host.ask(argv, timeout=_INITDB_SECONDS, user=self.layout.os_user)
        altered = self._as_postgres("cat", f"{self.layout.data_directory}/postgresql.auto.conf")
        kept = [line for line in split_lines(altered.stdout) if not _OF_RECOVERY.match(line)]
        self._write(self._data / "postgresql.auto.conf", "".join(f"{line}\n" for line in kept))
        (self._directory / "made").touch()

    def _segment_size(self):
        """In megabytes, as on the real server: the limits of the WAL go by it."""
        try:
            return host.control_file(self.layout).segment_size // 2**20
        except RepmgrError:
            return 16

    def _hba(self, block):
        """The server's own file, with another block of ours."""
        text = self._as_postgres("cat", f"{self.layout.config_directory}/pg_hba.conf").stdout
        begin, end = (f"# repmgr, written by Salt: {word}" for word in ("begin", "end"))
        head, found, rest = text.partition(f"{begin}\n")
        return block + (head + rest.partition(f"{end}\n")[2] if found else text)

    def _write(self, path, text):
        handed = self._directory / "handed-over"
        handed.write_text(text, encoding="utf-8")
        os.chown(handed, 0, host.as_user(self.layout.os_user)["group"])
        handed.chmod(0o640)
        self._as_postgres("mkdir", "-p", str(path.parent))
        host.ask(["cp", str(handed), str(path)], user=self.layout.os_user)

    def _as_postgres(self, *argv):
        return host.attempt(list(argv), user=self.layout.os_user)

    def _words(self, text):
        said = [m[1] if (m := _SAID.match(line)) else line for line in split_lines(text)]
        told = "; ".join(line.strip() for line in said if line.strip() and not _USUAL.match(line))
        told = told.replace(str(self._conf), self.layout.config_directory)
        told = told.replace(str(self._data), self.layout.data_directory)
        return scrub(told)[:_MOST_WORDS].rstrip(".") or "it ended without a word"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
