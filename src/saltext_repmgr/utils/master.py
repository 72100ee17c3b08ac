"""The master's side: find a cluster's pillar and ask its minions."""

import time

import salt.pillar
import salt.utils.minions
import salt.utils.verify

from saltext_repmgr.utils import survey
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import PillarError

# A node answers in well under a second; with dead members it waits for them once, two
# seconds. A minion that is silent for the sum of both is taken for dead.
ASK_TIMEOUT = 6
PROBE_TIMEOUT = 3
TELL_TIMEOUT = 30
# Somebody waits for the answer, and one who is late is only shown as that.
STATUS_TIMEOUT = 3
REPORT = "repmgr_node.report"


def find_spec(opts, values, cluster=None):
    """Return the :class:`~saltext_repmgr.utils.spec.ClusterSpec` an orchestration works on.

    opts
        The master's configuration.
    values
        Pillar of the orchestration.
    cluster
        Name of the cluster, where the master knows several; then, unless it is the one in
        ``values``, it is looked for in the pillars of the minions.
    """
    own = values.get(wanted.PILLAR_KEY) if values else None
    if cluster is None or (isinstance(own, dict) and own.get("cluster") == cluster):
        return wanted.read(values or {})
    # Exactly: a name with a '*' is no name.
    found = salt.utils.minions.CkMinions(opts).check_minions(
        f"{wanted.PILLAR_KEY}:cluster:{cluster}", tgt_type="pillar_exact"
    )["minions"]
    if not found:
        raise PillarError(
            [
                (
                    "repmgr.cluster",
                    f"no minion's pillar says {cluster!r}; if it is new, run"
                    " \"salt '*' saltutil.refresh_pillar\" once so that the master learns of it",
                )
            ]
        )
    return wanted.read(minion_pillar(opts, sorted(found)[0]))


def spec_of_minion(opts, minion_id):
    """Return the :class:`~saltext_repmgr.utils.spec.ClusterSpec` of which a minion is a member by its
    own pillar; None where it is a member of none.

    minion_id
        What an event says, so it may be anything: only an id whose key was accepted is looked up.
    """
    if not minion_id or not salt.utils.verify.valid_id(opts, minion_id):
        return None
    known = salt.utils.minions.CkMinions(opts).check_minions([minion_id], tgt_type="list")
    if known["minions"] != [minion_id]:
        return None
    values = minion_pillar(opts, minion_id)
    if wanted.PILLAR_KEY not in values:
        return None
    spec = wanted.read(values)
    return spec if minion_id in [node.name for node in spec.members] else None


def minion_pillar(opts, minion_id):
    """Compile a minion's pillar on the master, as ``salt-run pillar.show_pillar`` does."""
    _, grains, _ = salt.utils.minions.get_minion_data(minion_id, opts)
    pillar = salt.pillar.Pillar(opts, grains or {"id": minion_id}, minion_id, opts.get("saltenv"))
    return pillar.compile_pillar()


def ask_all(cmd, spec):
    """Ask all members, the hosts with a PgBouncer, and the nodes that are still to leave.

    A node that is gone for good is asked nothing, as it would be waited for.
    """
    replies = reports(cmd, spec.minions)
    leavers = survey.leavers(spec, replies)
    return {**replies, **(reports(cmd, leavers) if leavers else {})}


def reports(cmd, names, **more):
    """Return what ``repmgr_node.report`` tells, as :func:`ask` does.

    Those that have an older pillar are told to take the present one, as they go by their own in
    what follows; but none that has problems, as they could do nothing with it.
    """
    replies = ask_again(cmd, names, REPORT, **more)
    told = {name: said for name, said in replies.items() if isinstance(said, dict)}
    stale = [name for name, s in told.items() if s.get("stale") and not s.get("problems")]
    if stale:
        ask(cmd, stale, "saltutil.refresh_pillar", kwarg={"wait": True})
    return replies


def ask(cmd, names, function, timeout=ASK_TIMEOUT, **more):
    """Ask minions all at once and return ``{minion id: what it returned}``.

    cmd
        Salt's ``saltutil.cmd``.
    names
        Minion ids.
    function
        Name of an execution function.
    timeout
        Seconds after which those that are silent are asked whether they still work on it. Who
        does not answer that either is not waited for.
    more
        Other arguments of ``cmd``, such as ``kwarg``.
    """
    replies = cmd(
        list(names),
        function,
        tgt_type="list",
        timeout=timeout,
        gather_job_timeout=PROBE_TIMEOUT,
        **more,
    )
    return {name: reply["ret"] for name, reply in replies.items() if "ret" in reply}


def tell(cmd, names, function, **more):
    """Have minions change something; arguments and what is returned are those of :func:`ask`.

    Who is at work may have too much to do to say so in time, and is seldom asked for that reason.
    """
    return ask(cmd, names, function, TELL_TIMEOUT, **more)


def ask_again(cmd, names, function, **more):
    """Ask as :func:`ask` does, and those that are silent once more: a busy minion is late now and
    then, and would be left out of all that follows."""
    replies = ask(cmd, names, function, **more)
    silent = [name for name in names if name not in replies]
    return replies | (ask(cmd, silent, function, **more) if silent else {})


def settled(cmd, spec, test=False, timeout=30, known=False):
    """Ask the members until all is well, or what is wrong does not go away by itself.

    timeout
        Seconds to wait for what may.
    known
        The minions may have the present pillar. It is compiled anew when something is wrong.

    Returns the :class:`~saltext_repmgr.utils.survey.Ailment` that are left.
    """
    deadline = time.monotonic() + (0 if test else timeout)
    pause = 0.3
    while True:
        replies = reports(cmd, spec.minions, kwarg={"refresh": not known})
        found = survey.ailments(spec, replies, test)
        if found and known:
            known = False
            continue
        if not any(a.settles for a in found) or time.monotonic() >= deadline:
            return found
        time.sleep(pause)
        pause = min(pause * 2, 4)
