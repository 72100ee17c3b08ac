"""
States of a node in a repmgr cluster.

Each one observes, asks :mod:`saltext_repmgr.utils.plan` what this node has to do, does its
own step of it and observes again. Roles are the live cluster's: a node that was promoted
is a primary here, whatever pillar says. The ``repmgr`` SLS files put the states together.

All values come from the pillar key ``repmgr``, so no secret passes through an SLS file.
"""

import time

from salt.exceptions import CommandExecutionError

from saltext_repmgr.utils import act
from saltext_repmgr.utils import db
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import Role

__virtualname__ = "repmgr"

# A progress event every few seconds tells a person that a clone of hours is alive.
_PROGRESS_INTERVAL = 2


def __virtual__():
    return __virtualname__


def _subject():
    return wanted.subject(__pillar__, __opts__["id"])


def _look(subject):
    """Observe and decide; raise ``Refused`` where nothing may be done."""
    seen = observe.observe(*subject)
    plan = planning.decide(
        subject[0], subject[1], seen, wanted.run_of(__pillar__, __opts__.get("test"))
    )
    if plan.refusal:
        raise Refused(plan.refusal)
    return seen, plan


def _result(name, comment, changes=None, result=True):
    if changes and __opts__["test"] and result:
        result = None
    return {"name": name, "result": result, "changes": changes or {}, "comment": comment}


@reported
def assessed(name):
    """
    Say what this node is and what it has to do; fail where it must not be touched.

    name
        Anything; the node is this minion.

    .. code-block:: yaml

        this node:
          repmgr.assessed: []
    """
    subject = _subject()
    _, plan = _look(subject)
    node = subject[1].name
    if plan.role is None:
        return _result(name, "; ".join(plan.notes))
    words = f"{node} is the {plan.role.value}"
    if plan.role is not Role.PRIMARY:
        words = f"{node} is a {plan.role.value}" + (f" of {plan.primary}" if plan.primary else "")
    steps = ", ".join(f"{a.step.value} ({a.reason})" for a in plan.actions)
    return _result(name, "; ".join([words, *plan.notes, f"to do: {steps or 'nothing'}"]))


@reported
def passfile(name):
    """
    Keep the file libpq takes repmgr's password from (0600, of the postgres user).

    name
        Path of the file.

    .. code-block:: yaml

        /etc/repmgr/pgpass:
          repmgr.passfile: []
    """
    spec, _, layout = _subject()
    return __states__["file.managed"](
        name,
        contents=repmgr_conf.pgpass(spec).splitlines(),
        user=layout.os_user,
        group=layout.os_user,
        mode="0600",
        makedirs=True,
        dir_mode="0755",
        show_changes=False,
    )


@reported
def standby_cloned(name):
    """
    Have a data directory on this node that is a clone of the live primary.

    Proceeds into an absent or empty directory, or into one that provably holds what
    initdb made and nothing else, which is then moved aside. A clone that was cut off is
    finished, one that is under way is waited for. Anything else is refused, unless the
    pillar says ``force: true``; then the old directory is moved aside too.

    Fires ``repmgr/<cluster>/clone`` events with the bytes done and in total.

    name
        Anything; the directory is the pillar's ``postgres: data_directory``.

    .. code-block:: yaml

        this node's data:
          repmgr.standby_cloned: []
    """
    subject = _subject()
    spec, node, layout = subject
    seen, plan = _look(subject)
    if plan.action(Step.CLONE) is None:
        return _result(name, f"{layout.data_directory} needs no clone")
    source = spec.nodes[plan.primary]
    steps = [a for a in plan.actions if a.step in _DATA_STEPS]
    changes = {
        "data_directory": {
            "old": planning.describe_data(seen),
            "new": f"clone of {source.name} in {layout.data_directory}",
        }
    }
    if plan.action(Step.MOVE_ASIDE):
        changes["moved_aside"] = {
            "old": layout.data_directory,
            "new": f"{layout.data_directory}.kept-<time>",
        }
    reasons = "; ".join(f"{a.step.value}: {a.reason}" for a in steps)
    if __opts__["test"]:
        return _result(name, f"would {reasons} (source: {source.name})", changes)
    if not seen.cloning:
        kept = _make_room(seen, plan, layout)
        if kept:
            changes["moved_aside"]["new"] = kept
        act.start_clone(layout, repmgr_conf.conninfo(spec, source, layout), source.id)
    _watch_clone(spec, node, source, layout)
    data = act.finish_clone(layout)
    return _result(
        name,
        f"cloned from {source.name}: system identifier {data.control.system_identifier}"
        + (
            f"; the old directory is kept as {changes['moved_aside']['new']}"
            if plan.action(Step.MOVE_ASIDE)
            else ""
        ),
        changes,
    )


_DATA_STEPS = (Step.MOVE_ASIDE, Step.DISCARD_PARTIAL, Step.CLONE)


def _make_room(seen, plan, layout):
    """Free the data directory as the plan says; return where the old one is kept."""
    if plan.action(Step.DISCARD_PARTIAL):
        act.discard_partial(layout)
    if not plan.action(Step.MOVE_ASIDE):
        return None
    untouched = seen.untouched
    if seen.running:
        act.stop(layout)
    # The server may have been used between the look and the stop.
    if untouched and not act.host.control_file(layout).untouched:
        raise Refused(
            f"{layout.data_directory} was used while this run looked at it; it is stopped now and"
            " left as it is. Run again to have it judged anew"
        )
    return act.move_aside(layout)


def _watch_clone(spec, node, source, layout):
    """Wait for the clone's unit to end, and tell the event bus how far it is."""
    started = last = time.monotonic()
    _progress_event(spec, node, source, "started")
    pause = 0.1
    while act.clone_runs(layout):
        if time.monotonic() - last >= _PROGRESS_INTERVAL:
            last = time.monotonic()
            _progress_event(spec, node, source, "copying")
        time.sleep(pause)
        pause = min(pause * 1.1, 1)
    _progress_event(spec, node, source, "ended", seconds=round(time.monotonic() - started, 1))


def _progress_event(spec, node, source, stage, **more):
    try:
        progress = act.clone_progress(spec, source) if stage != "ended" else None
    except RepmgrError:
        # The copy does not depend on our looking at it.
        progress = None
    if progress:
        more.update(zip(("phase", "bytes_done", "bytes_total"), progress))
    data = {"node": node.name, "source": source.name, "stage": stage, **more}
    __salt__["event.send"](f"repmgr/{spec.cluster}/clone", data)


@reported
def metadata_present(name):
    """
    Have repmgr's role with its rights and password, its database and its extension in the
    server of this node. On a standby they come from the primary, and nothing is done.

    name
        Anything.

    .. code-block:: yaml

        repmgr's metadata:
          repmgr.metadata_present: []
    """
    subject = _subject()
    spec, _, layout = subject
    seen, plan = _look(subject)
    if plan.role is Role.STANDBY:
        return _result(name, "comes with the replication")
    if seen.server is None:
        if not __opts__["test"]:
            raise CommandFailed("the server does not run")
        everything = {"repmgr": {"old": None, "new": "role, database, extension and rights"}}
        return _result(name, "would be made once the server runs", everything)
    missing = _missing_metadata(spec, layout)
    if not missing:
        return _result(name, "role, database, extension and rights are as they should be")
    changes = {item: {"old": None, "new": "present"} for item in missing}
    if __opts__["test"]:
        return _result(name, f"would make: {', '.join(missing)}", changes)
    metadata.create(lambda dbname: observe.local_connection(spec, layout, dbname), spec.password)
    left = _missing_metadata(spec, layout)
    if left:
        return _result(name, f"still missing after the attempt: {', '.join(left)}", changes, False)
    return _result(name, f"made: {', '.join(missing)}", changes)


def _missing_metadata(spec, layout):
    return metadata.missing(
        lambda dbname: observe.local_connection(spec, layout, dbname), spec.password
    )


@reported
def primary_registered(name):
    """
    Have this node registered as the primary, as pillar and reality say it is.

    Nothing is done on a node that is not the live primary.

    name
        Anything.

    .. code-block:: yaml

        this node's registration:
          repmgr.primary_registered: []
    """
    return _registered(name, Role.PRIMARY, _register_primary)


@reported
def standby_registered(name):
    """
    Have this node registered as a standby of the node it streams from.

    The metadata are compared with pillar (name, location, priority) and with reality
    (upstream, type, active) and repaired only where they differ.

    name
        Anything.

    .. code-block:: yaml

        this node's registration:
          repmgr.standby_registered: []
    """
    return _registered(name, Role.STANDBY, _register_standby)


@reported
def witness_registered(name):
    """
    Have this node registered as the witness of the live primary.

    name
        Anything.

    .. code-block:: yaml

        this node's registration:
          repmgr.witness_registered: []
    """
    return _registered(name, Role.WITNESS, _register_witness)


def _registered(name, role, register):
    subject = _subject()
    seen, plan = _look(subject)
    if plan.role is not role:
        word = plan.role.value if plan.role else "not a member"
        return _result(name, f"{subject[1].name} is {word}; there is nothing to register")
    action = plan.action(Step.REGISTER)
    if action is None:
        return _result(name, f"registered as {role.value}")
    changes = {
        "registration": {
            "old": _registration_seen(subject[1], seen, plan),
            "new": f"{role.value}, node {subject[1].id}",
        }
    }
    if __opts__["test"]:
        return _result(name, f"would register as {role.value}: {action.reason}", changes)
    register(subject, plan)
    _, after = _look(subject)
    left = after.action(Step.REGISTER)
    if left:
        return _result(name, f"registered, but {left.reason}", changes, result=False)
    return _result(name, f"registered as {role.value}: {action.reason}", changes)


def _registration_seen(node, seen, plan):
    server = planning.visible(seen).get(plan.primary)
    record = server.record(node.id) if server else None
    if record is None:
        return None
    return f"{record.type}, node {record.node_id}, active: {record.active}"


def _register_primary(subject, _plan):
    __salt__["repmgr.primary_register"](force=True, version=subject[2].version)


def _register_standby(subject, _plan):
    spec, _, layout = subject
    # What it is registered with is what it streams from, so it must stream first.
    upstream = planning.upstream_of(spec, act.wait_streaming(spec, layout))
    if upstream is None:
        raise CommandExecutionError(
            "this standby streams from a server that is no node of the pillar; look at"
            " primary_conninfo ('salt NODE repmgr_pg.settings primary_conninfo') and at the hosts"
            " in repmgr:nodes"
        )
    __salt__["repmgr.standby_register"](
        force=True, upstream_node_id=upstream.id, version=layout.version
    )


def _register_witness(subject, plan):
    spec, _, layout = subject
    host = spec.nodes[plan.primary].host
    __salt__["repmgr.witness_register"](
        primary_host=host, primary_port=spec.postgres.port, force=True, version=layout.version
    )


@reported
def repmgrd_running(name):
    """
    Have the failover daemon enabled, running, and known to its server.

    The daemon is judged by what it does: the server must know its process id. A daemon
    that somebody paused is left paused, and said to be.

    name
        Name of the unit.

    .. code-block:: yaml

        repmgrd:
          repmgr.repmgrd_running: []
    """
    subject = _subject()
    seen = observe.observe(*subject)
    if seen.server is None and not __opts__["test"]:
        raise CommandFailed("the server of this node does not run, so there is nothing to watch")
    enabled = __salt__["service.enabled"](name)
    note = "; it is PAUSED, no failover will happen" if seen.repmgrd.paused else ""
    if enabled and seen.repmgrd.attached:
        return _result(name, f"running as {seen.repmgrd.pid}{note}")
    changes = {
        name: {
            "old": f"unit {seen.repmgrd.unit}, known to the server: {bool(seen.repmgrd.attached)}",
            "new": "enabled, running, known to the server",
        }
    }
    if __opts__["test"]:
        return _result(name, "would be enabled and started", changes)
    __salt__["service.systemctl_reload"]()
    if not enabled:
        __salt__["service.enable"](name)
    __salt__["service.start" if seen.repmgrd.unit != "active" else "service.restart"](name)
    return _await_repmgrd(name, subject, changes)


def mod_watch(name, sfun=None, **_kwargs):
    """
    React to a changed configuration: restart the daemon (``repmgrd_running`` only).
    """
    if sfun != "repmgrd_running":
        return _result(name, f"{sfun} does not react to a watch")
    changes = {name: {"old": "running with its old configuration", "new": "restarted"}}
    if __opts__["test"]:
        return _result(name, "would be restarted for its changed configuration", changes)
    __salt__["service.systemctl_reload"]()
    __salt__["service.restart"](name)
    return reported(_await_repmgrd)(name, _subject(), changes)


def _await_repmgrd(name, subject, changes):
    spec, _, layout = subject
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if _repmgrd_pid(spec, layout) == observe.host.units(name)[name][1]:
            return _result(name, "enabled and running", changes)
        time.sleep(0.1)
    return _result(
        name,
        f"it does not stay up; look at 'journalctl -u {name}' on this host",
        changes,
        result=False,
    )


def _repmgrd_pid(spec, layout):
    with observe.local_connection(spec, layout) as connection:
        return db.row(connection, "SELECT repmgr.get_repmgrd_pid() AS pid")["pid"]
