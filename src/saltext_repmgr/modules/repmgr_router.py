"""
The PgBouncer of this minion, which follows the primary of a repmgr cluster.

What acts are the states of the ``repmgr.pgbouncer`` SLS, and between them the unit
``repmgr-router`` on the host; but for ``rotate_password`` the functions only look.

Configuration
-------------
Everything comes from the pillar key ``repmgr:pgbouncer``; ``pillar.example`` documents it.

:depends: psycopg2 in Salt's own Python
"""

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import fresh_pillar
from saltext_repmgr.utils import rotate_router
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import router_observe
from saltext_repmgr.utils import unattended
from saltext_repmgr.utils import wanted as wanting
from saltext_repmgr.utils.boundary import translated
from saltext_repmgr.utils.errors import PillarError
from saltext_repmgr.utils.errors import UsageError

__virtualname__ = "repmgr_router"


def __virtual__():
    return __virtualname__


@translated
def wanted():
    """
    Return what the SLS files need to render: ``problems`` (list of str, all mistakes in pillar),
    and where there are none ``host`` (bool, whether PgBouncer belongs on this minion), ``node``
    (bool, whether the minion is a node of the cluster) and names and paths. There is no secret in
    it.

    CLI Example:

    .. code-block:: bash

        salt router1 repmgr_router.wanted
    """
    name = __opts__["id"]
    try:
        spec = wanting.read(__pillar__)
        if name not in spec.routers:
            wanting.node_of(spec, name)
    except PillarError as err:
        return {"problems": [f"{key}: {message}" for key, message in err.problems]}
    return {
        "problems": [],
        "host": name in spec.routers,
        "node": name in spec.nodes,
        "name": name,
        "packages": router_files.PACKAGES,
        "service": router_files.SERVICE,
        "unit": router_files.UNIT,
        "ini": router_files.INI,
        "userlist": router_files.USERLIST,
        "passfile": router_files.PASSFILE,
        "directory": router_files.DIRECTORY,
        "drop_in": router_files.DROP_IN,
        "drop_in_text": router_files.drop_in(),
        "unattended": unattended.host_files(),
    }


@translated
def rotate_password(step, primary):
    """
    Do this host's part when the password of PgBouncer's role changes to the one in pillar. It is
    made for ``salt-run repmgr.rotate_password``, which goes from step to step.

    step
        ``detour``, ``change`` or ``end`` (str).
    primary
        Name of the primary (str).

    Returns ``{"comment": what became of it (str)}``.

    CLI Example:

    .. code-block:: bash

        salt -L node1,router1 repmgr_router.rotate_password detour node1
    """
    if step not in rotate_router.STEPS:
        raise UsageError(f"{step!r} is no step; there are: {', '.join(rotate_router.STEPS)}")
    spec, name = wanting.read(fresh_pillar.compiled(__opts__, __grains__)), __opts__["id"]
    layout = wanting.layout_of(spec) if name in spec.nodes else None
    return {"comment": rotate_router.take_step(spec, name, layout, step, primary)}


@translated
def observe():
    """
    Return what is to be seen of this host's PgBouncer: whether it runs, where it leads, whether it
    is paused, and what its clients find (:class:`saltext_repmgr.utils.facts.Router`).

    CLI Example:

    .. code-block:: bash

        salt router1 repmgr_router.observe
    """
    spec = wanting.router_of(__pillar__, __opts__["id"])
    return facts.to_dict(router_observe.observe_router(spec, __opts__["id"]))
