"""The pillar of a lab's master, as files."""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

try:
    import yaml
except ImportError:
    # The Python of a bare machine, for the demo. Its pillar has text for keys, so JSON will do.
    yaml = None

DIRECTORY = "/srv/pillar"


def _sls(data: Mapping[str, Any]) -> str:
    # Without a template engine in between, any text survives, braces and all; and other than
    # JSON, YAML has keys that are numbers, as users write them by mistake.
    if yaml is None:
        return "#!json\n" + json.dumps(data, indent=2) + "\n"
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
