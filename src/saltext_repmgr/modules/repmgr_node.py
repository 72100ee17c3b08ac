"""
This minion's part in its repmgr cluster: what pillar wants of it, what is there, what to do.

What those functions say that only look is what the states of the ``repmgr`` SLS act on; the others
do this node's part of what the runner ``repmgr`` and the orchestrations do with all nodes.

Configuration
-------------
Everything comes from the pillar key ``repmgr``; ``pillar.example`` documents it.

:depends: psycopg2 in Salt's own Python
"""

from saltext_repmgr.utils import drain_act
from saltext_repmgr.utils import drained
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import fresh_pillar
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import observe as observing
from saltext_repmgr.utils import packages
from saltext_repmgr.utils import pause as pausing
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import rotate
from saltext_repmgr.utils import router_observe
from saltext_repmgr.utils import upkeep
from saltext_repmgr.utils import wanted as wanting
from saltext_repmgr.utils.boundary import translated
from saltext_repmgr.utils.errors import PillarError
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.look import Look
from saltext_repmgr.utils.plan import Plan

__virtualname__ = "repmgr_node"


def __virtual__():
    return __virtualname__


def _pillar(refresh=False):
    return fresh_pillar.compiled(__opts__, __grains__) if refresh else __pillar__


def _subject(refresh=False):
    return wanting.subject(_pillar(refresh), __opts__["id"])


@translated
def wanted():
    """
    Return all that the SLS files need to render this node's part: paths, packages and the
    texts of its files. There is no secret in it.

    With a wrong pillar the only key is ``problems``, a list of ``key: what is wrong``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.wanted
    """
    try:
        spec, node, layout = _subject()
        drained = observing.own_mark(layout) is not None
        return {**wanting.describe(spec, node, layout), "drained": drained}
    except PillarError as err:
        return {"problems": [f"{key}: {message}" for key, message in err.problems]}


@translated
def observe():
    """
    Return the facts this node can gather: its data directory, its server, its daemon, and
    how it reaches the other members (:class:`saltext_repmgr.utils.facts.Observation`).

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.observe
    """
    return facts.to_dict(observing.observe(*_subject()))


@translated
def plan():
    """
    Return what this node would do now: ``role``, ``primary``, ``actions`` (each with ``step``
    and ``reason``), ``refusal`` (why nothing may be done, or an empty string) and ``notes``.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.plan
    """
    try:
        return facts.to_dict(Look(__pillar__, __opts__, __context__).plan)
    except PillarError:
        raise
    except RepmgrError as err:
        # An SLS file that asks shall fail in words and not while it is rendered.
        return facts.to_dict(Plan(None, refusal=str(err)))


@translated
def pause(minutes=15):
    """
    Let repmgrd on this node keep from failing over, for some time. The guard ends the
    pause, whatever becomes of the minion and the master.

    minutes
        For how long (int or float, up to a day).

    Returns ``{"paused": True, "until": seconds since the epoch (float)}``; of a drained node, whose
    repmgrd does not run, ``{"paused": False, "note": why (str)}``. To pause a whole cluster use
    ``salt-run repmgr.pause``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.pause minutes=30
    """
    spec, node, layout = _subject()
    return _at_rest(node, layout) or {
        "paused": True,
        "until": pausing.begin(spec, layout, minutes),
    }


def _at_rest(node, layout):
    mark = observing.own_mark(layout)
    return {"paused": False, "note": f"{node.name} {drained.words(mark)}"} if mark else None


@translated
def unpause():
    """
    Let repmgrd on this node fail over again.

    Returns ``{"paused": False}``, of a drained node with a ``note`` (str).

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.unpause
    """
    spec, node, layout = _subject()
    if at_rest := _at_rest(node, layout):
        return at_rest
    pausing.end(spec, layout)
    return {"paused": False}


@translated
def switch_over(old, target, away=()):
    """
    Do this node's part when the primary is moved from one node to another. It is made for
    ``salt-run repmgr.switchover``, which gives every node its part at the same moment; alone
    it ends within seconds and touches nothing.

    old, target
        Names of the primary and of the node that shall be the primary (str).
    away
        Names of nodes that are drained and not waited for (list of str).

    Returns ``{"comment": what became of it (str)}``. repmgrd is paused while it lasts.

    CLI Example:

    .. code-block:: bash

        salt -L node1,node2,node3 repmgr_node.switch_over old=node1 target=node2
    """
    # What nobody pays for who has no part in one.
    from saltext_repmgr.utils import handover

    look = Look(__pillar__, __opts__, __context__)
    return {"comment": handover.take_part(look, old, target, list(away), __salt__)}


@translated
def drain(by="root", reason="", keep_slot=None):
    """
    Take this node out of service and keep it there: its repmgrd, its server and its guard are
    stopped and do not start at boot. It is made for ``salt-run repmgr.drain``, which looks at the
    others first; alone it refuses on the primary, and nothing else.

    by, reason
        Who wants it, and why (str).
    keep_slot
        Whether its slot stays (bool); None: where it can keep so much WAL and no more.

    Returns ``comment`` (str, what became of it) and ``feeds``, the names of the standbys that have to
    stream from another node first; where there are some, the server goes on.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.drain by=alice reason='new disk'
    """
    look = Look(__pillar__, __opts__, __context__)
    comment, feeds = drain_act.take_out(look, by, reason, keep_slot)
    return {"comment": comment, "feeds": list(feeds)}


@translated
def back():
    """
    Let the server of a node that was drained start again. ``salt-run repmgr.back`` goes on from
    there, as does ``state.apply repmgr``.

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.back
    """
    changed = drain_act.bring_back(Look(__pillar__, __opts__, __context__))
    return {"comment": "its server may start again" if changed else "it is not drained"}


@translated
def rotate_password(primary, nodes):
    """
    Do this node's part when the password of repmgr's role changes to the one in pillar. It is made
    for ``salt-run repmgr.rotate_password``, which gives every node its part at the same moment;
    alone it ends within a minute and touches nothing.

    primary
        Name of the primary (str).
    nodes
        Names of all nodes that take part (list of str).

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt -L node1,node2 repmgr_node.rotate_password node1 '[node1, node2]'
    """
    look = Look(_pillar(refresh=True), __opts__, __context__)
    return {"comment": rotate.take_part(look, primary, nodes)}


@translated
def settings():
    """
    Return what the server's settings file is to hold now. A setting that a standby must have at
    least as high as its primary is held back until the other side is there.

    Returns ``text`` (str) and ``held`` (list of str, a line for each that is held back).

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.settings
    """
    look = Look(__pillar__, __opts__, __context__)
    settings, held = limits.of_look(look)
    return {"text": pg_settings.render(settings), "held": [h.line for h in held]}


@translated
def configure(test=False):
    """
    Write the server's settings and have it read them; nothing is restarted. With ``test=True``
    it only looks.

    Returns ``{"changed": bool}``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.configure
    """
    look = _fresh_look()
    look.test = look.test or test
    return {"changed": upkeep.configure(look)}


@translated
def restart(node=None, others=()):
    """
    Restart the server of a node with its present settings. Where it does not start with them it
    is started with those that it ran with. A primary is restarted by ``salt-run
    repmgr.restart`` only, which gives all members their parts at the same moment.

    node
        Name of the node that is restarted (str), by default this one.
    others
        Names of the nodes that keep repmgrd paused meanwhile (list of str).

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.restart
    """
    look = _fresh_look()
    return {"comment": upkeep.restart(look, node or look.node.name, list(others))}


@translated
def upgrades(refresh=False):
    """
    Return what is newer than the installed packages of PostgreSQL's major version and of repmgr.

    refresh
        Fetch the lists of packages first (bool).

    Returns ``{package: {"old": version, "new": version}}`` (str).

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.upgrades refresh=True
    """
    return packages.newer(_subject()[2], __salt__, refresh)


@translated
def upgrade(node=None, others=()):
    """
    Upgrade the packages of a node that is not the primary, and have its server and its daemons
    run the new programs. Another major version of PostgreSQL is never installed.

    node, others
        As in :func:`restart`.

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr_node.upgrade
    """
    look = _fresh_look()
    return {"comment": upkeep.upgrade(look, node or look.node.name, list(others), __salt__)}


@translated
def update_extension():
    """
    Bring repmgr's extension on the primary to the version that the installed packages have.

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_node.update_extension
    """
    return {"comment": upkeep.update_extension(_fresh_look())}


def _fresh_look():
    return Look(_pillar(refresh=True), __opts__, __context__).again()


def report(refresh=True, salt=""):
    """
    Return what an orchestration asks a node before it begins and after it ended.

    refresh
        Compile the pillar anew (bool), as a state run would; the minion's own copy may
        be older than the files on the master.
    salt
        Also say a hash of the pillar's passwords with this salt (str), to be compared.

    Returns a dictionary with ``stale`` (bool, the minion's own copy of the pillar is another one),
    ``problems`` (list of str), and where there are none ``cluster`` (str), ``version`` (int,
    PostgreSQL), ``resolution`` (node name to address, or an empty string where its host does not
    resolve here), ``host_key`` (str, with ``ssh`` in pillar: the public key of the host itself),
    ``observation`` and ``passwords``, how far those of pillar are in force. A host with a PgBouncer
    says ``router``, and where it is no node nothing but that and ``passwords``. Nothing is raised, so
    that one broken node does not hide what the others say.

    CLI Example:

    .. code-block:: bash

        salt '*' repmgr_node.report
    """
    stale = False
    try:
        pillar, name = _pillar(refresh), __opts__["id"]
        stale = pillar.get(wanting.PILLAR_KEY) != __pillar__.get(wanting.PILLAR_KEY)
        spec = wanting.read(pillar)
        told = {"stale": stale, "problems": [], "cluster": spec.cluster}
        if name in spec.routers:
            told["router"] = facts.to_dict(router_observe.observe_router(spec, name))
            if name not in spec.nodes:
                seen = observing.observe_passwords(spec, name, salt=salt)
                return {**told, "passwords": facts.to_dict(seen)}
        node, layout = wanting.node_of(spec, name), wanting.layout_of(spec)
        return {
            **told,
            "version": layout.version,
            "resolution": observing.resolve(spec.members),
            "host_key": observing.host_key() if spec.ssh else "",
            "observation": facts.to_dict(observing.observe(spec, node, layout)),
            "passwords": facts.to_dict(observing.observe_passwords(spec, name, layout, salt)),
        }
    except PillarError as err:
        problems = [f"{key}: {message}" for key, message in err.problems]
        return {"stale": stale, "problems": problems}
    except RepmgrError as err:
        return {"stale": stale, "problems": [f"{__opts__['id']}: {err}"]}
