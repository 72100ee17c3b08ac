"""Settings that a standby must have at least as high as its primary runs with. Pure.

A standby with less does not start, or stops replaying. So pillar's value of one of them is held
back where it would do that, until the other side is there ('salt-run repmgr.restart').
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import existing
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils.facts import LIMITS
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import visible
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import NodeSpec

SYNCHRONOUS = "synchronous_standby_names"


@dataclass(frozen=True)
class Held:
    """A setting that cannot be what pillar asks for yet.

    asked
        What pillar asks for, or where it is silent, the server's other files.
    value
        What it has to be for now.
    """

    name: str
    asked: int | str
    value: int | str
    reason: str

    @property
    def line(self):
        """All of it in one line."""
        return (
            f"{self.name} stays {self.value or 'empty'} and is not {self.asked} yet: {self.reason}"
        )


def asked(settings: Mapping[str, object], seen: Observation):
    """Return ``{name: value}`` of those limits of which it is known what is asked for.

    settings
        What is to be written on the node.
    """
    found = dict(seen.server.other_limits) if seen.server is not None else {}
    for name in LIMITS:
        if name in settings:
            found.pop(name, None)
            with contextlib.suppress(ValueError):
                found[name] = int(settings[name])
    return found


def hold(spec: ClusterSpec, node: NodeSpec, seen: Observation, settings: Mapping[str, object]):
    """Return the :class:`Held` of a node, given what it sees.

    settings
        What pillar asks for on it, see :func:`saltext_repmgr.utils.pg_settings.server_settings`.
    """
    servers = visible(seen)
    live = primaries(spec, servers)
    if node.is_witness or len(live) > 1:
        return ()
    found = {h.name: h for h in (*_in_use(seen, settings), *_unconfirmed(spec, node, seen))}
    bound = _above(spec, servers, node) if live == [node.name] else _floor(seen, servers, live)
    for name, value in asked(settings, seen).items():
        held, reason = bound(name, value)
        if held != value:
            found[name] = Held(name, value, held, reason)
    return tuple(found.values())


def _unconfirmed(spec, node, seen):
    """A server at work does not begin to wait for standbys that are not there: its clients would."""
    server = seen.server
    if server is None or server.in_recovery or server.synchronous != "":
        return
    number, names = pg_settings.confirming(spec, node)
    here = {s.application_name for s in server.senders if s.state == "streaming"} & {*names}
    if len(here) < number:
        asked_for = pg_settings.server_settings(spec, node)[SYNCHRONOUS]
        why = f"it takes {number} of {', '.join(names)} to confirm a commit, and {len(here)} stream"
        yield Held(SYNCHRONOUS, asked_for, "", why)


def waits_for_standbys(spec, node, seen):
    """Whether a primary has to be looked at again once its standbys are there."""
    return any(_unconfirmed(spec, node, seen))


def _in_use(seen, settings):
    """What slots and senders need: the server would not start with less, or let somebody down."""
    server = seen.server
    if server is None:
        return
    logical = [s.slot_name for s in server.slots if s.slot_type == "logical"]
    level = settings.get("wal_level", "logical")
    if logical and level != "logical":
        why = f"the logical slot(s) {', '.join(logical)} need that; drop them first"
        yield Held("wal_level", level, "logical", why)
    in_use = {
        "max_replication_slots": (server.max_replication_slots, f"{len(server.slots)} slots exist"),
        "max_wal_senders": (server.max_wal_senders, f"{len(server.senders)} senders are in use"),
    }
    counts = {"max_replication_slots": len(server.slots), "max_wal_senders": len(server.senders)}
    for name, (has, why) in in_use.items():
        value = settings.get(name)
        if isinstance(value, int) and value < counts[name]:
            yield Held(name, value, has, why)


def _above(spec, servers, node):
    """A primary goes no higher than its standbys."""
    own = servers[node.name].limits
    others = {
        n.name: servers[n.name].limits
        for n in spec.data_nodes
        if n.name != node.name and n.name in servers and servers[n.name].in_recovery
    }

    def bound(name, value):
        lower = {n: limits[name] for n, limits in others.items() if limits.get(name, value) < value}
        if value <= own.get(name, value) or not lower:
            return value, ""
        return max(own[name], min(lower.values())), f"{', '.join(lower)} would have less"

    return bound


def _floor(seen, servers, live):
    """A standby goes no lower than its primary, or than the data it has still to replay."""
    primary = servers[live[0]] if live else None
    control = seen.data.control if seen.data.content is Content.POSTGRES else None
    if control is not None and not seen.data.standby:
        ours = primary is not None and primary.system_identifier == control.system_identifier
        control = control if ours else None
    floors = [(control.limits, "its data need that")] if control is not None else []
    floors += [(primary.limits, f"{live[0]} runs with that")] if primary is not None else []

    def bound(name, value):
        return max((limits.get(name, value), reason) for limits, reason in [({}, ""), *floors])

    return bound


def less(own: Mapping[str, int], needed: Mapping[str, int]):
    """Return ``{name: (what a server has, what it needs)}`` of those that are too low."""
    return {n: (own[n], value) for n, value in needed.items() if own.get(n, value) < value}


def why_paused(servers, name, primary):
    """Say how a standby whose replay is paused goes on, or an empty string where its limits are not
    what keeps it.

    servers
        Node name to the server that answered.
    name, primary
        Names of the standby and of the primary (None where there is not one).

    Such a standby must not be resumed: PostgreSQL shuts it down then.
    https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN
    """
    if primary not in servers:
        return ""
    found = less(servers[name].limits, servers[primary].limits)
    words = [f"{n} is {own} and is {needed} on {primary}" for n, (own, needed) in found.items()]
    return words and (
        f"{', '.join(words)}: 'salt-run repmgr.restart' gives it as much; resumed before that, its"
        " server shuts down"
    )


def wanted(spec: ClusterSpec, node: NodeSpec, seen: Observation, next_start=()):
    """Return what is to be written on a node, but for what is held back.

    next_start
        What a server that is down would start with, as far as it is known.
    """
    servers = visible(seen)
    live = primaries(spec, servers)
    files, running, primary = dict(next_start), {}, {}
    if seen.server is not None:
        files, running = seen.server.configuration.others, seen.server.kept
    if len(live) == 1 and live != [node.name] and not node.is_witness:
        primary = servers[live[0]].kept
    found = existing.combine(files, running, primary)
    return pg_settings.server_settings(spec, node, found)


def settle(spec: ClusterSpec, node: NodeSpec, seen: Observation, next_start=()):
    """Return ``(settings, held)``: all that is to be written on a node now, and the
    :class:`Held` among it."""
    settings = wanted(spec, node, seen, next_start)
    held = hold(spec, node, seen, settings)
    return apply(settings, held), held


def raised(text, ran_with: Mapping[str, int], needed: Mapping[str, int]):
    """Return the text of a settings file in which no limit is lower than it has to be; all else
    stays as it was.

    ran_with
        Limits as the server had them last, for those that are not in the file.
    needed
        What the primary runs with.
    """
    lines = text.splitlines(keepends=True)
    for name, least in needed.items():
        found = re.search(rf"^{name} = '?(\d+)'?$", text, re.MULTILINE)
        if (int(found[1]) if found else ran_with.get(name, least)) < least:
            lines = [line for line in lines if not line.startswith(f"{name} = ")]
            lines.append(f"{name} = {least}\n")
    header = [line for line in lines if line.startswith("#")]
    return "".join(header + sorted(line for line in lines if not line.startswith("#")))


def of_look(look):
    """Return :func:`settle` of a :class:`~saltext_repmgr.utils.look.Look`'s node."""
    return settle(look.spec, look.node, look.seen, look.next_start)


def text_of(look):
    """Return what the settings file of a :class:`~saltext_repmgr.utils.look.Look`'s node is to
    hold now."""
    return pg_settings.render(of_look(look)[0])


def resets(look):
    """Return the :class:`~saltext_repmgr.utils.existing.Reset` that a
    :class:`~saltext_repmgr.utils.look.Look`'s node needs."""
    asked_for = {*look.spec.postgres.settings, *look.spec.settings}
    return existing.resets(of_look(look)[0], look.seen, asked_for)


def apply(settings: Mapping[str, object], held):
    """Return the settings with those that are held back as they have to be for now."""
    return {**settings, **{h.name: h.value for h in held}}
