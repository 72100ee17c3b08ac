"""Hand the events of the spool over to the master, and remove what it has taken."""

import dataclasses
import fcntl
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import server
from saltext_repmgr.utils import spool
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import ParseError
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.spec import ROLE_NAME

log = logging.getLogger(__name__)

# One request to the master; more of them follow at once.
_BATCH = 100
_ANSWER_SECONDS = 10
# Salt may wait for a master much longer than that before it has a connection at all.
_LIFETIME = 60


def deliver(opts, directory=spool.DIRECTORY):
    """Deliver what waits; to be run in a process of its own, which may hang or be killed.

    opts
        The minion's configuration, with its pillar.
    directory
        The spool.

    At least once: a file goes only after the master has answered. Raises what kept it
    from being delivered.
    """
    if not os.access(directory, os.W_OK):
        # What cannot be removed would be sent again and again.
        raise CommandFailed(f"{directory} is on a read-only file system; nothing was sent")
    signal.alarm(_LIFETIME)
    lock = os.open(directory, os.O_RDONLY)
    try:
        # A minion that was restarted may meet what its forerunner left running.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    spec, node, layout = wanted.subject(opts["pillar"], opts["id"])
    names = spool.waiting(directory)
    for start in range(0, len(names), _BATCH):
        standing = standing_of(spec, node, layout)
        found = {name: _event(directory, name) for name in names[start : start + _BATCH]}
        found = {name: event for name, event in found.items() if event}
        if found:
            events = with_details(spec, node, layout, found.values())
            send(opts, [spool.message(spec, node, event, standing) for event in events])
        for name in found:
            confined.unlink(f"{directory}/{name}")


def _event(directory, name):
    try:
        return spool.read(directory, name)
    except FileNotFoundError:
        # The oldest goes when the spool is full.
        return None
    except (ParseError, Refused, OSError) as err:
        log.error("%s; it is kept as %s/%s.unreadable", err, directory, name)
        # A link or a pipe gets another name as well: the rename touches nothing behind it.
        with confined.directory(directory) as handle:
            os.rename(name, f"{name}.unreadable", src_dir_fd=handle, dst_dir_fd=handle)
        return None


def with_details(spec, node, layout, events):
    """Return the events with what repmgr's history says of them, as this host's server has it, or
    another one: a witness has none, and a standby may be late."""
    events = list(events)
    details = _details(events, lambda: observe.local_connection(spec, layout))
    left = [event for event in events if event.is_dated and event.name not in details]
    others = [other for other in spec.data_nodes if other.name != node.name]
    if left and others:
        with ThreadPoolExecutor(max_workers=len(others)) as pool:
            asked = pool.map(
                lambda other: _details(left, lambda: observe.member_connection(spec, other)),
                others,
            )
        for found in asked:
            details |= found
    return [
        dataclasses.replace(event, details=details.get(event.name) or event.details)
        for event in events
    ]


def _details(events, connect):
    """Return ``{name of the event: its details}`` of those that a server has in repmgr's history."""
    dated = [event for event in events if event.is_dated]
    parameters = {
        "names": [event.name for event in dated],
        "nodes": [event.node_id for event in dated],
        "events": [event.event for event in dated],
        "moments": [event.timestamp for event in dated],
    }
    try:
        with connect() as connection:
            return {
                row["name"]: row["details"]
                for row in db.rows(connection, spool.HISTORY, parameters)
            }
    except RepmgrError as err:
        log.debug("repmgr's history cannot be read: %s", err)
        return {}


def standing_of(spec, node, layout):
    """Return ``role`` and ``timeline`` of this host, as its server says; where that does not
    run, as its data directory says, and None where there is none."""
    try:
        with observe.local_connection(spec, layout) as connection:
            seen = server.describe(connection, ROLE_NAME)
        in_recovery, timeline = seen.in_recovery, seen.timeline
    except RepmgrError:
        try:
            data = host.data_directory(layout)
        except RepmgrError:
            data = None
        if data is None or data.control is None:
            return {"role": None, "timeline": None}
        in_recovery, timeline = data.standby, data.control.timeline
    if node.is_witness:
        return {"role": "witness", "timeline": timeline}
    return {"role": "standby" if in_recovery else "primary", "timeline": timeline}


def send(opts, messages):
    """Put events on the master's bus and return when the master has answered.

    ``event.send`` cannot tell whether anybody took the event. With several masters at a time
    one that answers is enough. Raises ``salt.exceptions.SaltException``.
    """
    import salt.channel.client
    import salt.exceptions

    failure = None
    for uri in opts.get("master_uri_list") or [opts["master_uri"]]:
        load = {"id": opts["id"], "cmd": "_minion_event", "pretag": None, "events": messages}
        try:
            with salt.channel.client.ReqChannel.factory(opts, master_uri=uri) as channel:
                answer = channel.send(load, tries=1, timeout=_ANSWER_SECONDS)
        except salt.exceptions.SaltException as err:
            failure = err
            continue
        if not isinstance(answer, dict):
            failure = None
            break
        # An empty mapping is the master's word for a message that it does not trust.
        failure = salt.exceptions.SaltClientError(f"the master {uri} refused the events")
    if failure:
        raise failure
