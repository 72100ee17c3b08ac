"""What Salt's state runs return, as data."""

import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Salt 3008 complains about itself when it ends.
_NOISE = re.compile(r"(\[\w+ *\] )?unclosed \w+ <.*>; call ``destroy\(\)`` or use as a context")


# It logs the whole return of a step that failed, in the notation of Python.
_DUMP = "{'out': 'highstate'"
_LEVEL = re.compile(r"\[\w+ *\] ")


def without_noise(stderr: str, told: Iterable[str] = ()) -> str:
    """What a command of Salt said on standard error, less what it says whatever it does.

    :param told: texts that are known already; what repeats them is left out, too.
    """
    kept = []
    for line in stderr.splitlines():
        bare = _LEVEL.sub("", line, count=1)
        repeated = bare.startswith(_DUMP) or any(bare in text for text in told)
        if bare and not repeated and not _NOISE.match(line):
            kept.append(line)
    return "\n".join(kept)


@dataclass(frozen=True)
class State:
    """One state of a run. ``result`` is ``None`` in a dry run that would change something."""

    name: str
    result: bool | None
    changed: bool
    comment: str
    seconds: float
    number: int
    jid: str | None

    @classmethod
    def of(cls, returned: Mapping[str, Any], name: str = "") -> "State":
        """What Salt returned of a state; ``name`` stands in for an id that is not in it."""
        return cls(
            name=returned.get("__id__", name),
            result=returned["result"],
            changed=bool(returned.get("changes")),
            comment=str(returned.get("comment", "")).strip(),
            seconds=float(returned.get("duration", 0)) / 1000,
            number=returned.get("__run_num__", 0),
            jid=returned.get("__jid__"),
        )


def states(returned: Any) -> list[State]:
    """The states of a run in their order.

    :raises ValueError: it is no run of states but, say, why its SLS could not be rendered.
    """
    if not isinstance(returned, Mapping) or not returned:
        lines = returned if isinstance(returned, list) else [returned]
        raise ValueError("; ".join(str(line).strip() for line in lines) or "an empty answer")
    found = [State.of(state, key.split("_|-")[1]) for key, state in returned.items()]
    return sorted(found, key=lambda state: state.number)


def orchestration(document: Any) -> list[State]:
    """The steps in what ``salt-run state.orchestrate --out=json`` printed.

    :raises ValueError: see :func:`states`.
    """
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, Mapping) or len(data) != 1:
        raise ValueError(f"not the answer of an orchestration: {document!r:.500}")
    return states(next(iter(data.values())))
