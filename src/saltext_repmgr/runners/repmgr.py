"""
Questions about whole clusters, for people at the master.

CLI Example:

.. code-block:: bash

    salt-run repmgr.status
    salt-run repmgr.preflight
"""

import salt.client

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import master
from saltext_repmgr.utils import status as telling
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


def _ended(told, code):
    """Return data with which ``salt-run`` ends with an exit code.

    It goes by the key; states and other callers of the runner go by the context.
    """
    __context__["retcode"] = code
    return {**told, "retcode": code}


def status(cluster=None):
    """
    Show a cluster on one screen: the tree of its nodes with roles, timelines, lag, daemons and
    slots, and in words what is wrong and what to do. All minions are asked at once; what a
    silent one cannot say is taken from the other members.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary, with ``--out=json`` as it is: ``format`` (int, 1), ``cluster`` (str),
    ``verdict`` (``healthy``, ``degraded`` or ``broken``), ``primary`` (str or None), ``nodes``,
    ``electors``, ``problems``, ``retcode`` (int, the exit code: 0, 1 or 2, as the verdict) and
    ``outputter`` (how it is shown). A wrong pillar is a problem too, nothing is raised.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.status
        salt-run repmgr.status foobar --out=json
    """
    try:
        spec = _spec(cluster)
        names = [n.name for n in spec.members]
        found = telling.examine(spec, master.ask(_cmd, names, timeout=master.STATUS_TIMEOUT))
    except PillarError as err:
        found = telling.unknown(cluster, err.problems)
    told = {**telling.to_data(found), "outputter": "repmgr_status"}
    return _ended(told, found.verdict.exit_code)


def preflight(cluster=None):
    """
    Check the pillar and what the minions say, as the orchestration does before it begins.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary: ``problems`` (every mistake, list of str), ``primary`` and ``reason``,
    ``order`` of work, ``missing``, the nodes that cannot take part, each with the reason, and
    ``retcode`` (int), the exit code: 1 with problems, else 0.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.preflight
        salt-run repmgr.preflight cluster=foobar
    """
    try:
        spec = _spec(cluster)
        found = survey.survey(spec, master.ask(_cmd, [n.name for n in spec.members]))
    except PillarError as err:
        problems = tuple(f"{key}: {message}" for key, message in err.problems)
        found = survey.Survey(cluster or "", problems=problems)
    told = facts.to_dict(found)
    keys = ("cluster", "problems", "primary", "reason", "order", "missing")
    return _ended({k: told[k] for k in keys}, 1 if found.problems else 0)
