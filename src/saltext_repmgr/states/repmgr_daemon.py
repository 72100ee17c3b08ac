"""
States of the programs that run beside a node's server: the guard, repmgrd, a timer, and the beacon
that brings repmgr's events to the master.

A daemon is judged by what it does, not by what its unit says.
"""

import dataclasses
import json
import os
import time

from saltext_repmgr.utils import act
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import host
from saltext_repmgr.utils import other_repmgrd
from saltext_repmgr.utils import upstreams
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.look import Look

__virtualname__ = "repmgr_daemon"

# repmgrd looks once a second whether its node streams from another one.
_WATCH_SECONDS = 5

_BEACON_INTERVAL = 2
_BEACON_HEADER = "# Written by Salt (saltext-repmgr).\n"
# Where no minion runs Salt knows at once; a busy one may take its time.
_ANSWER = 20


def __virtual__():
    return __virtualname__


def _look():
    return Look(__pillar__, __opts__, __context__)


@reported
def other_repmgrd_stopped(name):
    """
    Have no repmgrd on this node that somebody else started. It would go on with its former
    configuration: it could take a primary for lost that does not let it in any more.

    Until the step ``daemons`` of the run nobody is promoted.

    name
        Anything.

    .. code-block:: yaml

        other repmgrd of this node:
          repmgr_daemon.other_repmgrd_stopped: []
    """
    spec, node, layout = wanted.subject(__pillar__, __opts__["id"])
    pid = other_repmgrd.find(spec, layout)
    if pid is None:
        return result(name, "there is none")
    changes = {"repmgrd": {"old": f"process {pid}, started by other hands", "new": "stopped"}}
    later = "until repmgrd.service of this extension runs, no standby is promoted"
    if __opts__["test"]:
        return result(name, f"repmgrd of {node.name} would be stopped; {later}", changes)
    other_repmgrd.stop(pid)
    return result(name, f"repmgrd of {node.name} is stopped; {later}", changes)


@reported
def guard_installed(name):
    """
    Have the guard's programs, configuration and unit on this node.

    name
        Directory of its programs.

    .. code-block:: yaml

        /usr/local/lib/repmgr-guard:
          repmgr_daemon.guard_installed: []
    """
    spec, node, layout = wanted.subject(__pillar__, __opts__["id"])
    files = guard_files.files(spec, node, layout)
    missing = [path for path, (text, mode) in files.items() if not host.holds(path, text, mode)]
    changes = {path: {"old": None, "new": "written"} for path in missing}
    if not missing or __opts__["test"]:
        return result(name, "would be written" if missing else "all is in place", changes)
    missing_files = {path: files[path] for path in missing}
    act.install(layout.guard_state, layout.os_user, missing_files)
    return result(name, f"{len(missing)} files written", changes)


@reported
def guard_running(name):
    """
    Have the guard running, with its present files.

    name
        Name of the unit.

    .. code-block:: yaml

        repmgr-guard:
          repmgr_daemon.guard_running: []
    """
    look = _look()
    found = look.seen.guard
    files = {
        path: text
        for path, (text, _) in guard_files.files(look.spec, look.node, look.layout).items()
    }
    return _daemon_running(name, look, found, files, lambda: look.again().seen.guard)


@reported
def repmgrd_running(name):
    """
    Have the failover daemon running, with its present files, and known to its server.

    The daemon is judged by what it does: the server must know its process id. A daemon
    that somebody paused is left paused, and said to be.

    name
        Name of the unit.

    .. code-block:: yaml

        repmgrd:
          repmgr_daemon.repmgrd_running: []
    """
    look = _look()
    found = look.seen.repmgrd
    if look.seen.server is None and not look.test:
        raise CommandFailed(
            "repmgrd was not started, because PostgreSQL on this node does not run; its own step has"
            " the reason"
        )
    files = wanted.daemon_files(look.spec, look.node, look.layout, name)
    if found.attached and _watches_another(look):
        found = dataclasses.replace(look.seen.repmgrd, attached=False)
    note = "; it is PAUSED, no failover will happen" if found.paused else ""
    return _daemon_running(
        name, look, found, files, lambda: look.again().seen.repmgrd, note, look.layout.repmgr_conf
    )


def _watches_another(look):
    """Whether repmgrd goes on watching another node than it should; one that was just moved has
    some seconds."""
    deadline = time.monotonic() + _WATCH_SECONDS
    while upstreams.not_watched(look.spec, look.node, look.seen.server, look.plan.primary):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.5)
        look.again()
    return False


@reported
def timer_running(name):
    """
    Have a systemd timer waiting for its time, with its present unit file.

    name
        Name of the timer, with its suffix.

    .. code-block:: yaml

        repmgr-purge.timer:
          repmgr_daemon.timer_running: []
    """
    unit = host.units(name)[name]
    stale = unit.state == "active" and host.changed_since(
        f"/etc/systemd/system/{name}", unit.loaded
    )
    if unit.state == "active" and not stale:
        return result(name, "waits for its time")
    changes = {name: {"old": "older than its file" if stale else "not running", "new": "running"}}
    if __opts__["test"]:
        return result(name, "would be started", changes)
    began = time.time()
    act.restart_daemon(name)
    host.settle_times([f"/etc/systemd/system/{name}"], began)
    return result(name, "started", changes)


def _daemon_running(name, look, found, files, observed, note="", reloadable=None):
    """Have a daemon running that has read its present files, and that is seen to work.

    reloadable
        The file that it reads again when it is reloaded.
    """
    stale = _newer(files, found, look.test, reloadable)
    if found.attached and not stale:
        return result(name, f"running as {found.pid}{note}")
    old = f"runs as {found.pid}, but does not do its work" if found.pid else "not running"
    verb = "reload" if found.attached and stale == [reloadable] else "restart"
    changes = {
        name: {
            "old": f"older than {', '.join(stale)}" if found.attached else old,
            "new": "reloaded" if verb == "reload" else "running",
        }
    }
    if look.test:
        return result(name, f"would be {verb}ed", changes)
    began = time.time()
    act.restart_daemon(name, verb)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if observed().attached:
            host.settle_times(files, began)
            return result(name, f"{verb}ed", changes)
        time.sleep(0.1)
    comment = f"it does not stay up; look at 'journalctl -u {name}' on this host"
    return result(name, comment, changes, result=False)


def _newer(files, found, test, reloadable):
    """Return the files that a running daemon has not read, or, in a dry run, will not have."""
    if test:
        return [path for path, text in files.items() if not host.holds(path, text)]
    read = {reloadable: max(found.started, found.loaded)} if reloadable else {}
    return [path for path in files if host.changed_since(path, read.get(path, found.started))]


@reported
def events_watched(name):
    """
    Have the minion bring repmgr's events to the master's event bus: the beacon ``repmgr``, in a
    file of the minion's configuration directory for every start of the minion, and in the
    running minion at once.

    name
        Anything.

    .. code-block:: yaml

        repmgr's events:
          repmgr_daemon.events_watched: []
    """
    included = os.path.dirname(__opts__["default_include"])
    path = os.path.join(os.path.dirname(__opts__["conf_file"]), included, "repmgr-events.conf")
    beacon = [{"interval": _BEACON_INTERVAL}]
    text = f"{_BEACON_HEADER}{json.dumps({'beacons': {'repmgr': beacon}})}\n"
    written = __states__["file.managed"](
        path, contents=text.splitlines(), mode="0644", makedirs=True
    )
    if written["result"] is False:
        return {**written, "name": name}
    changes = {path: written["changes"]} if written["changes"] else {}
    # A minion that does not run reads the file when it starts.
    running = _beacons_of_minion()
    if running is not None and running.get("repmgr") != beacon:
        changes["repmgr"] = {"old": running.get("repmgr"), "new": beacon}
        if not __opts__["test"]:
            _set_beacon(beacon, "repmgr" in running)
    would = "would be" if changes and __opts__["test"] else "are"
    return result(name, f"repmgr's events {would} read every {_BEACON_INTERVAL} s", changes)


def _beacons_of_minion():
    """Return the beacons of the running minion, or None where none runs."""
    return __salt__["beacons.list"](return_yaml=False, include_pillar=False, timeout=_ANSWER)


def _set_beacon(beacon, known):
    verb = "modify" if known else "add"
    done = __salt__[f"beacons.{verb}"]("repmgr", beacon, timeout=_ANSWER)
    if not done["result"]:
        raise CommandFailed(f"{done['comment']}; restart the minion, which reads it from its file")
