"""
Questions about whole clusters, and planned changes of them, for people at the master.

What comes back is shown on one screen; ``--out=json`` gives it as data, as it is described here
(and ``outputter``, how it is shown). What is wrong with the pillar or with an argument is in
``result``, and the exit code is 1.

CLI Example:

.. code-block:: bash

    salt-run repmgr.status
    salt-run repmgr.preflight
"""

import os

import salt.client

from saltext_repmgr.utils import campaign
from saltext_repmgr.utils import drain_lead
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import healing
from saltext_repmgr.utils import lead
from saltext_repmgr.utils import lead_rotation
from saltext_repmgr.utils import master
from saltext_repmgr.utils import status as telling
from saltext_repmgr.utils import survey
from saltext_repmgr.utils.boundary import answered
from saltext_repmgr.utils.errors import PillarError

__virtualname__ = "repmgr"


def __virtual__():
    return __virtualname__


def _spec(cluster):
    values = master.minion_pillar(__opts__, f"{__opts__['id']}")
    return master.find_spec(__opts__, values, cluster)


def _cmd(tgt, fun, **kwargs):
    found = {}
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        for part in client.cmd_iter(tgt, fun, **kwargs):
            found.update(part)
            if len(found) == len(tgt):
                break
    return found


def _ended(told, code):
    """Return data with which ``salt-run`` ends with an exit code.

    It goes by the key; states and other callers of the runner go by the context.
    """
    __context__["retcode"] = code
    return {**told, "retcode": code}


def _worked(told, code):
    return _ended({**told, "outputter": "repmgr_work"}, code)


def _failed(text):
    return _worked({"changed": False, "result": text}, 1)


def status(cluster=None):
    """
    Show a cluster on one screen: the tree of its nodes with roles, timelines, lag, daemons and
    slots, and in words what is wrong and what to do. All minions are asked at once; what a
    silent one cannot say is taken from the other members.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary, with ``--out=json`` as it is: ``format`` (int, 1), ``cluster`` (str),
    ``verdict`` (``healthy``, ``degraded`` or ``broken``), ``primary`` (str or None), ``nodes``,
    ``electors``, ``problems``, ``routers`` and ``retcode`` (int, the exit code: 0, 1 or 2, as the
    verdict). A wrong pillar is a problem too, nothing is raised.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.status
        salt-run repmgr.status foobar --out=json
    """
    try:
        spec = _spec(cluster)
        replies = master.ask(_cmd, spec.minions, master.REPORT, master.STATUS_TIMEOUT)
        found = telling.examine(spec, replies)
    except PillarError as err:
        found = telling.unknown(cluster, err.problems)
    told = {**telling.to_data(found), "outputter": "repmgr_status"}
    return _ended(told, found.verdict.exit_code)


def preflight(cluster=None):
    """
    Check the pillar and what the minions say, as the orchestration does before it begins.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns a dictionary: ``problems`` (every mistake, list of str), ``primary`` and ``reason``,
    ``order`` of work, ``missing``, the nodes that cannot take part, each with the reason, and
    ``retcode`` (int), the exit code: 1 with problems, else 0.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.preflight
        salt-run repmgr.preflight cluster=foobar
    """
    try:
        spec = _spec(cluster)
        found = survey.survey(spec, master.ask_all(_cmd, spec))
    except PillarError as err:
        problems = tuple(f"{key}: {message}" for key, message in err.problems)
        found = survey.Survey(cluster or "", problems=problems)
    told = facts.to_dict(found)
    keys = ("cluster", "problems", "primary", "reason", "order", "missing")
    return _ended({k: told[k] for k in keys}, 1 if found.problems else 0)


@answered(_failed)
def switchover(to=None, cluster=None, test=False):
    """
    Make another node the primary, in good order: see docs/switchover.md. Nothing is touched unless
    all checks pass.

    to
        Name of the node (str); without one it is the standby that is fit best.
    cluster
        Name of the cluster (str), where the master knows more than one.
    test
        Only show the checks and the steps (bool).

    Returns a dictionary: ``cluster``, ``from``, ``to`` (str), ``changed`` (bool), ``result`` (str,
    what became of it), ``checks`` (each with ``name``, ``finding`` and ``problem``), ``steps`` (list
    of str), ``nodes`` (what each says of its part), ``seconds`` (float) and ``retcode`` (int,
    the exit code: 0, or 1 where something is not as it should be).

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.switchover node2 test=True
        salt-run repmgr.switchover node2
    """
    done = lead.switch_over(_cmd, _spec(cluster), to, test)
    about = {"from": done.plan.primary, "to": done.plan.target}
    return _worked(done.told(**about), 1 if done.problems else 0)


@answered(_failed)
def pause(cluster=None, minutes=15):
    """
    Keep repmgrd from failing over, on every node of a cluster, for some time.

    cluster
        Name of the cluster (str), where the master knows more than one.
    minutes
        For how long (int or float, up to a day). The guards end the pause.

    Returns ``{node: what it says}``; the exit code is 1 where a node did not do it.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.pause minutes=30
    """
    return _tell_all(cluster, "repmgr_node.pause", {"minutes": minutes})


@answered(_failed)
def unpause(cluster=None):
    """
    Let repmgrd fail over again, on every node of a cluster.

    cluster
        Name of the cluster (str), where the master knows more than one.

    Returns ``{node: what it says}``; the exit code is 1 where a node did not do it.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.unpause
    """
    return _tell_all(cluster, "repmgr_node.unpause", {})


def _tell_all(cluster, function, arguments):
    names = [n.name for n in _spec(cluster).members]
    replies = master.ask_again(_cmd, names, function, kwarg=arguments)
    told = {name: replies.get(name, "its minion does not answer") for name in names}
    return _ended(told, int(not all(isinstance(reply, dict) for reply in told.values())))


@answered(_failed)
def heal(cluster=None, minion=None):
    """
    Run the orchestration of a cluster, where pillar allows that and there is something to mend.

    Made for the master's reactor, see ``states/repmgr/reactor/heal.sls``. Several calls about one
    failover lead to one run, and a call that comes while one goes on looks again after it.

    cluster
        Name of the cluster (str).
    minion
        Id of a minion (str) instead, as an event says it: the cluster that this minion is a member of
        by the pillar that the master has for it, and nothing is done where there is none.

    Returns a dictionary: ``cluster``, ``ran`` (bool), ``reason`` (str) and, after a run, ``ok``
    (bool; then the exit code is 1 unless it is true). It runs only with ``rejoin: auto`` in
    pillar, and only when a node that answers needs something. A run is announced and
    reported on the event bus as ``repmgr/<cluster>/heal``.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.heal cluster=foobar
    """
    spec = _spec(cluster) if minion is None else master.spec_of_minion(__opts__, str(minion))
    if spec is None:
        return {"cluster": None, "ran": False, "reason": f"{minion} is no node of a cluster"}
    told = {"cluster": spec.cluster, "ran": False}
    if spec.rejoin != "auto":
        return {**told, "reason": f"pillar says 'rejoin: {spec.rejoin}'"}
    turn = healing.await_turn(os.path.join(__opts__["cachedir"], "repmgr"), spec.cluster)
    if turn is None:
        return {**told, "reason": "another call of repmgr.heal is about to begin"}
    with turn:
        replies = _reports(spec)
        if healing.curable(spec, replies):
            # Somebody's run may be what is seen, and may mend it.
            busy = healing.await_calm(lambda: master.ask(_cmd, replies, "saltutil.running"))
            if busy:
                return {**told, "reason": busy}
            replies = _reports(spec)
        lines = healing.curable(spec, replies)
        if not lines:
            return {**told, "reason": "nothing to repair on the nodes that answer"}
        ok = _orchestrate(spec, lines)
    if not ok:
        __context__["retcode"] = 1
    return {**told, "ran": True, "ok": ok, "reason": "; ".join(lines)}


def _reports(spec):
    return master.reports(_cmd, spec.minions)


def _orchestrate(spec, lines):
    tag = f"repmgr/{spec.cluster}/heal"
    __salt__["event.send"](tag, {"cluster": spec.cluster, "stage": "started", "reasons": lines})
    done = __salt__["state.orchestrate"]("repmgr.cluster", pillar={"cluster": spec.cluster})
    ok = done["retcode"] == 0
    __salt__["event.send"](tag, {"cluster": spec.cluster, "stage": "ended", "ok": ok})
    return ok


@answered(_failed)
def drain(
    node, reason="", to=None, force=False, keep_slot=None, cluster=None, test=False
):  # pylint: disable=too-many-arguments
    """
    Take a node out of service for maintenance: see docs/maintenance.md. It stays out, over reboots
    and orchestrations, until :py:func:`back`. Nothing is touched unless all checks pass.

    node
        Name of the node (str). A primary is moved to another node first.
    reason
        Why, for those who come after (str).
    to
        Name of the node (str) that takes over then; without one it is the standby that is fit best.
    force
        Go on where others are not in service, or nobody is left that could take over (bool).
    keep_slot
        Whether its slot stays (bool); without it, where it can keep so much WAL and no more.
    cluster
        Name of the cluster (str), where the master knows more than one.
    test
        Only show the checks and the steps (bool).

    Returns a dictionary: ``cluster``, ``node``, ``primary`` (str), ``to`` (str, who takes over, or
    None), ``changed`` (bool), ``result`` (str, what became of it), ``checks`` (each with ``name``,
    ``finding`` and ``problem``), ``steps`` (list of str), ``nodes`` (what each says of its part),
    ``seconds`` (float) and ``retcode`` (int, the exit code: 0, or 1 where something is not as it
    should be).

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.drain node2 reason='new disk' test=True
        salt-run repmgr.drain node2 reason='new disk'
    """
    spec = _spec(cluster)
    return _maintained(drain_lead.take_out(_cmd, spec, node, reason, to, force, keep_slot, test))


@answered(_failed)
def back(node, cluster=None, test=False):
    """
    Bring a node back that was drained: it is started, catches up, and is an elector again.

    node
        Name of the node (str).
    cluster
        Name of the cluster (str), where the master knows more than one.
    test
        Only show the steps (bool).

    Returns what :py:func:`drain` does.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.back node2
    """
    return _maintained(drain_lead.bring_back(_cmd, _spec(cluster), node, test))


def _maintained(done):
    plan = done.plan
    told = done.told(node=plan.node, primary=plan.primary, to=plan.heir)
    return _worked(told, 1 if done.problems else 0)


@answered(_failed)
def rotate_password(cluster=None, test=False):
    """
    Put new passwords of pillar in force: of repmgr's role, and of PgBouncer's. See
    docs/passwords.md. Nothing is touched unless all checks pass.

    cluster
        Name of the cluster (str), where the master knows more than one.
    test
        Only show the checks and the steps (bool).

    Returns a dictionary: ``cluster`` (str), ``roles`` whose password pillar changes (list of str),
    ``changed`` (bool), ``result`` (str, what became of it), ``checks`` (each with ``name``,
    ``finding`` and ``problem``), ``steps`` (list of str), ``nodes`` (what each says of its part),
    ``seconds`` (float) and ``retcode`` (int, the exit code: 0, or 1 where something is not as it
    should be).

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.rotate_password test=True
        salt-run repmgr.rotate_password
    """
    done = lead_rotation.rotate(_cmd, _spec(cluster), test)
    return _worked(done.told(roles=list(done.plan.roles)), 1 if done.problems else 0)


@answered(_failed)
def restart(nodes=None, force=False, back=False, cluster=None, test=False):
    """
    Restart the servers whose settings wait for it, one after the other: see docs/rolling.md.

    nodes
        Names of the nodes (list, or str with commas) that are restarted whether they need it or
        not, and no others.
    force
        Restart all, whether they need it or not (bool).
    back
        Make the primary of before the primary again (bool), or make it this node (str).
    cluster
        Name of the cluster (str), where the master knows more than one.
    test
        Only show what would be done (bool).

    Returns a dictionary: ``cluster`` (str), ``changed`` (bool), ``result`` (str, what became of
    it), ``done`` (list of str, each move with what became of it), ``plan`` (list of str, what is
    left to do, in order), ``seconds`` (float) and ``retcode`` (int, the exit code: 0, or 1 where
    it stopped).

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.restart test=True
        salt-run repmgr.restart back=True
        salt-run repmgr.restart nodes=node2,node3
    """
    names = nodes.split(",") if isinstance(nodes, str) else nodes or ()
    return _rolled(campaign.restart(_cmd, _spec(cluster), names, force, back, test))


@answered(_failed)
def upgrade(back=False, cluster=None, test=False):
    """
    Upgrade PostgreSQL's minor version and repmgr on all nodes, one after the other: see
    docs/rolling.md. Another major version of PostgreSQL is never installed.

    back, cluster, test
        As for :func:`restart`.

    Returns what :func:`restart` does.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.upgrade test=True
        salt-run repmgr.upgrade
    """
    return _rolled(campaign.upgrade(_cmd, _spec(cluster), back, test))


def _rolled(found):
    told = {
        "cluster": found.cluster,
        "changed": bool(found.done),
        "result": found.summary,
        "done": list(found.done),
        "plan": list(found.plan),
        "seconds": round(found.seconds, 2),
    }
    return _worked(told, 1 if found.problems else 0)
