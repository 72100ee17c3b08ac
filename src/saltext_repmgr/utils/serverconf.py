"""Whether a running server's configuration is the one in its files."""

import time
from dataclasses import dataclass

from saltext_repmgr.utils import db
from saltext_repmgr.utils import host

_FILES = """
SELECT extract(epoch FROM pg_conf_load_time())::float8 AS loaded,
       current_setting('config_file') AS config, current_setting('hba_file') AS hba,
       current_setting('ident_file') AS ident,
       current_setting('data_directory') || '/postgresql.auto.conf' AS auto
"""
_INCLUDED = "SELECT DISTINCT sourcefile FROM pg_file_settings"
# pg_file_settings has the same words for a value the server cannot read and for one that
# waits for a restart; only the latter is pending.
_SETTINGS_ERRORS = """
SELECT sourcefile AS file, sourceline AS line, concat_ws(': ', name, error) AS error
  FROM pg_file_settings
 WHERE error IS NOT NULL
   AND NOT (error = 'setting could not be applied'
            AND lower(name) IN (SELECT lower(s.name) FROM pg_settings s WHERE pending_restart))
"""
_ERRORS = f"""{_SETTINGS_ERRORS} UNION ALL
SELECT current_setting('hba_file'), line_number, error
  FROM pg_hba_file_rules WHERE error IS NOT NULL
"""
_RESTART = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name"
_RELOAD_TIMEOUT = 10
# The last one counts; where no file names it, the server's own default does.
_OTHERWISE = """
SELECT s.name,
       coalesce((SELECT f.setting FROM pg_file_settings f
                  WHERE lower(f.name) = s.name AND f.sourcefile <> %(file)s
                  ORDER BY f.seqno DESC LIMIT 1), s.boot_val)::int AS value
  FROM pg_settings s WHERE s.name = ANY (%(names)s)
"""


@dataclass(frozen=True)
class Pending:
    """What stands between the files and the running server; empty strings mean nothing.

    stale_files
        Files that changed after the server read them.
    errors
        What the server cannot read in them, with file and line.
    restart
        Settings that wait for a restart.
    """

    stale_files: str
    errors: str
    restart: str


def pending(connection):
    """Return the :class:`Pending` of the server at the other end of a superuser connection
    on this host."""
    stale = _stale(connection)
    errors = [f"{r['file']} line {r['line']}: {r['error']}" for r in db.rows(connection, _ERRORS)]
    restart = [r["name"] for r in db.rows(connection, _RESTART)]
    return Pending(", ".join(stale), "; ".join(errors), ", ".join(restart))


def _stale(connection):
    files = db.row(connection, _FILES)
    loaded = files.pop("loaded")
    paths = set(files.values()) | {r["sourcefile"] for r in db.rows(connection, _INCLUDED)}
    return sorted(path for path in paths if path and host.changed_since(path, loaded))


def otherwise(connection, names, path):
    """Return ``{name: value}``, what whole numbers would be without the settings file ``path``.

    connection
        A superuser's.
    """
    found = db.rows(connection, _OTHERWISE, {"names": list(names), "file": path})
    return {row["name"]: row["value"] for row in found}


def reload(connection):
    """Have the server read its files again, and return its :class:`Pending` afterwards."""
    began = time.time()
    before = db.row(connection, "SELECT pg_conf_load_time() AS at")["at"]
    db.run(connection, "SELECT pg_reload_conf()")
    deadline = time.monotonic() + _RELOAD_TIMEOUT
    while db.row(connection, "SELECT pg_conf_load_time() AS at")["at"] == before:
        # With an error in its settings the server keeps what it has, and its time.
        if db.rows(connection, _SETTINGS_ERRORS) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    else:
        host.settle_times(_stale(connection), began)
    return pending(connection)
