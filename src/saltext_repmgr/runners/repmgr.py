"""
Questions about whole clusters, for people at the master.

CLI Example:

.. code-block:: bash

    salt-run repmgr.preflight
"""

import salt.client

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.errors import PillarError

__virtualname__ = "repmgr"


def __virtual__():
    return __virtualname__


def _spec(cluster):
    values = master.minion_pillar(__opts__, f"{__opts__['id']}")
    return master.find_spec(__opts__, values, cluster)


def _cmd(tgt, fun, **kwargs):
    found = {}
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        for part in client.cmd_iter(tgt, fun, **kwargs):
            found.update(part)
            if len(found) == len(tgt):
                break
    return found


def preflight(cluster=None):
    """
    Check the pillar and what the minions say, as the orchestration does before it begins.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary: ``problems`` (every mistake, list of str; then the exit code is 1),
    ``primary`` and ``reason``, ``order`` of work, and ``missing``, the nodes that cannot
    take part, each with the reason.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.preflight
        salt-run repmgr.preflight cluster=foobar
    """
    try:
        spec = _spec(cluster)
        found = survey.survey(spec, master.ask_all(_cmd, spec))
    except PillarError as err:
        problems = tuple(f"{key}: {message}" for key, message in err.problems)
        found = survey.Survey(cluster or "", problems=problems)
    if found.problems:
        __context__["retcode"] = 1
    told = facts.to_dict(found)
    return {k: told[k] for k in ("cluster", "problems", "primary", "reason", "order", "missing")}
