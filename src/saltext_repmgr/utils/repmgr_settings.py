"""Read ``repmgr:settings``: parameters of repmgr.conf with the types repmgr gives them."""

import re

from saltext_repmgr.utils import checks
from saltext_repmgr.utils.repmgr_parameters import EVENTS
from saltext_repmgr.utils.repmgr_parameters import FENCED
from saltext_repmgr.utils.repmgr_parameters import MAX_BYTES
from saltext_repmgr.utils.repmgr_parameters import MAX_INT
from saltext_repmgr.utils.repmgr_parameters import OWNED
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from saltext_repmgr.utils.repmgr_parameters import effective

_TRUE = ("true", "on", "yes", "1")
_FALSE = ("false", "off", "no", "0")
_SYNONYMS = {
    "cluster": "node_name",
    "node": "node_id",
    "loglevel": "log_level",
    "logfile": "log_file",
    "logfacility": "log_facility",
    "master_response_timeout": "async_query_timeout",
    "retry_promote_interval_secs": "promote_check_interval",
}
_DELAY = re.compile(r"\d+(ms|s|min|h|d)?")

# repmgr puts text of its tables there, and has a shell run the command.
_FROM_TABLES = {"event_notification_command": "dac", "failover_validation_command": "a"}

# (greater, smaller, whether they may be equal): repmgr itself refuses anything else.
_ORDERED = (
    ("archive_ready_critical", "archive_ready_warning", False),
    ("replication_lag_critical", "replication_lag_warning", False),
    ("standby_reconnect_timeout", "node_rejoin_timeout", True),
)


def read(problems, key, value, fence):
    """The settings with normalised values: ``bool``, ``int``, ``str`` or a tuple of ``str``.

    fence
        Whether pillar asks for the fence, which some of them would weaken.
    """
    mapping = checks.mapping_or_none(problems, key, value)
    if not mapping:
        return {}
    settings = {}
    for name, found in mapping.items():
        setting_key = f"{key}.{name}"
        if name not in PARAMETERS:
            meant = checks.likely(name, PARAMETERS, _SYNONYMS)
            hint = f"did you mean {meant!r}?" if meant else "see repmgr.conf.sample of your version"
            problems.add(setting_key, f"is not a parameter of repmgr; {hint}")
        elif name in OWNED:
            problems.add(setting_key, f"cannot be set here; {OWNED[name]}")
        else:
            checked = _CHECKS[PARAMETERS[name].kind](problems, setting_key, found, PARAMETERS[name])
            _no_text_for_a_shell(problems, setting_key, name, checked)
            if fence and name in FENCED and checked not in (None, False):
                problems.add(setting_key, f"{FENCED[name]}; remove it, or write 'fence: false'")
            if checked is not None:
                settings[name] = checked
    _together(problems, key, settings, mapping)
    return settings


def _no_text_for_a_shell(problems, key, name, value):
    if not isinstance(value, str):
        return
    for letter in re.findall("%(.)", value):
        if letter in _FROM_TABLES.get(name, ""):
            problems.add(
                key,
                f"contains '%{letter}': repmgr puts text of its tables there and has a shell run the"
                " command, so that its role could run programs as postgres. Remove it; the command"
                " can read that text from repmgr.events or repmgr.nodes",
            )


def _bool(problems, key, value, _):
    if isinstance(value, bool):
        return value
    folded = str(value).lower() if isinstance(value, (str, int)) else None
    if folded in _TRUE or folded in _FALSE:
        return folded in _TRUE
    problems.add(key, f"is {checks.show(value)}; write true or false")
    return None


def _int(problems, key, value, parameter):
    return checks.integer(problems, key, value, parameter.minimum, MAX_INT)


def _enum(problems, key, value, parameter):
    folded = value
    if isinstance(value, str):
        folded = next((c for c in parameter.choices if c.lower() == value.lower()), value)
    return checks.choice(problems, key, folded, parameter.choices)


def _str(problems, key, value, _):
    # A value may hold a secret of the administrator's (a command, say): never shown.
    if checks.is_int(value) or isinstance(value, float):
        value = str(value)
    if not isinstance(value, str):
        problems.add(key, f"is {checks.kind(value)}; write a string, in quotes")
    elif not checks.is_one_line(value):
        problems.add(
            key, "contains a line break or another control character; write it on one line"
        )
    elif checks.has_own_quotes(value):
        problems.add(key, "is in quotes that become part of the value; write it without them")
    elif (size := len(value.encode())) > MAX_BYTES:
        problems.add(
            key,
            f"has {size} bytes; repmgr takes {MAX_BYTES} at most,"
            " put a longer command into a script",
        )
    else:
        return value
    return None


def _path(problems, key, value, parameter):
    text = _str(problems, key, value, parameter)
    if text and not text.startswith("/"):
        problems.add(key, f"is {checks.show(text)}; write an absolute path")
        return None
    return text


def _delay(problems, key, value, _):
    text = str(value) if checks.is_int(value) else value
    if isinstance(text, str) and _DELAY.fullmatch(text):
        return text
    problems.add(
        key,
        f"is {checks.show(value)}; write a whole number with ms, s, min, h or d right after it,"
        " for example '5min'",
    )
    return None


def _items(problems, key, value, example):
    """The strings of a list or of a comma separated string, or ``None``."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
        problems.add(key, f"is {checks.kind(value)}; write a list of strings, such as {example}")
        return None
    return [item.strip() for item in items if item.strip()]


def _events(problems, key, value, _):
    items = _items(problems, key, value, "[repmgrd_failover_promote]")
    if items is None:
        return None
    wrong = [item for item in items if item not in EVENTS]
    for item in wrong:
        meant = checks.likely(item, EVENTS)
        hint = f"did you mean {meant!r}?" if meant else "see the manual's event notifications"
        problems.add(key, f"{checks.show(item)} is not an event of repmgr; {hint}")
    return None if wrong else ",".join(items)


def _mapping(problems, key, value, parameter):
    items = _items(problems, key, value, "[/old/directory=/new/directory]")
    if items is None:
        return None
    for item in items:
        if _str(problems, key, item, parameter) is None:
            return None
        old, equals, new = item.partition("=")
        if not (equals and old.startswith("/") and new.startswith("/")) or "=" in new:
            problems.add(
                key, f"{checks.show(item)} is not '/old/directory=/new/directory'; write that"
            )
            return None
    return tuple(items)


_CHECKS = {
    "bool": _bool,
    "int": _int,
    "enum": _enum,
    "str": _str,
    "path": _path,
    "delay": _delay,
    "events": _events,
    "mapping": _mapping,
}


def _together(problems, key, settings, mapping):
    """Check settings against each other, where all of them could be read by themselves."""
    broken = {name for name in mapping if name not in settings}
    final = effective(settings)
    for greater, smaller, may_be_equal in _ORDERED:
        if broken & {greater, smaller}:
            continue
        if final[greater] > final[smaller] or may_be_equal and final[greater] == final[smaller]:
            continue
        relation = "at least" if may_be_equal else "greater than"
        problems.add(
            f"{key}.{greater}",
            f"is {final[greater]}; it has to be {relation} {smaller}, which is {final[smaller]}",
        )
    _consensus(problems, key, final, broken)
    if bool(final["barman_host"]) != bool(final["barman_server"]) and not broken & {
        "barman_host",
        "barman_server",
    }:
        given = "barman_host" if final["barman_host"] else "barman_server"
        problems.add(
            f"{key}.{given}", "needs its partner; write both barman_host and barman_server"
        )
    if final["failover"] == "automatic":
        for name in ("promote_command", "follow_command"):
            if settings.get(name) == "":
                problems.add(
                    f"{key}.{name}",
                    "is empty, and repmgrd does not start without it; remove it for the default",
                )


def _consensus(problems, key, final, broken):
    """Refuse intervals with which standbys never agree that the primary is gone.

    A standby that saw the primary within two monitoring intervals vetoes the election,
    and repmgrd does not repeat it.
    """
    intervals = ("reconnect_attempts", "reconnect_interval", "monitor_interval_secs")
    if not final["primary_visibility_consensus"] or broken & set(intervals):
        return
    attempts, pause, monitor = (final[name] for name in intervals)
    if (attempts - 1) * pause <= 2 * monitor:
        problems.add(
            f"{key}.primary_visibility_consensus",
            f"needs (reconnect_attempts - 1) * reconnect_interval > 2 * monitor_interval_secs,"
            f" which are {attempts}, {pause} and {monitor}; otherwise no fail-over happens,"
            " raise reconnect_attempts",
        )
