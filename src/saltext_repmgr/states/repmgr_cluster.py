"""
States of a whole cluster, for orchestrations on the master.
"""

import time

from saltext_repmgr.utils import master
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.boundary import reported

__virtualname__ = "repmgr_cluster"


def __virtual__():
    return __virtualname__


@reported
def verified(name, cluster=None, timeout=30):
    """
    Observe that every node is registered, streams from its upstream and is on the
    primary's timeline, that its daemon runs, and that nothing is left to do.

    name
        Anything.
    cluster
        Name of the cluster (str), where the master knows more than one.
    timeout
        Seconds to wait for what settles by itself.

    Fails with one line for each node that is not as it should be. Slots and records that
    belong to nobody are told, too; they alone are no failure.

    .. code-block:: yaml

        the cluster is whole:
          repmgr_cluster.verified:
            - cluster: foobar
    """
    spec = master.find_spec(__opts__, __pillar__, cluster)
    names = spec.minions
    test = __opts__["test"]
    deadline = time.monotonic() + (0 if test else timeout)
    pause = 0.3
    while True:
        found = survey.ailments(spec, master.ask(__salt__["saltutil.cmd"], names), test)
        if not any(a.settles for a in found) or time.monotonic() >= deadline:
            break
        time.sleep(pause)
        pause = min(pause * 2, 4)
    lines = [a.line for a in found]
    whole = all(a.note for a in found)
    if whole:
        routers = f" and {len(spec.routers)} PgBouncer(s)" if spec.routers else ""
        whose = f"all {len(spec.members)} nodes{routers}"
        lines.insert(0, f"{spec.cluster}: {whose} are as they should be")
    comment = "\n".join(lines)
    if test:
        return {"name": name, "result": True, "changes": {}, "comment": f"as it is now: {comment}"}
    return {"name": name, "result": whole, "changes": {}, "comment": comment}
