"""What a server had before this extension came, and how its settings file respects that. Pure.

A default of ours is a lower limit: where another file of the server asks for more, the settings
file says that. Only a value in pillar lowers a setting. docs/adoption.md has the whole table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import facts

LIBRARY = "repmgr"
_LEVELS = ("minimal", "replica", "logical")

# A standby with one of these stops its replay at some point and may promote itself, or does not
# follow a new primary. A primary does not look at them: they may be left of its own recovery.
TARGETS = {
    "promote_trigger_file": "",
    "recovery_target": "",
    "recovery_target_lsn": "",
    "recovery_target_name": "",
    "recovery_target_time": "",
    "recovery_target_timeline": "latest",
    "recovery_target_xid": "",
}
# What the settings file says to that, always.
NEUTRAL = {name: value for name, value in TARGETS.items() if name != "promote_trigger_file"}
# A clone also does without a delay that was meant for another server.
CLONE = {**TARGETS, "recovery_min_apply_delay": "0"}


def split_list(value):
    """The names in a list setting, given as a sequence or as a comma separated string."""
    items = value if isinstance(value, (list, tuple)) else str(value).split(",")
    stripped = (str(item).strip().strip('"') for item in items)
    return [item for item in stripped if item]


def reaches_others(addresses):
    """Whether a server with these ``listen_addresses`` can be reached from another host."""
    names = [name.lower() for name in split_list(addresses)]
    return any(not (n in ("localhost", "::1") or n.startswith("127.")) for n in names)


def with_library(libraries):
    """A value of ``shared_preload_libraries``, with repmgr's library added at its end."""
    names = split_list(libraries)
    # Some libraries insist on being the first one, repmgr does not.
    return ",".join(names if LIBRARY in names else [*names, LIBRARY])


def _on(value):
    return str(value).lower() in ("on", "true", "yes", "1")


def _higher(default, found):
    return max(default, int(found)) if str(found).isdigit() else default


def _higher_level(default, found):
    levels = [str(v).lower() for v in (default, found) if str(v).lower() in _LEVELS]
    return max(levels, key=_LEVELS.index)


# name -> (our default, what another file says) -> the value to write
_MERGE = {
    "listen_addresses": lambda default, found: found if reaches_others(found) else default,
    "max_replication_slots": _higher,
    "max_wal_senders": _higher,
    "password_encryption": lambda default, found: found,
    "shared_preload_libraries": lambda default, found: with_library(found),
    "wal_level": _higher_level,
}
# What a default does not lower, and how a server that is down is asked.
KEPT = tuple(_MERGE)
_RUNNING = ("max_replication_slots", "max_wal_senders", "wal_level")
# What ALTER SYSTEM may have said against the settings that repmgr needs.
_NEEDED = (*KEPT, "hot_standby", "wal_log_hints")
KNOWN = (*_NEEDED, *CLONE)


def combine(files: Mapping[str, str], running: Mapping[str, str], primary: Mapping[str, str]):
    """Return ``{name: value}`` that no default of ours may lower on a node.

    files
        What the other files of its server say.
    running, primary
        As its server runs, and the primary that it is a standby of.

    A server that runs with more is left with it: subscribers count on it. A clone to be has what
    its primary has.
    """
    found = dict(files)
    for name in _RUNNING:
        values = [m[name] for m in (files, running, primary) if name in m]
        if values:
            found[name] = max(values, key=lambda value, name=name: _rank(name, value))
    for name in ("password_encryption", "shared_preload_libraries"):
        if name in primary:
            found.setdefault(name, primary[name])
    return found


def _rank(name, value):
    if name == "wal_level":
        return _LEVELS.index(value.lower()) if value.lower() in _LEVELS else -1
    return int(value) if value.isdigit() else -1


def merge(defaults: Mapping[str, object], found: Mapping[str, str]):
    """Return the defaults as they have to be on a server whose other files say ``found``."""
    return {
        name: _MERGE[name](value, found[name]) if name in found and name in _MERGE else value
        for name, value in defaults.items()
    }


def left_over(found: Mapping[str, str], names: Mapping[str, str]):
    """Return those of ``found`` that are left of a recovery, and are not harmless.

    names
        ``{name: harmless value}``.
    """
    return {n: v for n, v in found.items() if n in names and v.lower() != names[n]}


@dataclass(frozen=True)
class Reset:
    """A setting of ``postgresql.auto.conf`` that has to go, and why."""

    name: str
    value: str
    reason: str

    @property
    def line(self):
        """All of it in one line."""
        return f"{self.name} = '{self.value}' by ALTER SYSTEM is reset: {self.reason}"


def resets(settings: Mapping[str, object], seen: facts.Observation, asked=()):
    """Return the :class:`Reset` of what ALTER SYSTEM once said against what repmgr needs.

    settings
        What the node's settings file is to hold.
    asked
        Names of the settings in pillar, of PostgreSQL and of repmgr.

    A value that pillar has too is left to the administrator, see
    :func:`saltext_repmgr.utils.survey.waiting`; so is a value that does no harm.
    """
    if seen.server is None:
        return ()
    found = seen.server.configuration
    altered = {name: found.others[name] for name in found.altered}
    gone = [
        Reset(name, value, "a standby would stop there, or promote itself")
        for name, value in left_over(altered, TARGETS).items()
    ]
    delay = "recovery_min_apply_delay"
    # A primary has no use for one; a standby may have been given one on purpose.
    if not seen.server.in_recovery and delay not in asked:
        gone += [
            Reset(name, value, "as a standby it would be late by that")
            for name, value in left_over(altered, {delay: CLONE[delay]}).items()
        ]
    for name in _NEEDED:
        if name in altered and name in settings and _is_less(name, altered[name], settings[name]):
            gone.append(Reset(name, altered[name], f"the cluster needs {_text(settings[name])}"))
    return tuple(gone)


def _text(value):
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _is_less(name, found, needed):
    """Whether a value is not enough where the settings file has ``needed``."""
    if name == "shared_preload_libraries":
        return LIBRARY not in split_list(found)
    if name in ("hot_standby", "wal_log_hints"):
        return not _on(found)
    if name == "listen_addresses":
        return not reaches_others(found)
    if name == "password_encryption":
        return False
    return str(_MERGE[name](needed, found)) != str(found).lower()


NOT_INCLUDED = "its server does not read conf.d/90-repmgr.conf, so nothing of that file is in force"
INCLUDE = (
    "write the line \"include_dir = 'conf.d'\" at the end of its postgresql.conf, and run again"
)


# -- a clone ---------------------------------------------------------------------------------

# Another host has others.
_LOCAL = (
    *("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"),
    *("listen_addresses", "port", "unix_socket_directories", "cluster_name"),
    *("primary_conninfo", "primary_slot_name", "stats_temp_directory"),
    *(*CLONE, "recovery_target_action", "recovery_target_inclusive"),
)
# Without one of its files a server with TLS does not start: all of it, or nothing.
_TLS = "ssl"
_TLS_FILES = (
    *("ssl_ca_file", "ssl_cert_file", "ssl_crl_dir", "ssl_crl_file", "ssl_dh_params_file"),
    "ssl_key_file",
)
_PATHS = (*_TLS_FILES, "krb_server_keyfile", "log_directory")
_COMMANDS = (
    *("archive_cleanup_command", "archive_command", "recovery_end_command", "restore_command"),
    "ssl_passphrase_command",
)


def portable(rows, ours, asked, readable):
    """Return ``(settings, notes)``: the settings of a running server that its clone needs too, and
    what is to be said of them.

    rows
        ``(name, value, file)`` of the settings that the server has from a file.
    ours
        Name of our settings file.
    asked
        Names of the settings in pillar.
    readable
        Function that tells whether the clone's server can read a path.

    A standby with a smaller ``max_connections`` than its primary does not start, one with another
    ``timezone`` answers differently after a failover, and one without ``archive_command`` leaves a
    gap in the archive. So a clone gets them all, but for what is of the other host.
    """
    found = {}
    for name, value, file in rows:
        # The clone has a file of ours, too; what that only passed on is the server's.
        if name in _LOCAL or file.endswith(f"/{ours}") and (name not in KEPT or name in asked):
            continue
        if name == "shared_preload_libraries":
            value = ",".join(n for n in split_list(value) if n != LIBRARY)
            if not value:
                continue
        found[name] = value
    notes = []
    for name in _PATHS:
        path = found.get(name, "")
        if not path.startswith("/") or readable(path):
            continue
        group = [n for n in found if n == _TLS or n.startswith("ssl_")]
        group = group if name in _TLS_FILES else [name]
        notes.append(f"{', '.join(group)} not taken over: this server cannot read {path}")
        found = {n: v for n, v in found.items() if n not in group}
    for name in _COMMANDS:
        program = found.get(name, "").partition(" ")[0]
        if program.startswith("/") and not readable(program):
            notes.append(f"{name} is taken over, and there is no {program} on this host yet")
    return found, notes


# -- the next start ---------------------------------------------------------------------------


def start_objection(values: Mapping[str, str], slots):
    """Say why a server would not start with the values of its configuration files, or ''.

    values
        ``wal_level`` and ``max_replication_slots`` as the next start reads them.
    slots
        Its :class:`~saltext_repmgr.utils.facts.Slot`.

    https://www.postgresql.org/docs/current/runtime-config-replication.html
    """
    logical = [s.slot_name for s in slots if s.slot_type == "logical"]
    level, room = values.get("wal_level", "logical").lower(), values.get("max_replication_slots")
    wrong = []
    if logical and level != "logical":
        wrong.append(
            f"wal_level would be {level}, and the logical slot(s) {', '.join(logical)} need logical"
        )
    if room is not None and room.isdigit() and len(slots) > int(room):
        wrong.append(f"max_replication_slots would be {room}, and it has {len(slots)} slots")
    return "; ".join(wrong)
