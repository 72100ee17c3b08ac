"""What an election by repmgr can bring about, given who takes part in it. Pure.

A node here is anything with ``location`` and ``priority``: an entry of pillar or a record of the
metadata. A witness has priority 0 in both.
"""

from saltext_repmgr.utils.repmgr_parameters import effective


def obstacle(location, voters):
    """Why no voter is promoted when a primary is lost, or an empty string.

    location
        That of the primary.
    voters
        The nodes that answer: standbys directly below the primary, and the witness.

    repmgrd takes a primary none of whose neighbours can be seen for one that is cut off with them.
    """
    if not any(node.priority > 0 for node in voters):
        return "no standby that could take over has a priority above 0"
    if not any(node.location == location for node in voters):
        return (
            f"no other node is at its location, {location}, and standbys at other locations"
            " take it for cut off"
        )
    return ""


def is_automatic(settings):
    """Whether repmgrd promotes by itself, given ``repmgr.settings`` of pillar."""
    return effective(settings)["failover"] == "automatic"


def obstacles(nodes):
    """Return ``{name: obstacle}`` of each data node that may become the primary; an empty text
    where another node would take over from it.

    nodes
        The members as pillar has them (:class:`~saltext_repmgr.utils.spec.NodeSpec`).
    """
    found = {}
    for primary in nodes:
        if not primary.is_witness:
            # What streams from another standby has no vote.
            voters = [n for n in nodes if n != primary and n.upstream in (None, primary.name)]
            found[primary.name] = obstacle(primary.location, voters)
    return found


def confirmations(electors):
    """How many standbys have to confirm a commit, so that every majority that can elect a new
    primary without the old one has one of them.

    electors
        How many there are, the primary among them.

    The standbys that confirmed may be lost together with the primary. Then the rest of the
    electors must be too few for an election.
    """
    majority = electors // 2 + 1
    return max(electors - majority, 0)
