"""Whether a running server's configuration is the one in its files."""

import time
from dataclasses import dataclass

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import existing
from saltext_repmgr.utils import host
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils.facts import Configuration
from saltext_repmgr.utils.facts import Override

_FILES = """
SELECT extract(epoch FROM pg_conf_load_time())::float8 AS loaded,
       current_setting('config_file') AS config, current_setting('hba_file') AS hba,
       current_setting('ident_file') AS ident,
       current_setting('data_directory') || '/postgresql.auto.conf' AS auto
"""
_INCLUDED = "SELECT DISTINCT sourcefile FROM pg_file_settings"
_SETTINGS_ERRORS = """
SELECT name, sourcefile AS file, sourceline AS line, error
  FROM pg_file_settings WHERE error IS NOT NULL
"""
_HBA_ERRORS = """
SELECT current_setting('hba_file') AS file, line_number AS line, error
  FROM pg_hba_file_rules WHERE error IS NOT NULL
"""
# A server takes a slash at the end of its data directory for a change of it, also after a restart;
# whether it is the right directory is looked at elsewhere.
_RESTART = """
SELECT name FROM pg_settings WHERE pending_restart AND name <> 'data_directory' ORDER BY name
"""
_WAITING = "SELECT lower(name) AS name FROM pg_settings WHERE pending_restart"
_RELOAD_TIMEOUT = 10
# Those of the names that count when the server starts, and those that are in the file now.
_AT_START = """
SELECT s.name, s.setting, s.boot_val,
       (SELECT f.setting FROM pg_file_settings f
         WHERE lower(f.name) = s.name AND f.sourcefile <> %(file)s
         ORDER BY f.seqno DESC LIMIT 1) AS other
  FROM pg_settings s
 WHERE s.context = 'postmaster'
   AND (s.name = ANY (%(names)s)
        OR EXISTS (SELECT FROM pg_file_settings f
                    WHERE lower(f.name) = s.name AND f.sourcefile = %(file)s))
"""
_LINES = """
SELECT lower(name) AS name, setting AS value, sourcefile AS file, sourceline AS line
  FROM pg_file_settings WHERE name IS NOT NULL AND sourcefile IS NOT NULL ORDER BY seqno
"""
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
    wrong = [*_settings_errors(connection), *db.rows(connection, _HBA_ERRORS)]
    errors = [f"{r['file']} line {r['line']}: {r['error']}" for r in wrong]
    restart = [r["name"] for r in db.rows(connection, _RESTART)]
    return Pending(", ".join(stale), "; ".join(errors), ", ".join(restart))


def _stale(connection):
    files = db.row(connection, _FILES)
    loaded = files.pop("loaded")
    paths = set(files.values()) | {r["sourcefile"] for r in db.rows(connection, _INCLUDED)}
    return sorted(path for path in paths if path and host.changed_since(path, loaded))


def _settings_errors(connection):
    """What the server cannot read in its settings.

    It has the same words for a value that waits for a restart, and for a setting that was removed and
    waits for one a row with neither a name nor a file. It is asked what waits after it has read them.
    """
    found = db.rows(connection, _SETTINGS_ERRORS)
    waiting = {row["name"] for row in db.rows(connection, _WAITING)}
    for row in found:
        if row["file"] is None and any(f'parameter "{n}"' in row["error"].lower() for n in waiting):
            continue
        if row["error"] == "setting could not be applied" and row["name"].lower() in waiting:
            continue
        yield {**row, "error": ": ".join(filter(None, (row["name"], row["error"])))}


def otherwise(connection, names, path):
    """Return ``{name: value}``, what whole numbers would be without the settings file ``path``.

    connection
        A superuser's.
    """
    found = db.rows(connection, _OTHERWISE, {"names": list(names), "file": path})
    return {row["name"]: row["value"] for row in found}


def configuration(connection, path):
    """Return the :class:`~saltext_repmgr.utils.facts.Configuration` beside the settings file
    ``path``.

    connection
        A superuser's.
    """
    lines = [Override(**row) for row in db.rows(connection, _LINES)]
    automatic = db.row(connection, _FILES)["auto"]
    return beside(lines, path, automatic, confined.exists(path))


def beside(lines, path, automatic, exists):
    """Return the same. Pure.

    lines
        The lines of all files as the server reads them, each an
        :class:`~saltext_repmgr.utils.facts.Override`. The last one about a setting counts.
    automatic
        The path of ``postgresql.auto.conf``.
    exists
        Whether there is a file ``path``.
    """
    ours = {line.name: line for line in lines if line.file == path}
    last = {line.name: line for line in lines}
    others = {line.name: line for line in lines if line.file != path}
    overrides = [
        last[name]
        for name, line in ours.items()
        if last[name].file != path and _value(last[name].value) != _value(line.value)
    ]
    known = {name: line for name, line in others.items() if name in existing.KNOWN}
    return Configuration(
        others={name: line.value for name, line in known.items()},
        altered=tuple(name for name, line in known.items() if line.file == automatic),
        overrides=tuple(overrides),
        included=bool(ours) or not exists,
    )


def _value(text):
    """A value for a comparison: PostgreSQL has several words for yes and no."""
    lower = text.strip().lower()
    return {"true": "on", "yes": "on", "false": "off", "no": "off"}.get(lower, lower)


def reset(connection, gone):
    """Take settings out of ``postgresql.auto.conf``.

    gone
        Of :class:`~saltext_repmgr.utils.existing.Reset`.
    """
    for found in gone:
        db.run(connection, f"ALTER SYSTEM RESET {found.name}")


def restarted_for(connection, layout, settings):
    """Return the names of the settings that would wait for a restart, were they written.

    settings
        What the settings file is to hold, ``{name: value}``.

    The server's own program says what each of them means in the unit that the server counts in.
    """
    parameters = {"names": list(settings), "file": layout.settings_file}
    due = []
    for row in db.rows(connection, _AT_START, parameters):
        name, value = row["name"], row["other"]
        if name in settings:
            value = pg_settings.plain_value(settings[name])
        # A setting that is in no file any more has the server's own default.
        next_ = row["boot_val"] if value is None else host.setting(layout, name, {name: value})
        if row["setting"] not in (value, next_):
            due.append(name)
    return sorted(due)


def reload(connection):
    """Have the server read its files again, and return its :class:`Pending` afterwards."""
    began = time.time()
    before = db.row(connection, "SELECT pg_conf_load_time() AS at")["at"]
    db.run(connection, "SELECT pg_reload_conf()")
    deadline = time.monotonic() + _RELOAD_TIMEOUT
    while db.row(connection, "SELECT pg_conf_load_time() AS at")["at"] == before:
        # With an error in its settings the server keeps what it has, and its time.
        if any(_settings_errors(connection)) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    else:
        host.settle_times(_stale(connection), began)
    return pending(connection)
