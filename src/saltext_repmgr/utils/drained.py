"""Nodes that are out of service on purpose: how that is written down, read and told. Pure.

On the node it is a comment in Debian's ``start.conf``, which keeps the server from starting at
boot. For the others it is an event in repmgr's history, which every standby has: they know
of it while the host is off.
"""

import dataclasses
import json
import time
from collections.abc import Mapping

from saltext_repmgr.utils import facts
from saltext_repmgr.utils.ailment import Ailment
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.facts import Drained
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.spec import ClusterSpec

EVENT = "node_drained"
_MARK = "# drained: "
_TEXT = """\
# Written by Salt (saltext-repmgr): this node is out of service on purpose.
{mark}{fact}
# At the master, 'salt-run repmgr.back {node}' brings it back.
manual
"""
_LONGEST_REASON = 500


def note(by, reason, since):
    """Return the :class:`~saltext_repmgr.utils.facts.Drained` of a node that goes now.

    by, reason
        Who takes it out, and why; words of people (str).
    since
        Seconds since the epoch.
    """
    if not isinstance(reason, str) or len(reason) > _LONGEST_REASON:
        raise UsageError(f"reason must be a text of at most {_LONGEST_REASON} characters")
    return Drained(float(since), " ".join(str(by).split()), " ".join(reason.split()))


def to_json(drained: Drained):
    """Return it as one line of ASCII, whatever the reason is written in."""
    return json.dumps(dataclasses.asdict(drained), sort_keys=True)


def from_json(text):
    """Return the :class:`~saltext_repmgr.utils.facts.Drained` in a text, or None."""
    try:
        return facts.from_dict(Drained, json.loads(text))
    except (ValueError, TypeError, AttributeError):
        return None


def start_file(node, drained: Drained):
    """Return the text of ``start.conf`` of a node that is drained."""
    return _TEXT.format(mark=_MARK, fact=to_json(drained), node=node)


def read(text):
    """Return what a ``start.conf`` says of it, or None."""
    lines = [line for line in split_lines(text) if line.startswith(_MARK)]
    if not lines:
        return None
    # Who wrote into it did not mean that the server shall start.
    return from_json(lines[0].removeprefix(_MARK)) or Drained(0.0, "somebody")


def words(drained: Drained):
    """Return since when, by whom and why."""
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(drained.since))
    why = f": {drained.reason}" if drained.reason else ""
    return f"is drained since {since} by {drained.by}{why}"


def way_back(name):
    """Return the command that ends it."""
    return f"'salt-run repmgr.back {name}'"


def away(spec: ClusterSpec, said: Mapping[str, Observation], servers: Mapping[str, Server]):
    """Return ``{name: Drained}`` of the members that are drained.

    said
        What each node that answered said of itself: that is what counts.
    servers
        Node name to the server that answered anybody. Of a node that neither answers nor has a
        server that does, the history of the latest one is believed.
    """
    found = {name: seen.drained for name, seen in said.items() if seen.drained is not None}
    holders = [servers[n.name] for n in spec.data_nodes if n.name in servers]
    holders = [server for server in holders if server.nodes is not None]
    latest = max(holders, key=lambda s: (s.timeline, not s.in_recovery), default=None)
    for node in spec.members if latest is not None else ():
        if node.name not in said and node.name not in servers:
            recorded = is_recorded(latest, node)
            found |= {node.name: recorded} if recorded else {}
    return found


def is_recorded(server: Server, node):
    """Return the :class:`~saltext_repmgr.utils.facts.Drained` that a server's history has of a
    node that was not registered again since, or None."""
    record = server.record(node.id)
    return record.drained if record is not None else None


def without(spec: ClusterSpec, names):
    """Return the specification without some nodes."""
    nodes = {name: node for name, node in spec.nodes.items() if name not in names}
    return dataclasses.replace(spec, nodes=nodes)


def ailment(name, drained: Drained, running):
    """Return what there is to say of a drained node.

    running
        Whether its server runs all the same.
    """
    if not running:
        return Ailment(name, words(drained), way_back(name), note=True)
    step = f"'salt-run repmgr.drain {name}' stops it, {way_back(name)} puts {name} back in service"
    return Ailment(name, f"{words(drained)}, but its PostgreSQL runs", step)
