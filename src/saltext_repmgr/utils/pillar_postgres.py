"""Read ``repmgr:postgres``: the server, its settings and who may connect."""

import math
import posixpath
import re

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import existing
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import pillar_hba
from saltext_repmgr.utils.checks import MISSING
from saltext_repmgr.utils.spec import PostgresSpec

KEYS = ("version", "cluster", "port", "data_directory", "settings", "hba")
_SYNONYMS = {
    "release": "version",
    "name": "cluster",
    "datadir": "data_directory",
    "data_dir": "data_directory",
    "pgdata": "data_directory",
    "conf": "settings",
    "config": "settings",
    "parameters": "settings",
    "pg_hba": "hba",
}
VERSIONS = (10, 30)
# systemd takes a dash in an instance's name for the end of the version.
_CLUSTER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")
_PATH = re.compile(r"/[A-Za-z0-9_.+@/-]*")
_GUC = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")
# Nothing may live below these; the system owns them, or empties them at boot.
_SYSTEM_TREES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"),
    *("/run", "/tmp", "/var/run", "/var/tmp", "/var/cache", "/var/log"),
)
_SYSTEM_DIRECTORIES = (
    *("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var", "/var/lib"),
    "/var/lib/postgresql",
)

# Settings that follow from other pillar keys, or that are no settings at all.
OWNED = {
    "port": "use repmgr.postgres.port",
    "data_directory": "use repmgr.postgres.data_directory",
    "config_file": "it follows from repmgr.postgres.version and repmgr.postgres.cluster",
    "hba_file": "use repmgr.postgres.hba for its content",
    "ident_file": "it follows from repmgr.postgres.version and repmgr.postgres.cluster",
    "external_pid_file": "Debian's service needs its own, remove it",
    "primary_conninfo": "repmgr writes it for each standby, remove it",
    "primary_slot_name": "repmgr writes it for each standby, remove it",
    **{
        name: "a standby would stop there or promote itself, remove it"
        for name in (*existing.TARGETS, "recovery_target_action", "recovery_target_inclusive")
        if name != "recovery_target_timeline"
    },
    "synchronous_standby_names": "use repmgr.synchronous, which all checks go by",
    "include": "it is no setting, write the settings here",
    "include_dir": "it is no setting, write the settings here",
    "include_if_exists": "it is no setting, write the settings here",
}
_ON = ("on", "true", "yes", "1")


def read(problems, key, value):
    """The section as a :class:`~saltext_repmgr.utils.spec.PostgresSpec`."""
    section = checks.mapping_or_none(problems, key, value) or {}
    checks.unknown_keys(problems, key, section, KEYS, _SYNONYMS)
    version = section.get("version")
    if version is not None:
        version = checks.integer(problems, f"{key}.version", version, *VERSIONS)
    return PostgresSpec(
        version=version,
        cluster=checks.name(
            problems,
            f"{key}.cluster",
            section.get("cluster", "main"),
            "the name of a PostgreSQL cluster",
            _CLUSTER,
            "letters, digits, '_' and '.' (a '-' breaks its systemd service)",
        ),
        port=checks.integer(problems, f"{key}.port", section.get("port", 5432), 1, 65535),
        data_directory=_data_directory(
            problems, f"{key}.data_directory", section.get("data_directory")
        ),
        settings=_settings(problems, f"{key}.settings", section.get("settings", MISSING)),
        hba=pillar_hba.read(problems, f"{key}.hba", section.get("hba", MISSING)),
    )


def _data_directory(problems, key, value):
    if value is None:
        return None
    example = "write a path such as '/srv/postgresql/main'"
    if not isinstance(value, str):
        problems.add(key, f"is {checks.kind(value)}; {example}")
        return None
    if not value.startswith("/"):
        problems.add(key, f"is {checks.show(value)}, which is not absolute; {example}")
    elif not _PATH.fullmatch(value) or ".." in value.split("/"):
        problems.add(
            key,
            f"is {checks.show(value)}; it consists of letters, digits and _.+@-, without '..'",
        )
    else:
        # normpath keeps two leading slashes, as POSIX allows them a meaning.
        path = "/" + posixpath.normpath(value).lstrip("/")
        if path not in _SYSTEM_DIRECTORIES and not any(
            path == tree or path.startswith(f"{tree}/") for tree in _SYSTEM_TREES
        ):
            return path
        problems.add(key, f"is {path}, which belongs to the system; {example}")
    return None


def _settings(problems, key, value):
    mapping = checks.mapping_or_none(problems, key, value) or {}
    settings = {}
    for name, found in mapping.items():
        setting_key = f"{key}.{name}"
        if not isinstance(name, str) or not _GUC.fullmatch(name):
            lower = str(name).lower().replace("-", "_")
            hint = f"write {lower!r}" if _GUC.fullmatch(lower) else "write its lower case name"
            problems.add(setting_key, f"is not a name of a PostgreSQL setting; {hint}")
        elif name in OWNED:
            problems.add(setting_key, f"cannot be set here; {OWNED[name]}")
        elif _is_value(problems, setting_key, found):
            mistake = _RULES[name](found) if name in _RULES else None
            if mistake:
                problems.add(setting_key, f"is {checks.show(found)}; {mistake}")
            settings[name] = tuple(found) if isinstance(found, list) else found
    _archiving(problems, key, settings, mapping)
    return settings


def _is_value(problems, key, value):
    # A setting may hold a secret of the administrator's (a command, say): never shown.
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, (str, int)) and _is_plain(v) for v in value):
            return True
        problems.add(key, "is a list with something else than names on one line; write names")
        return False
    if value is None:
        problems.add(key, "is empty; write a value, or remove it for the default")
    elif not isinstance(value, (bool, int, float, str)):
        problems.add(key, f"is {checks.kind(value)}; write a string, a number or a boolean")
    elif not _is_plain(value):
        problems.add(
            key,
            "is not finite, or contains a line break or a control character; write a plain value",
        )
    else:
        return True
    return False


def _is_plain(value):
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or checks.is_one_line(value)


def _is_on(value):
    return str(value).lower() in _ON


def _must_be_on(reason):
    return lambda value: None if _is_on(value) else f"{reason}, write on or remove it"


def _wal_level(value):
    if str(value).lower() in ("replica", "logical"):
        return None
    return "standbys need replica or logical, write one of them or remove it"


def _password_encryption(value):
    if str(value).lower() == "scram-sha-256":
        return None
    return "the nodes log in with SCRAM, write scram-sha-256 or remove it"


def _listen_addresses(value):
    names = existing.split_list(value)
    if any(not (n.lower() in ("localhost", "::1") or n.startswith("127.")) for n in names):
        return None
    return "the other nodes could not connect, write '*' or an address they reach"


def _socket_directories(value):
    if "/var/run/postgresql" in (n.rstrip("/") for n in existing.split_list(value)):
        return None
    return "local administration uses /var/run/postgresql, add it"


def _recovery_timeline(value):
    if str(value).lower() == "latest":
        return None
    return "a standby has to follow a new primary, write latest or remove it"


_RULES = {
    "wal_level": _wal_level,
    "hot_standby": _must_be_on("repmgr asks standbys over SQL"),
    "wal_log_hints": _must_be_on("a former primary comes back by pg_rewind, which needs it"),
    "full_page_writes": _must_be_on("a former primary comes back by pg_rewind, which needs it"),
    "password_encryption": _password_encryption,
    "listen_addresses": _listen_addresses,
    "unix_socket_directories": _socket_directories,
    "recovery_target_timeline": _recovery_timeline,
}


def _archiving(problems, key, settings, mapping):
    mode = str(settings.get("archive_mode", False)).lower()
    if mode != "always" and not _is_on(mode):
        return
    if not any(mapping.get(name) for name in ("archive_command", "archive_library")):
        problems.add(
            f"{key}.archive_mode",
            "is on without archive_command: WAL piles up until the disk is full;"
            " write archive_command too",
        )


def check_capacity(problems, key, settings, members):
    """Refuse limits with which a cluster of so many members cannot replicate."""
    needed = pg_settings.minimum_capacity(members)
    for name in pg_settings.CAPACITY_SETTINGS:
        value = settings.get(name)
        if value is None:
            continue
        if not checks.is_int(value):
            problems.add(f"{key}.{name}", f"is {checks.show(value)}; write a whole number")
        elif value < needed:
            problems.add(
                f"{key}.{name}",
                f"is {value}, too few for {members} members; write {needed} or more, or remove it"
                f" for {pg_settings.default_capacity(members)}",
            )
