"""A server that goes down and comes back as what it was, with nobody taking it for lost."""

import contextlib

from saltext_repmgr.guard import locks
from saltext_repmgr.utils import db
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import turn
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import RepmgrError


@contextlib.contextmanager
def going_down(look, others, minutes):
    """Have nobody take this node's server for lost while it is stopped and started in the block.

    others
        Names of the nodes that :func:`keep_still` meanwhile.
    minutes
        After which repmgrd may take it for lost all the same.
    """
    others = [look.spec.nodes[name] for name in others]
    with observe.local_connection(look.spec, look.layout) as connection:
        turn.begin(connection, look.node)
        with turn.pausing(look, minutes):
            turn.await_none(lambda: turn.not_paused(look.spec, others))
            if db.row(connection, turn.IS_PRIMARY)["yes"] and not look.node.is_witness:
                turn.have_clients_wait(connection)
            yield


def keep_still(look, node, minutes):
    """Pause repmgrd while a node's server goes down and comes back; return what was, in words."""
    turn.await_turn(look.spec, node, node)
    with turn.pausing(look, minutes):
        for _ in turn.looks(60 * minutes, 0.3):
            with contextlib.suppress(RepmgrError):
                with observe.member_connection(look.spec, node) as connection:
                    if locks.BEGUN not in turn.locks_held(connection):
                        return f"kept repmgrd paused while {node.name} was down"
    raise CommandFailed(
        f"{node.name} was not back within {minutes} minutes; its own line has the reason. repmgrd on"
        f" {look.node.name} is no longer paused"
    )
