"""The pillar of a lab's master, as files."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import yaml

DIRECTORY = "/srv/pillar"


def _sls(data: Mapping[str, Any]) -> str:
    # Without a template engine in between, any text survives, braces and all; and other than
    # JSON, YAML has keys that are numbers, as users write them by mistake.
    return "#!yaml\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def files(
    pillar: Mapping[str, Mapping[str, Any]], top: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """File name -> content, for :data:`DIRECTORY`.

    :param pillar: name of an SLS -> its data.
    :param top: target -> names of SLS; by default everybody gets all of them.
    """
    assigned = top if top is not None else {"*": list(pillar)}
    contents = {f"{name}.sls": _sls(data) for name, data in pillar.items()}
    return {"top.sls": _sls({"base": assigned}), **contents}
