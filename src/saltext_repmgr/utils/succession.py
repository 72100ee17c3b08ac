"""Who takes the place of a new primary that is lost in its first moments, and by whose word. Pure.

docs/design-switchover.md says why that makes no second primary;
:mod:`saltext_repmgr.utils.succession_act` does it.
"""

from dataclasses import dataclass

from saltext_repmgr.utils.spec import NodeSpec


@dataclass(frozen=True)
class Change:
    """A switchover, as it is known to a node that does not become the primary.

    old, heir
        The :class:`~saltext_repmgr.utils.spec.NodeSpec` of the primary that goes and the new one.
    timeline
        That of this node before; a witness has one of its own.
    electors
        The nodes by whose word the new one is replaced.
    feeds
        Whether the new one fed a standby before.
    strangers
        Whether nodes that pillar does not know have a word, too.
    """

    old: NodeSpec
    heir: NodeSpec
    timeline: int
    electors: tuple[NodeSpec, ...]
    feeds: bool = False
    strangers: bool = False


@dataclass(frozen=True)
class Elector:
    """What a member says while a new primary is missed.

    lsn
        What it has received or replayed, in bytes.
    claim
        Which session on it says that it does without the new primary; None: it does not say so.
    voting
        Whether it is about to be promoted.
    recorded
        Whether it has seen that the new primary's records are as they have to be.
    whole
        Whether it has nothing of the new timeline's first segment, or as much as it had before.
    """

    name: str
    node_id: int
    priority: int
    witness: bool
    in_recovery: bool
    timeline: int
    lsn: int
    claim: str | None
    voting: bool = False
    recorded: bool = False
    whole: bool = True

    @property
    def is_primary(self):
        """Whether it acts as one."""
        return not (self.in_recovery or self.witness)


def change(spec, old, heir, server):
    """Return the :class:`Change` as a node knows it before anything is touched.

    server
        Its own :class:`~saltext_repmgr.utils.facts.Server`.
    """
    nodes = server.nodes or ()
    ids = electors(nodes, old.id, heir.id)
    members = tuple(n for n in spec.members if n.id in ids)
    feeds = any(r.active and r.upstream_node_id == heir.id for r in nodes)
    return Change(old, heir, server.timeline, members, feeds, strangers=len(members) < len(ids))


def electors(nodes, old, lost):
    """Return the ids of all by whose word a new primary is replaced, itself left out.

    These are all those that its guard goes by, or more.

    nodes
        The records (:class:`~saltext_repmgr.utils.facts.NodeRecord`) of the time before.
    old, lost
        Ids of the primary of that time and of the new one.
    """
    below = {r.node_id for r in nodes if r.active and r.upstream_node_id in (old, lost)}
    return (below | {old}) - {lost}


def claims(found, what):
    """Return ``{name: claim}`` where all electors have one, else None.

    found
        An :class:`Elector` each, of those that answered.
    what
        The :class:`Change`.
    """
    told = {e.name: e.claim for e in found if e.claim is not None}
    return told if len(told) == len(what.electors) else None


def successor(found, timeline):
    """Return the name of the standby that is to be the primary, or None.

    found
        An :class:`Elector` each.
    timeline
        That before the change: who is on a later one has followed the new one. A
        promotion by who has not would make the timeline of the lost one a second time.
    """
    fit = [e for e in found if e.whole and not e.witness and e.priority > 0]
    best = max(fit, key=lambda e: (e.timeline, e.lsn, e.priority, -e.node_id), default=None)
    return best.name if best is not None and best.timeline > timeline else None
