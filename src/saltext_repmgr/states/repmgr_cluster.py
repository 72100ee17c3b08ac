"""
States of a whole cluster, for orchestrations on the master.
"""

from saltext_repmgr.utils import master
from saltext_repmgr.utils.boundary import reported

# What leads a planned change is for the master alone; every minion that loads all states would
# load it, too.
# pylint: disable=import-outside-toplevel

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
    test = __opts__["test"]
    found = master.settled(__salt__["saltutil.cmd"], spec, test, timeout)
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


@reported
def switched_over(name, to=None, cluster=None):
    """
    Have a node as the primary. The primary of before becomes a standby, all others follow.

    name
        Anything.
    to
        Name of the node; without one it is the standby that is fit best, and then a second run
        moves the primary once more.
    cluster
        Name of the cluster (str), where the master knows more than one.

    Nothing is touched unless every check of docs/switchover.md passes. A dry run shows them.

    .. code-block:: yaml

        node2 is the primary:
          repmgr_cluster.switched_over:
            - to: node2
    """
    from saltext_repmgr.utils import lead

    spec = master.find_spec(__opts__, __pillar__, cluster)
    done = lead.switch_over(__salt__["saltutil.cmd"], spec, to, __opts__["test"])
    changes = {"primary": {"old": done.plan.primary, "new": done.plan.target}}
    return _done(name, done, changes, would=bool(done.plan.steps))


def _done(name, done, changes, would):
    """The answer of a state.

    changes
        What changed, or would.
    would
        Whether there is anything to do, in a dry run.
    """
    test, lines = __opts__["test"], [done.summary]
    if test:
        lines += [f"check: {c.name}: {c.problem or c.finding}" for c in done.plan.checks]
        lines += [f"would do: {step}" for step in done.plan.steps]
    lines += [f"{node}: {said}" for node, said in done.nodes.items() if not done.problems]
    would = test and would and not done.problems
    return {
        "name": name,
        "result": False if done.problems else None if would else True,
        "changes": changes if done.changed or would else {},
        "comment": "\n".join(lines),
    }


@reported
def drained(name, node, reason="", to=None, force=False, keep_slot=None, cluster=None):
    """
    Have a node out of service, for maintenance. It stays out until :func:`brought_back`.

    name
        Anything.
    node
        Name of the node.
    reason
        Why, for those who come after (str).
    to
        Name of the node that takes over where it is the primary; without one it is the standby
        that is fit best.
    force
        Go on where others are not in service, or nobody is left that could take over (bool).
    keep_slot
        Whether its slot stays (bool); without it, where it can keep so much WAL and no more.
    cluster
        Name of the cluster (str), where the master knows more than one.

    Nothing is touched unless every check of docs/maintenance.md passes. A dry run shows them.

    .. code-block:: yaml

        node2 gets a new disk:
          repmgr_cluster.drained:
            - node: node2
            - reason: new disk
    """
    from saltext_repmgr.utils import drain_lead

    spec = master.find_spec(__opts__, __pillar__, cluster)
    done = drain_lead.take_out(
        __salt__["saltutil.cmd"], spec, node, reason, to, force, keep_slot, __opts__["test"]
    )
    return _maintained(name, done, "in service", "drained")


@reported
def brought_back(name, node, cluster=None):
    """
    Have a node that was drained in service again.

    name
        Anything.
    node
        Name of the node.
    cluster
        Name of the cluster (str), where the master knows more than one.

    .. code-block:: yaml

        node2 has its new disk:
          repmgr_cluster.brought_back:
            - node: node2
    """
    from saltext_repmgr.utils import drain_lead

    spec = master.find_spec(__opts__, __pillar__, cluster)
    done = drain_lead.bring_back(__salt__["saltutil.cmd"], spec, node, __opts__["test"])
    return _maintained(name, done, "drained", "in service")


def _maintained(name, done, old, new):
    changes = {done.plan.node: {"old": old, "new": new}}
    return _done(name, done, changes, would=not done.plan.done)


@reported
def password_rotated(name, cluster=None):
    """
    Have pillar's passwords in force: of repmgr's role, and of PgBouncer's.

    name
        Anything.
    cluster
        Name of the cluster (str), where the master knows more than one.

    Nothing is touched unless every check of docs/passwords.md passes. A dry run shows them.

    .. code-block:: yaml

        the passwords of pillar:
          repmgr_cluster.password_rotated: []
    """
    from saltext_repmgr.utils import lead_rotation

    spec = master.find_spec(__opts__, __pillar__, cluster)
    done = lead_rotation.rotate(__salt__["saltutil.cmd"], spec, __opts__["test"])
    roles = done.plan.roles
    changes = {role: {"old": "another password", "new": "pillar's"} for role in roles}
    return _done(name, done, changes, would=bool(roles))


@reported
def restarted(name, nodes=None, force=False, back=False, cluster=None):
    """
    Have every server run with its present settings: those that need a restart get it, one after
    the other, the primary last and as a standby (docs/rolling.md).

    name
        Anything.
    nodes
        Names of the nodes (list of str) that are restarted whether they need it or not, and no
        others.
    force
        Restart all, whether they need it or not.
    back
        Make the primary of before the primary again, or make it this node.
    cluster
        Name of the cluster (str), where the master knows more than one.

    .. code-block:: yaml

        settings are in force:
          repmgr_cluster.restarted:
            - back: True
    """
    from saltext_repmgr.utils import campaign

    spec = master.find_spec(__opts__, __pillar__, cluster)
    cmd, test = __salt__["saltutil.cmd"], __opts__["test"]
    return _rolled(name, campaign.restart(cmd, spec, nodes or (), force, back, test))


@reported
def upgraded(name, back=False, cluster=None):
    """
    Have the newest minor version of PostgreSQL, and repmgr, on all nodes, one after the other.

    name
        Anything.
    back, cluster
        As for :func:`restarted`.

    .. code-block:: yaml

        packages are the newest:
          repmgr_cluster.upgraded: []
    """
    from saltext_repmgr.utils import campaign

    spec = master.find_spec(__opts__, __pillar__, cluster)
    return _rolled(name, campaign.upgrade(__salt__["saltutil.cmd"], spec, back, __opts__["test"]))


def _rolled(name, found):
    lines = [found.summary, *(f"done: {line}" for line in found.done)]
    changes = {}
    if found.done:
        changes = {found.work: {"old": None, "new": list(found.done)}}
    elif found.test and found.plan and not found.problems:
        lines += [f"would do: {line}" for line in found.plan]
        changes = {found.work: {"old": None, "new": list(found.plan)}}
    result = False if found.problems else None if found.test and changes else True
    return {"name": name, "result": result, "changes": changes, "comment": "\n".join(lines)}
