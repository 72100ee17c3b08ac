"""The least that a failover can take with given settings.

A formula and no measurement: the moments that waiting is left to chance for fall as well as they
can, the promotion itself and everything a machine computes cost nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltext_repmgr.utils.repmgr_parameters import effective


@dataclass(frozen=True)
class Timing:
    """What decides, in seconds; ``attempts`` is a number.

    ``connect`` is what a connection attempt to a host costs that does not answer. ``refused`` and
    ``silent`` are how long the vote wants a primary gone whose host refuses connections, or does
    not answer; 0 without a vote.
    """

    interval: float
    attempts: int
    pause: float
    connect: float
    refused: float = 0.0
    silent: float = 0.0


def timing(settings: Mapping[str, Any], **others: float) -> Timing:
    """The timing by the pillar's ``settings``; ``others`` are fields that are not among those."""
    value = effective(settings)
    return Timing(
        interval=value["monitor_interval_secs"],
        attempts=value["reconnect_attempts"],
        pause=value["reconnect_interval"],
        **others,
    )


def least(times: Timing, *, silent: bool) -> float:
    """Seconds from the loss of a primary to the moment when another node may be promoted.

    repmgrd looks right after the loss, then tries ``attempts`` times with a pause between two. The
    vote runs meanwhile; it counts from when the primary was last seen, which may be one interval
    before it was lost. At last ``repmgr standby promote`` looks for the primary once more. Each
    look takes no time where the connection is refused, and ``connect`` seconds where nobody answers;
    a neighbour that the kernel has just found to be gone may cost less.

    :param silent: its host does not answer, rather than refusing.
    """
    pauses = max(times.attempts - 1, 0) * times.pause
    if not silent:
        return max(pauses, times.refused)
    looks = (1 + times.attempts) * times.connect
    return max(looks + pauses, times.silent - times.interval) + times.connect
