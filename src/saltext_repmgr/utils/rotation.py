"""May the passwords of pillar be put in force, and what would that take? Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from saltext_repmgr.utils import drained
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import lsn
from saltext_repmgr.utils.ailment import Ailment
from saltext_repmgr.utils.facts import Passwords
from saltext_repmgr.utils.plan import primaries
from saltext_repmgr.utils.plan import reached
from saltext_repmgr.utils.plan import two_primaries
from saltext_repmgr.utils.spec import ROUTER_DETOUR
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.switchover import MOST_LAG_BYTES
from saltext_repmgr.utils.switchover import Check

STEP = "'salt-run repmgr.rotate_password'"
_HEAL = "'salt-run state.orchestrate repmgr.cluster'"


@dataclass(frozen=True)
class Rotation:
    """A change of passwords as it is planned.

    roles
        Names of the roles whose password is to be changed.
    nodes
        Names of the members that answer. One that is still to be made is not among them, and once
        the role is changed those that are away come later.
    steps
        What would be done, in words.
    """

    cluster: str
    primary: str | None = None
    roles: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def problems(self):
        """What stands against it, a line each."""
        return tuple(f"{c.name}: {c.problem}" for c in self.checks if c.problem)


def read(replies: Mapping[str, object]):
    """Return ``{name: Passwords}`` of what the minions returned for ``repmgr_node.report``."""
    return {
        name: facts.from_dict(Passwords, reply["passwords"])
        for name, reply in replies.items()
        if isinstance(reply, Mapping) and reply.get("passwords")
    }


def due(found: Mapping[str, Passwords], away=()):
    """Return the names of the roles for which a host has another password than pillar, or whose
    change was not ended.

    away
        Names of the nodes that are drained.
    """
    late = _late(found, away)
    roles = {
        "repmgr": late["repmgr"],
        "pgbouncer": late["pgbouncer"] or any(p.detour for p in found.values()),
    }
    return tuple(role for role, yes in roles.items() if yes)


def _late(found, away):
    """The names of the hosts on which a role's password is not in force."""
    return {
        "repmgr": sorted(name for name, p in found.items() if p.due and name not in away),
        "pgbouncer": sorted(name for name, p in found.items() if p.router_due),
    }


def ailments(found: Mapping[str, Passwords], planned=False, away=()):
    """Return an :class:`~saltext_repmgr.utils.ailment.Ailment` for each role whose password in
    pillar is not in force everywhere.

    planned
        Whether a run that is only tried would change that.
    away
        Names of the nodes that are drained.
    """
    for role, late in _late(found, away).items():
        what = f"pillar's password of role {role} is not in force on {', '.join(late)}"
        if late:
            yield Ailment("", what, STEP, planned=planned)
    if any(p.detour for p in found.values()):
        what = f"role {ROUTER_DETOUR} is left over from an unfinished change of passwords"
        yield Ailment("", what, f"{STEP} finishes it", planned=planned)


def examine(spec: ClusterSpec, said, missing, found: Mapping[str, Passwords]) -> Rotation:
    """Return the :class:`Rotation`.

    said, missing
        What each member that answered said of itself, and the others with the reason.
    found
        The :class:`~saltext_repmgr.utils.facts.Passwords` of all that answered.
    """
    servers = reached(said)
    # Who is drained gets it when it is back.
    away = drained.away(spec, said, servers)
    roles = due(found, away)
    if not roles:
        return Rotation(spec.cluster)
    live = primaries(spec, servers)
    if len(live) != 1:
        none = f"no node is the primary; run {_HEAL} first"
        problem = two_primaries(servers, live) if live else none
        return Rotation(spec.cluster, roles=roles, checks=(_check("one primary", problem),))
    primary = live[0]
    # What was begun has to be ended, also with those that are there.
    begun = not _unbegun(found[primary], roles)
    names = tuple(
        n.name
        for n in spec.members
        if n.name in said
        and n.name not in away
        and not _is_new(said[n.name])
        and (n.name in servers or not begun)
    )
    missing = {name: why for name, why in missing.items() if name not in away}
    checks = (
        _check("every member answers", "" if begun else _silent(spec, missing, found)),
        _check("one password in all pillars", _pillars(found)),
        _check(
            "the standbys are up to date",
            "" if begun else _standbys(spec, servers, primary, names),
        ),
        _check("repmgrd runs", "" if begun else _daemons(names, said)),
    )
    return Rotation(spec.cluster, primary, roles, names, checks, _steps(spec, primary, roles))


def refused(spec: ClusterSpec, problems) -> Rotation:
    """Return a :class:`Rotation` that cannot be planned, as the hosts' pillars are wrong."""
    return Rotation(spec.cluster, checks=(_check("pillar", "; ".join(problems)),))


def _check(name, problem):
    return Check(name, "no" if problem else "yes", problem)


def _is_new(seen):
    """Whether a node is still to be made; it gets the new password then."""
    return not seen.member and seen.server is None


def _unbegun(own, roles):
    """Whether the primary has all of the former passwords."""
    taken = {"repmgr": own.role, "pgbouncer": own.router_role}
    return all(taken[role] is False for role in roles)


def _silent(spec, missing, found):
    lines = [f"{name}: {why}" for name, why in missing.items()]
    lines += [
        f"{n}: its minion does not answer" for n in spec.routers if n not in {**found, **missing}
    ]
    hint = "start it first: otherwise it would keep the old password"
    return f"{'; '.join(lines)}; {hint}" if lines else ""


def _pillars(found):
    groups = {}
    for name, seen in found.items():
        groups.setdefault(seen.digest, []).append(name)
    if len(groups) < 2:
        return ""
    listed = "; ".join(" and ".join(names) for names in groups.values())
    return (
        f"the pillars of these hosts differ: {listed}. Give every host the same 'password' and"
        " 'pgbouncer: password'"
    )


def _standbys(spec, servers, primary, names):
    wrong = []
    for node in spec.members:
        server = servers.get(node.name)
        if node.name not in names or node.name == primary:
            continue
        if server is None:
            wrong.append(f"PostgreSQL on {node.name} does not answer")
        elif node.is_witness:
            continue
        elif server.receiver != "streaming":
            wrong.append(f"{node.name} does not stream")
        elif server.replay_paused:
            why = limits.why_paused(servers, node.name, primary)
            step = why or "run 'SELECT pg_wal_replay_resume()' there as postgres"
            wrong.append(f"replay is paused on {node.name} ({step})")
        elif server.replay_lsn and servers[primary].lsn:
            behind = lsn.diff(servers[primary].lsn, server.replay_lsn)
            if behind > MOST_LAG_BYTES:
                wrong.append(f"{node.name} is {behind} bytes behind; wait until it has caught up")
    return f"{'; '.join(wrong)}; run {_HEAL}, which repairs what it can" if wrong else ""


def _daemons(names, said):
    wrong = [name for name in names if not said[name].repmgrd.attached]
    return f"repmgrd does not run on {', '.join(wrong)}; run {_HEAL}" if wrong else ""


def _steps(spec, primary, roles):
    lines = []
    if "repmgr" in roles:
        lines += [
            f"the password of role repmgr is changed on {primary}, once every node is ready",
            "each node writes the new password to its password file as soon as a server accepts it",
        ]
        lines += [
            f"the password of role repmgr is changed on witness {n.name}"
            for n in spec.members
            if n.is_witness
        ]
        lines += ["each node checks that the old password is refused, and that it can replicate"]
    if "pgbouncer" in roles:
        lines += [
            f"{len(spec.routers)} PgBouncer(s) look up their clients as role {ROUTER_DETOUR}",
            f"the password of role pgbouncer is changed on {primary}",
            "the PgBouncers look up their clients as role pgbouncer again, with the new password",
        ]
    return tuple(lines)
