"""
The whole cluster, seen from the master. These functions are for the orchestrations, which
run them there; on a minion they are of no use.

:depends: the extension on the master and on every minion of the cluster
"""

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.errors import PillarError

__virtualname__ = "repmgr_cluster"


def __virtual__():
    return __virtualname__


def preflight(cluster=None):
    """
    Check the pillar and what the minions say, and return what the orchestration goes by.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary as :class:`saltext_repmgr.utils.survey.Survey` describes it. Its
    ``problems`` hold every mistake found; with any in it nothing may be touched.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.preflight
    """
    try:
        spec = master.find_spec(__opts__, __pillar__, cluster)
    except PillarError as err:
        problems = tuple(f"{key}: {message}" for key, message in err.problems)
        return facts.to_dict(survey.Survey(cluster or "", problems=problems))
    replies = master.ask_all(__salt__["saltutil.cmd"], spec)
    return facts.to_dict(survey.survey(spec, replies))
