"""The pillar of a lab's master, as files."""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

DIRECTORY = "/srv/pillar"


def _sls(data: Mapping[str, Any]) -> str:
    # Without a template engine in between, any text survives, braces and all.
    return "#!json\n" + json.dumps(data, indent=1) + "\n"


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
