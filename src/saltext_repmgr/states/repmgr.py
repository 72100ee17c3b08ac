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
from saltext_repmgr.utils import clone
from saltext_repmgr.utils import confined
from saltext_repmgr.utils import host
from saltext_repmgr.utils import managed
from saltext_repmgr.utils import membership
from saltext_repmgr.utils import metadata
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import plan as planning
from saltext_repmgr.utils import registration
from saltext_repmgr.utils import rejoin
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import ssh_files
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import reported
from saltext_repmgr.utils.boundary import result
from saltext_repmgr.utils.errors import CommandFailed
from saltext_repmgr.utils.errors import Refused
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.look import Look
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import Role

__virtualname__ = "repmgr"

# A progress event every few seconds tells a person that a clone of hours is alive.
_PROGRESS_INTERVAL = 2

# Autovacuum writes too; twice in a row it does not come in the second that a stop takes.
_STOP_ATTEMPTS = 3


def __virtual__():
    return __virtualname__


def _look():
    return Look(__pillar__, __opts__, __context__)


def checked(name, problems, comment=""):
    """
    Fail with every problem that a check found while the SLS file was rendered; also in a
    dry run, where Salt's own ``test`` states would let it pass.

    name
        Anything.
    problems
        One line each (list of str); none means that all is well.
    comment
        What to say then (str).

    .. code-block:: yaml

        preflight:
          repmgr.checked:
            - problems: []
            - comment: node1 is the primary
    """
    return result(name, "\n".join(problems) or comment, result=not problems)


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
    look = _look().allowed()
    plan, node = look.plan, look.node.name
    if plan.role is None:
        return result(name, "; ".join(plan.notes))
    words = f"{node} is the {plan.role.value}"
    if plan.role is not Role.PRIMARY:
        words = f"{node} is a {plan.role.value}" + (f" of {plan.primary}" if plan.primary else "")
    steps = ", ".join(f"{a.step.value} ({a.reason})" for a in plan.actions)
    return result(name, "; ".join([words, *plan.notes, f"to do: {steps or 'nothing'}"]))


@reported
def passfile(name):
    """
    Keep the file libpq takes repmgr's password from (0600, of the postgres user). Where another
    password than pillar's is in force it stays in the file: see :py:func:`repmgr_cluster.password_rotated
    <saltext_repmgr.states.repmgr_cluster.password_rotated>`.

    name
        Path of the file.

    .. code-block:: yaml

        /etc/repmgr/pgpass:
          repmgr.passfile: []
    """
    spec, _, layout = wanted.subject(__pillar__, __opts__["id"])
    return managed.secret(
        name, passwords.passfile_text(spec, name), 0o600, layout, __opts__["test"]
    )


@reported
def ssh_key(name):
    """
    Keep the private key that pillar gives the postgres user (0600); only
    ``repmgr standby switchover`` run by hand needs one.

    name
        Path of the file.

    .. code-block:: yaml

        /var/lib/postgresql/.ssh/id_ed25519:
          repmgr.ssh_key: []
    """
    spec, _, layout = wanted.subject(__pillar__, __opts__["id"])
    text = "".join(f"{line}\n" for line in spec.ssh["private_key"].splitlines())
    return _ssh_file(name, text, layout, show=False)


def _ssh_file(name, text, layout, show=True):
    return managed.file(
        name,
        text,
        0o600,
        layout.os_user,
        dry=__opts__["test"],
        show=show,
        directory_mode=0o700,
    )


def _ssh_text(name):
    return confined.read(name) if confined.exists(name) else ""


@reported
def ssh_authorized(name):
    """
    Let the holder of pillar's key log in as the postgres user; other keys stay.

    name
        Path of ``authorized_keys``.

    .. code-block:: yaml

        /var/lib/postgresql/.ssh/authorized_keys:
          repmgr.ssh_authorized: []
    """
    spec, _, layout = wanted.subject(__pillar__, __opts__["id"])
    key = wanted.ssh_files(spec)["public_key"]
    return _ssh_file(name, ssh_files.authorized(_ssh_text(name), key), layout)


@reported
def ssh_hosts_known(name, hosts=None, former=None):
    """
    Have the keys of hosts known to the postgres user; those of other hosts stay.

    name
        Path of ``known_hosts``.
    hosts
        ``{host: [type, key]}``.
    former
        Names of hosts that are not to be known any more.

    .. code-block:: yaml

        /var/lib/postgresql/.ssh/known_hosts:
          repmgr.ssh_hosts_known:
            - hosts:
                192.168.1.20: [ssh-ed25519, AAAAC3Nza...]
            - former:
                - 192.168.1.50
    """
    _, _, layout = wanted.subject(__pillar__, __opts__["id"])
    text = ssh_files.known(_ssh_text(name), hosts or {}, former or ())
    if not text and not confined.exists(name):
        return result(name, "nothing is to be known")
    return _ssh_file(name, text, layout)


@reported
def rejoined(name):
    """
    Make a former primary that is down a standby of the primary, and also a standby that
    went on past the point where the primary's timeline began.

    A crashed server's recovery is finished without letting anybody in. What it committed and
    nobody else has is reported, and its WAL is copied to a directory beside the data; then
    ``pg_rewind`` takes it back. Where that cannot be done the data directory is moved
    aside, and :func:`standby_cloned` makes a new one.

    name
        Anything; the node is this minion.

    .. code-block:: yaml

        the former primary:
          repmgr.rejoined: []
    """
    look = _look()
    action = look.todo(Step.REJOIN)
    if action is None:
        return result(name, "no former primary that is down")
    primary = look.spec.nodes[look.plan.primary]
    layout = look.layout
    new = f"standby of {primary.name}"
    changes = {"role": {"old": planning.describe_data(look.seen), "new": new}}
    if look.test:
        return result(name, f"would make it a {new}: {action.reason}", changes)
    if look.seen.running:
        if _streams_after_all(look):
            return result(name, "it streams again")
        act.stop(layout)
    try:
        rejoin.recover(layout)
        rejoin.await_checkpoint(look.spec, primary)
        found = rejoin.examine(look.spec, layout, primary)
        comment = found.words
        if found.transactions:
            changes["kept_wal"] = {"old": None, "new": rejoin.keep(layout, found)}
            comment += f"; that WAL is kept in {changes['kept_wal']['new']}"
        act.match_limits(layout, look.seen, primary.name)
        __salt__["repmgr.node_rejoin"](
            upstream=primary.name,
            force_rewind=found.fork is not None,
            version=layout.version,
        )
    except (RepmgrError, CommandExecutionError) as err:
        return _make_way(name, look, changes, err)
    look.again()
    return result(name, f"{comment}; it is a {new} now", changes)


def _streams_after_all(look):
    """A standby that does not stream may just be about to."""
    try:
        act.wait_streaming(look.spec, look.layout, timeout=10)
    except CommandFailed:
        return False
    look.again()
    return True


def _make_way(name, look, changes, err):
    """The rejoin failed: keep the data directory under another name, for a clone."""
    try:
        # A clone that cannot begin is no reason to move anything.
        _elsewhere(look, look.spec.nodes[look.plan.primary])
    except Refused as refusal:
        raise Refused(f"it cannot be rewound: {err}; {refusal}") from err
    if host.postmaster_pid(look.layout.data_directory) is not None:
        act.stop(look.layout)
    kept = act.move_aside(look.layout)
    changes["moved_aside"] = {"old": look.layout.data_directory, "new": kept}
    look.again()
    return result(name, f"it cannot be rewound and is kept as {kept}, to be cloned: {err}", changes)


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
    look = _look()
    layout = look.layout
    if look.todo(Step.CLONE) is None:
        return result(name, f"{layout.data_directory} needs no clone")
    plan = look.plan
    source = look.spec.nodes[plan.source]
    changes = {
        "data_directory": {
            "old": planning.describe_data(look.seen),
            "new": f"clone of {source.name} in {layout.data_directory}",
        }
    }
    if plan.action(Step.MOVE_ASIDE):
        changes["moved_aside"] = {
            "old": layout.data_directory,
            "new": f"{layout.data_directory}.kept-<time>",
        }
    elsewhere = {} if look.seen.cloning else _elsewhere(look, source)
    if look.test:
        steps = [a for a in plan.actions if a.step in _DATA_STEPS]
        reasons = "; ".join(f"{a.step.value}: {a.reason}" for a in steps)
        return result(name, f"would {reasons} (source: {source.name})", changes)
    note = ""
    if not look.seen.cloning:
        kept = _make_room(look)
        if kept:
            changes["moved_aside"]["new"] = kept
            note = f"; the old directory is kept as {kept}"
        # Left by a machine that had this id: the new data needs none of the WAL it keeps.
        with observe.member_connection(look.spec, source) as connection:
            membership.drop_slot(connection, look.node.slot)
        # repmgr clones for no name that is registered with another id.
        registration.take_id(look)
        conninfo = repmgr_conf.conninfo(look.spec, source, layout)
        clone.prepare(layout, conninfo, elsewhere)
        clone.start(layout, conninfo, source.id)
    _watch_clone(look, source)
    data = clone.finish(layout)
    note += _take_over_settings(look)
    look.again()
    identifier = data.control.system_identifier
    return result(name, f"cloned from {source.name}: system identifier {identifier}{note}", changes)


def _elsewhere(look, source):
    """Return what the clone fills beside the data directory; refuse where something is in the way."""
    try:
        locations = clone.locations(look.spec, source)
    except RepmgrError:
        if not look.test:
            raise
        # The source is only about to be made.
        locations = []
    found = clone.elsewhere(look.spec.settings, locations)
    clone.require_room(look.layout, found)
    return found


def _take_over_settings(look):
    """Give a clone the primary's settings where the package has configured a server already. A
    member keeps the configuration that it has; where there is none it is made with them."""
    if not look.seen.configured or look.seen.member:
        return ""
    primary = look.spec.nodes[look.plan.primary]
    notes = act.take_over_settings(look.spec, look.layout, primary)
    return "".join(f"; {line}" for line in notes)


_DATA_STEPS = (Step.MOVE_ASIDE, Step.DISCARD_PARTIAL, Step.CLONE)


def _make_room(look):
    """Free the data directory as the plan says; return where the old one is kept."""
    if look.plan.action(Step.DISCARD_PARTIAL):
        clone.discard(look.layout)
    if not look.plan.action(Step.MOVE_ASIDE):
        return None
    if look.seen.running:
        _stop(look)
    return act.move_aside(look.layout)


def _stop(look):
    """Stop the server. One that was found empty must have stayed so until it was down."""
    for _ in range(_STOP_ATTEMPTS):
        act.stop(look.layout)
        if not look.seen.untouched or look.seen.unwritten(host.control_file(look.layout)):
            return
        act.start(look.spec, look.layout)
        look.again().allowed()
    raise Refused(
        f"the server on {look.layout.data_directory} holds no data of users, but a client writes to it"
        " whenever this run stops it to move it aside. It runs as before, nothing was changed. Stop"
        " that client, then run this again"
    )


def _watch_clone(look, source):
    """Wait for the clone's unit to end, and tell the event bus how far it is."""
    started = last = time.monotonic()
    _progress_event(look, source, "started")
    pause = 0.05
    while clone.runs(look.layout):
        if time.monotonic() - last >= _PROGRESS_INTERVAL:
            last = time.monotonic()
            _progress_event(look, source, "copying")
        time.sleep(pause)
        pause = min(pause * 1.1, 1)
    _progress_event(look, source, "ended", seconds=round(time.monotonic() - started, 1))


def _progress_event(look, source, stage, **more):
    try:
        progress = clone.progress(look.spec, source) if stage != "ended" else None
    except RepmgrError:
        # The copy does not depend on our looking at it.
        progress = None
    if progress:
        more.update(zip(("phase", "bytes_done", "bytes_total"), progress))
    data = {"node": look.node.name, "source": source.name, "stage": stage, **more}
    __salt__["event.send"](f"repmgr/{look.spec.cluster}/clone", data)


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
    look = _look().allowed()
    if look.plan.role is Role.STANDBY:
        return result(name, "comes with the replication")
    if look.seen.server is None:
        if not look.test:
            raise CommandFailed("the server does not run")
        everything = {"repmgr": {"old": None, "new": "role, database, extension and rights"}}
        return result(name, "would be made once the server runs", everything)
    # Pillar's may be another: it counts once all hosts change together.
    password = passwords.of_member(look.spec, look.node)[0]
    missing = metadata.missing(look.connection, password)
    if not missing:
        return result(name, "role, database, extension and rights are as they should be")
    changes = {item: {"old": None, "new": "present"} for item in missing}
    if look.test:
        return result(name, f"would make: {'; '.join(missing)}", changes)
    metadata.create(look.connection, password)
    look.again()
    left = metadata.missing(look.connection, password)
    if left:
        return result(name, f"still missing after the attempt: {'; '.join(left)}", changes, False)
    return result(name, f"made: {'; '.join(missing)}", changes)


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
    return _registered(name, Role.PRIMARY)


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
    return _registered(name, Role.STANDBY)


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
    return _registered(name, Role.WITNESS)


def _registered(name, role):
    look = _look().allowed()
    if look.plan.role is not role:
        word = look.plan.role.value if look.plan.role else "not a member"
        return result(name, f"{look.node.name} is {word}; there is nothing to register")
    action = look.todo(Step.REGISTER)
    if action is None:
        return result(name, f"registered as {role.value}")
    changes = {
        "registration": {
            "old": _registration_seen(look),
            "new": f"{role.value}, node {look.node.id}",
        }
    }
    if look.test:
        return result(name, f"would register as {role.value}: {action.reason}", changes)
    registration.register(look, __salt__)
    left = look.again().allowed().plan.action(Step.REGISTER)
    if left:
        return result(name, f"registered, but {left.reason}", changes, result=False)
    return result(name, f"registered as {role.value}: {action.reason}", changes)


def _registration_seen(look):
    server = planning.visible(look.seen).get(look.plan.primary)
    record = server.record(look.node.id) if server else None
    if record is None:
        return None
    return f"{record.type}, node {record.node_id}, active: {record.active}"
