"""The few things that change a host's PgBouncer, and what has to be known before."""

import os
import pwd
import subprocess
import tempfile
from pathlib import Path

from saltext_repmgr.utils import act
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import router_access
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import router_observe
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import NotInstalledError
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.spec import ROUTER_ROLE
from saltext_repmgr.utils.spec import Layout

# It takes some milliseconds, on a host that has nothing else to do.
_TRIAL_SECONDS = 30
# Given in octal, shown as a decimal.
_MODE = "unix_socket_mode"
_FUNCTION = f"SELECT to_regprocedure('{router_access.FUNCTION}') IS NOT NULL AS there"
_WORDS = {"true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}


def has_databases():
    """Return whether there is a file for PgBouncer to include."""
    return confined.exists(router_files.DATABASES)


def have_databases():
    """Make the file that PgBouncer includes, unless there is one: what the router wrote counts."""
    confined.create(router_files.DATABASES, "[databases]\n", 0o644, Layout.os_user)


def auth_query(spec, test=False):
    """Return by which query PgBouncer is to look up its clients.

    The function that it calls is made on the primary. Where the file in force has the query of a
    release before, that stays until every server that answers has the new function.

    test
        Whether to say what comes of an orchestration, which makes the function first.
    """
    try:
        text = confined.read(router_files.INI)
    except OSError:
        text = ""
    before = f"auth_query = {router_access.FORMER_QUERY}\n" in text
    if test or not before or _all_have_function(spec):
        return router_access.AUTH_QUERY
    return router_access.FORMER_QUERY


def _all_have_function(spec):
    password = passwords.router_password(spec)
    said = [
        _has_function(spec, node, name, password)
        for node in spec.data_nodes
        for name in spec.pgbouncer.databases
    ]
    return True in said and False not in said


def _has_function(spec, node, database, password):
    """Whether a server has it; None where it cannot be asked, or has no such database."""
    where = (node.host, spec.postgres.port, ROUTER_ROLE, database)
    try:
        with db.connect(*where, password=password) as connection:
            return db.row(connection, _FUNCTION)["there"]
    except RepmgrError:
        return None


def try_out(text):
    """Have a PgBouncer read a configuration, for a moment, without any port.

    Raises :class:`~saltext_repmgr.utils.errors.Refused` with what it said where it does not take
    it.
    """
    account = pwd.getpwnam(Layout.os_user)
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as directory:
        path = Path(directory, "pgbouncer.ini")
        # The last word about a setting counts.
        trial = (
            f"{text}listen_addr =\nunix_socket_dir = {directory}\n"
            f"logfile =\npidfile = {directory}/pid\n"
        )
        confined.write(path, trial, 0o644)
        # Last: from now on that user may put there what it likes.
        os.chown(directory, account.pw_uid, account.pw_gid)
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            taken = _opens_its_socket(path, output)
            output.seek(0)
            lines = split_lines(output.read())
    if not taken:
        said = [line.partition(" ERROR ")[2] or line.partition(" FATAL ")[2] for line in lines]
        why = "; ".join(filter(None, said)) or "it said nothing, and opened no socket"
        raise Refused(
            f"PgBouncer refuses the new configuration: {why}. The old one stays in force. Correct"
            " repmgr.pgbouncer.settings in pillar"
        )


def _opens_its_socket(path, output):
    """Run a PgBouncer until it has read its configuration, which it does before all else."""
    try:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [router_observe.PROGRAM, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **host.as_user(Layout.os_user),
        )
    except FileNotFoundError as err:
        raise NotInstalledError(f"{router_observe.PROGRAM} is not installed") from err
    try:
        for _ in act.polls(_TRIAL_SECONDS):
            if process.poll() is not None:
                return False
            if any(path.parent.glob(".s.PGSQL.*")):
                return True
        return False
    finally:
        process.kill()
        process.wait()


def needs_restart(spec):
    """Return whether the running PgBouncer has a setting that it cannot change while it runs."""
    import psycopg2

    asked = router_observe.console(spec)
    try:
        rows = asked.ask("SHOW CONFIG")
    except (psycopg2.Error, NotInstalledError):
        # It may listen elsewhere until now.
        return True
    finally:
        asked.close()
    wanted = router_files.settings(spec)
    return any(
        _plain(wanted.get(row["key"], row.get("default") or row["value"]), row["key"] == _MODE)
        != _plain(row["value"])
        for row in rows
        if row["changeable"] == "no"
    )


def _plain(value, octal=False):
    text = str(value or "").strip().lower()
    if octal and text:
        return str(int(text, 8))
    return _WORDS.get(text, text)


def console_error(spec):
    """Return why PgBouncer's console does not answer; an empty string when it does."""
    import psycopg2

    asked = router_observe.console(spec)
    try:
        asked.ask("SHOW VERSION")
    except (psycopg2.Error, NotInstalledError, CommandFailed) as err:
        return " ".join(str(err).split())
    finally:
        asked.close()
    return ""
