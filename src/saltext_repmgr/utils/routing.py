"""What the hosts with a PgBouncer said: is each of them as it should be. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace

from saltext_repmgr.utils import facts
from saltext_repmgr.utils.ailment import Ailment
from saltext_repmgr.utils.facts import Router
from saltext_repmgr.utils.spec import ClusterSpec


@dataclass(frozen=True)
class RouterStatus:
    """A PgBouncer; what nobody knows is None.

    minion
        Whether its minion answered.
    points_to
        Name of the node where it leads those who write.
    paused
        Whether it lets nobody begin a transaction there.
    writable
        Whether the listed databases were reached through it, on a primary; None also where none
        of them exists yet.
    error
        Why it, or a database through it, could not be used.
    """

    name: str
    minion: bool
    points_to: str | None = None
    paused: bool | None = None
    writable: bool | None = None
    error: str = ""


def read(spec: ClusterSpec, replies: Mapping[str, object]):
    """Return ``(routers, missing)``: ``{name: Router}``, and why there is none of the other hosts
    that are no members of the cluster.

    replies
        Minion id to what it returned for ``repmgr_node.report``.
    """
    found, missing = {}, {}
    members = {node.name for node in spec.members}
    for name in spec.routers:
        reply = replies.get(name)
        if isinstance(reply, Mapping) and reply.get("router"):
            found[name] = facts.from_dict(Router, reply["router"])
        elif name not in members:
            missing[name] = _why(name, reply)
    return found, missing


def _why(name, reply):
    if reply is None:
        return f"its minion does not answer ('salt {name} test.ping')"
    if isinstance(reply, Mapping):
        return "; ".join(reply.get("problems") or ["its own pillar lists no PgBouncer for it"])
    return " ".join(str(reply).split())[:300]


def status(spec: ClusterSpec, routers: Mapping[str, Router]):
    """Return the :class:`RouterStatus` of every host with a PgBouncer."""
    return tuple(
        _status(routers[name]) if name in routers else RouterStatus(name, minion=False)
        for name in spec.routers
    )


def _status(router):
    asked = {n: t for n, t in router.databases.items() if not is_absent(n, t)}
    errors = [f"{name}: {through.error}" for name, through in asked.items() if through.error]
    return RouterStatus(
        name=router.name,
        minion=True,
        points_to=router.points_to,
        paused=router.paused,
        writable=all(t.in_recovery is False for t in asked.values()) if asked else None,
        error="; ".join(filter(None, [router.error, *errors])),
    )


def is_absent(name, through):
    """Whether a database could not be reached because there is none of that name."""
    return f'database "{name}" does not exist' in through.error


def ailments(spec: ClusterSpec, router: Router, primary):
    """Return the :class:`~saltext_repmgr.utils.ailment.Ailment` of all that is wrong with a
    PgBouncer.

    primary
        Name of the one primary, or None.
    """
    return [replace(found, node=router.name) for found in _ailments(spec, router, primary)]


def _ailments(spec, router, primary):
    apply = f"'salt {router.name} state.apply repmgr.pgbouncer'"
    if not router.installed:
        yield Ailment("", "PgBouncer is not installed", apply)
        return
    if router.unit != "active":
        step = f"{apply}, and see 'journalctl -u pgbouncer' on it"
        yield Ailment("", f"PgBouncer does not run (unit: {router.unit})", step, settles=True)
        return
    if not router.daemon.attached:
        what = (
            f"repmgr-router does not run (unit: {router.daemon.unit}): PgBouncer does not follow a new"
            " primary"
        )
        step = f"{apply}, and see 'journalctl -u repmgr-router' on it"
        yield Ailment("", what, step, settles=True)
    if router.error:
        what = f"PgBouncer does not answer: {router.error}"
        yield Ailment("", what, "'systemctl restart pgbouncer' on it", settles=True)
        return
    if primary is not None and router.points_to != primary:
        where = ", ".join(router.hosts) or "nowhere"
        where = f"{router.points_to} ({where})" if router.points_to else where
        what = f"PgBouncer routes clients to {where}, and {primary} is the primary"
        step = apply
        if router.daemon.attached:
            step = (
                "see 'journalctl -u repmgr-router' on it; it has to reach port"
                f" {spec.postgres.port} of all nodes"
            )
        yield Ailment("", what, step, settles=True)
    if router.paused and router.held:
        what = "PgBouncer holds its clients: a switchover or restart of the primary is under way"
        yield Ailment("", what, "this ends by itself", settles=True)
    elif router.paused:
        console = f"psql -p {spec.pgbouncer.port} pgbouncer pgbouncer"
        step = f"run 'RESUME <database>' for each database in '{console}' on it, as postgres"
        yield Ailment("", "PgBouncer is paused, and does not resume by itself", step)
    for database, through in router.databases.items():
        yield from _through(database, through)


def _through(database, through):
    again = "'salt-run state.orchestrate repmgr.cluster'"
    if is_absent(database, through):
        what = f"database {database} does not exist"
        yield Ailment("", what, f"create it on the primary, then {again}", note=True)
    elif through.error:
        what = f"clients cannot use {database} through PgBouncer: {through.error}"
        yield Ailment("", what, "see /var/log/postgresql/pgbouncer.log on it", settles=True)
    elif through.in_recovery:
        what = f"{database} is read-only through PgBouncer"
        step = "'SHOW DATABASES' in its console shows to which host it routes"
        yield Ailment("", what, step, settles=True)
    elif not through.ready:
        what = (
            f"no client can log in to {database} through PgBouncer: its lookup function is missing"
        )
        yield Ailment("", what, again, settles=True)
