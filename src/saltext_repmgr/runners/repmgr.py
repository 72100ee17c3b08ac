"""
Questions about whole clusters, for people at the master.

CLI Example:

.. code-block:: bash

    salt-run repmgr.preflight
"""

import salt.client
import salt.pillar

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.boundary import translated

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


@translated
def preflight(cluster=None):
    """
    Check the pillar and what the minions say, as the orchestration does before it begins.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns who the primary is or would become and why, the order of work, nodes that
    cannot take part. Raises where the pillar is wrong, with every mistake.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.preflight
        salt-run repmgr.preflight cluster=foobar
    """
    spec = _spec(cluster)
    replies = master.ask(_cmd, [n.name for n in spec.members])
    return facts.to_dict(survey.survey(spec, replies))
