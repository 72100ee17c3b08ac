"""Turns this extension's types into data that Salt can send: dicts, lists, plain values."""

import dataclasses
from enum import Enum
from enum import IntEnum


def plain(value):
    """Return ``value`` with dataclasses as dicts, enum members as their values.

    An ``IntEnum`` member becomes its name: the numbers of exit codes say nothing.
    """
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
