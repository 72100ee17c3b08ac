"""
Bring the events of repmgr to the master's event bus, as ``repmgr/<cluster>/<event>``.

repmgr leaves its events in a spool on the node. They wait there while the minion is
stopped or has no master, and a file is removed only after the master has answered: no event
is lost, and one may come twice, with the same ``event_id``.

Configuration
-------------
The SLS ``repmgr`` sets it up. By hand:

.. code-block:: yaml

    beacons:
      repmgr:
        - interval: 2

:depends: the pillar key ``repmgr``, which says what this node and its cluster are called
"""

import logging
import signal
import sys
import time

from salt.exceptions import SaltReqTimeoutError

from saltext_repmgr.utils import spool

__virtualname__ = "repmgr"

log = logging.getLogger(__name__)

_KEY = "repmgr.delivery"
# After an attempt that failed.
_PAUSE_SECONDS = 10


def __virtual__():
    return __virtualname__


def validate(config):
    """
    Validate the beacon's configuration: a list, as Salt passes it. There is nothing to set but
    what all beacons have, such as ``interval`` in seconds.
    """
    if not isinstance(config, list):
        return False, "Configuration for repmgr beacon must be a list."
    return True, "Valid beacon configuration"


def beacon(config):  # pylint: disable=unused-argument
    """
    Have what lies in the spool delivered.

    Returns an empty list: what a beacon returns is given a tag by Salt and lost where there is
    no master. A process of its own does the work, as a job does: a master or a server that does
    not answer must not stop the minion.

    .. code-block:: yaml

        beacons:
          repmgr:
            - interval: 2
    """
    process, started = __context__.get(_KEY, (None, 0))
    if process and process.is_alive():
        return []
    pause = _PAUSE_SECONDS if process and process.exitcode else 0
    if time.monotonic() >= started + pause and spool.waiting():
        __context__[_KEY] = (_start(), time.monotonic())
    return []


def close(config):  # pylint: disable=unused-argument
    """
    Release what the beacon holds, which is nothing. Salt asks for this function at every refresh of
    the pillar, and loads all the beacons there are to find one that is missing.
    """


def _start():
    import salt.utils.process

    process = salt.utils.process.SignalHandlingProcess(
        target=_deliver, name="RepmgrEvents", args=(__opts__,), daemon=True
    )
    # The child shall die of a signal and not act as the minion does.
    with salt.utils.process.default_signals(signal.SIGINT, signal.SIGTERM):
        process.start()
    return process


def _deliver(opts):
    from saltext_repmgr.utils import deliver

    try:
        deliver.deliver(opts)
    except SaltReqTimeoutError:
        # The minion itself says that it has no master.
        sys.exit(1)
    except Exception as err:  # pylint: disable=broad-except
        log.error("repmgr's events wait, since they cannot be delivered: %s", err)
        sys.exit(1)
