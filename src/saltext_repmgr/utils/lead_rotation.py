"""The master's side of a change of passwords: look, hand out the parts, look again."""

import secrets
import time

from saltext_repmgr.utils import master
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import rotate_router
from saltext_repmgr.utils import rotation
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.facts import Passwords
from saltext_repmgr.utils.outcome import NO_RESULT
from saltext_repmgr.utils.outcome import Outcome


class Result(Outcome):
    """What became of a change of passwords."""

    @property
    def news(self):
        if not self.plan.roles:
            return f"the passwords in pillar are in force in {self.plan.cluster} already"
        roles = " and ".join(self.plan.roles)
        if not self.changed:
            return f"the password of {roles} could be changed now"
        return f"the password of {roles} was changed in {self.seconds:.1f} s"


def rotate(cmd, spec, test=False):
    """Put pillar's passwords in force and return the :class:`Result`.

    cmd
        Salt's ``saltutil.cmd``.
    test
        Only look.
    """
    began = time.monotonic()
    plan, hosts = _look(cmd, spec)
    if plan.problems or not plan.roles or test:
        return Result(plan, problems=plan.problems, seconds=time.monotonic() - began)
    nodes = _change(cmd, spec, plan, hosts)
    problems = tuple(
        f"{name}: {text}" for name, text in nodes.items() if not isinstance(text, dict)
    )
    problems = problems or tuple(a.line for a in master.settled(cmd, spec) if not a.note)
    return Result(plan, True, _texts(nodes), problems, time.monotonic() - began)


def _texts(nodes):
    return {n: r["comment"] if isinstance(r, dict) else str(r) for n, r in nodes.items()}


def _look(cmd, spec):
    """Return the :class:`Rotation`, and the names of all hosts that answered."""
    salt = secrets.token_hex(16)
    replies = master.reports(cmd, spec.minions, kwarg={"salt": salt})
    observations, _, problems, missing = survey.read_reports(spec, replies)
    if problems:
        return rotation.refused(spec, problems), ()
    found = rotation.read(replies)
    own = {"the orchestration": Passwords(digest=passwords.digest(spec, salt))}
    return rotation.examine(spec, observations, missing, {**found, **own}), tuple(found)


def _change(cmd, spec, plan, answered):
    nodes = {}
    if "repmgr" in plan.roles:
        parts = {"primary": plan.primary, "nodes": list(plan.nodes)}
        nodes = _ask(cmd, plan.nodes, "repmgr_node.rotate_password", parts)
    if "pgbouncer" not in plan.roles or not _good(nodes):
        return nodes
    hosts = list(dict.fromkeys([plan.primary, *(n for n in spec.routers if n in answered)]))
    for step in rotate_router.STEPS:
        parts = {"step": step, "primary": plan.primary}
        nodes = {**nodes, **_ask(cmd, hosts, "repmgr_router.rotate_password", parts)}
        if not _good(nodes):
            break
    return nodes


def _ask(cmd, names, function, arguments):
    replies = master.tell(cmd, names, function, kwarg=arguments)
    return {name: replies.get(name, NO_RESULT) for name in names}


def _good(nodes):
    # An error comes as text.
    return all(isinstance(said, dict) for said in nodes.values())
