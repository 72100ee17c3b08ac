"""The status of a cluster on one screen. Pure."""

from saltext_repmgr.utils import screen
from saltext_repmgr.utils.findings import Severity
from saltext_repmgr.utils.findings import size
from saltext_repmgr.utils.status import ClusterStatus
from saltext_repmgr.utils.topology import NodeStatus
from saltext_repmgr.utils.topology import State

_HEAD = ("node", "role", "state", "TL", "lag", "sync", "repmgrd", "slots")


def render(status: ClusterStatus):
    """Return a status as text of at most 100 columns, in ASCII."""
    parts = [screen.wrap(_summary(status), "", "  ")]
    if status.nodes:
        parts.append(_table(status.nodes))
    if status.routers:
        parts.append(_routers(status.routers))
    for severity in reversed(Severity):
        found = [p for p in status.problems if p.severity is severity]
        if found:
            parts.append(screen.block(severity.value, [_problem(p) for p in found]))
    return "\n\n".join(parts)


def _summary(status):
    words = [f"{status.cluster}: {status.verdict.value}" if status.cluster else "broken"]
    words.append(f"primary {status.primary}" if status.primary else "no single primary")
    elect = status.electors
    if elect.names:
        words.append(f"{len(elect.ready)} can vote for another, {elect.needed} needed")
    return ", ".join(words)


def _table(nodes):
    rows = [_HEAD[1:], *(_cells(n) for n in nodes)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    room = screen.WIDTH - sum(widths) - 2 * len(widths)
    names = [_HEAD[0], *_branches(nodes)]
    width = min(max(map(len, names)), room)
    lines = []
    for name, cells in zip(names, rows):
        name = name if len(name) <= width else f"{name[: width - 1]}~"
        padded = [cell.ljust(w) for cell, w in zip(cells, widths)]
        lines.append("  ".join([name.ljust(width), *padded]).rstrip())
    return "\n".join(lines)


def _routers(routers):
    rows = [("router", "routes to", "clients"), *map(_router, routers)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows)


def _router(router):
    words = {True: "write", False: "do not write", None: "-"}[router.writable]
    return router.name, router.points_to or "-", "wait" if router.paused else words


def _branches(nodes):
    """The names, each behind the branch it hangs on."""
    for index, node in enumerate(nodes):
        branch = ""
        for depth in range(1, node.depth + 1):
            below = next((n.depth for n in nodes[index + 1 :] if n.depth <= depth), 0)
            more = below == depth
            if depth == node.depth:
                branch += "|- " if more else "`- "
            else:
                branch += "|  " if more else "   "
        yield branch + node.name


def _cells(node: NodeStatus):
    return (
        node.role or (f"({node.registered})" if node.registered else "-"),
        _state(node),
        "-" if node.timeline is None or node.role == "witness" else str(node.timeline),
        _lag(node),
        node.sync_state or "-",
        node.repmgrd or "-",
        _slots(node),
    )


def _state(node):
    if node.state is State.RUNNING and node.role == "standby":
        if node.replay_paused:
            return "replay paused"
        return "streaming" if node.receiver == "streaming" else "not streaming"
    if node.drained is not None and node.state is not State.RUNNING:
        return "drained"
    return node.state.value


def _lag(node):
    if node.lag_bytes is None:
        return "-"
    seconds = "?" if node.lag_seconds is None else f"{node.lag_seconds:.1f} s"
    return f"{size(node.lag_bytes)}, {seconds}"


def _slots(node):
    if not node.slots:
        return "-"
    # They keep the same WAL: the one that is furthest behind tells how much.
    kept = max(slot.retained_bytes or 0 for slot in node.slots)
    return f"{len(node.slots)}: {size(kept)}"


def _problem(problem):
    whose = f"{', '.join(problem.nodes)}: " if problem.nodes else ""
    lines = [screen.wrap(whose + problem.what, "  ", "      ")]
    lines += [screen.wrap(detail, "    ", "      ") for detail in problem.details]
    if problem.step:
        lines.append(screen.wrap(f"-> {problem.step}", "    ", "       "))
    return "\n".join(lines)
