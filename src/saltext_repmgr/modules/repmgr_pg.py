"""
Facts about PostgreSQL servers that Salt's own ``postgres`` module does not give, or gives
as an empty answer when it could not ask. Here, "could not ask" is always an error.

Without ``host`` the functions ask the server of this minion, over its local socket as the
``postgres`` user. With ``host`` they ask another member over TCP as the ``repmgr`` role,
with the password that is in force here, or else the one from pillar.

:depends: psycopg2 in Salt's own Python
"""

from saltext_repmgr.utils import db
from saltext_repmgr.utils import facts
from saltext_repmgr.utils import host as hosting
from saltext_repmgr.utils import lsn as positions
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import server as asking
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.boundary import translated
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import UsageError
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME
from saltext_repmgr.utils.spec import Layout

__virtualname__ = "repmgr_pg"


def __virtual__():
    return __virtualname__


def _connect(host=None, port=None, dbname="postgres"):
    values = __pillar__.get(wanted.PILLAR_KEY) or {}
    port = port or (values.get("postgres") or {}).get("port") or 5432
    if host is None:
        return db.connect(
            Layout.socket_directory, port, Layout.os_user, dbname, os_user=Layout.os_user
        )
    password = passwords.of_host(host, port) or values.get("password")
    return db.connect(host, port, ROLE_NAME, DATABASE_NAME, password=password)


@translated
def reachable(host=None, port=None):
    """
    Return whether a server accepts connections, as ``{"reach": ..., "detail": ...}``.

    host
        Address or name of another server (str); without it, the local one.
    port
        Its port (int); the default is the pillar's.

    ``reach`` is ``answered``, ``rejected`` (a server is there and does not let us in),
    ``refused`` (nothing listens) or ``unreachable``; ``detail`` is the reason in words.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.reachable
        salt node1 repmgr_pg.reachable host=192.168.1.20
    """
    try:
        with _connect(host, port):
            return {"reach": facts.Reach.ANSWERED.value, "detail": ""}
    except ConnectionFailed as err:
        return {"reach": (err.kind or facts.Reach.UNREACHABLE).value, "detail": str(err)}


@translated
def status(host=None, port=None):
    """
    Return what a server says of itself: ``system_identifier`` (str), ``in_recovery`` (bool),
    ``timeline`` (int), ``lsn`` (str, written or received), ``started`` (str, UTC),
    ``version`` (int, server_version_num), ``clients`` (int, sessions other than repmgr's),
    ``receiver``, ``upstream_host``, ``upstream_port``, ``replay_lsn``, ``replay_age`` (float,
    seconds since the last replayed transaction was committed), ``replay_paused`` and ``apply_delay``
    (int, milliseconds) of a standby, ``senders``, ``slots`` and, where repmgr's metadata are there,
    ``nodes``, ``repmgrd_pid``, ``repmgrd_paused`` and ``watched`` (int, id of the node that repmgrd
    watches).

    host, port
        As in :py:func:`reachable`.

    Raises CommandExecutionError where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.status
    """
    try:
        with _connect(host, port, DATABASE_NAME) as connection:
            return facts.to_dict(asking.describe(connection, ROLE_NAME))
    except ConnectionFailed as err:
        if host is not None or err.kind is not facts.Reach.REJECTED:
            raise
    with _connect(host, port) as connection:
        return facts.to_dict(asking.describe(connection, ROLE_NAME))


@translated
def in_recovery(host=None, port=None):
    """
    Return whether a server is in recovery (bool): a standby is, a primary is not.

    host, port
        As in :py:func:`reachable`.

    Raises CommandExecutionError where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.in_recovery
    """
    with _connect(host, port) as connection:
        return db.row(connection, "SELECT pg_is_in_recovery() AS it")["it"]


@translated
def timeline(host=None, port=None):
    """
    Return the timeline (int) that a server writes or receives.

    The control file alone would be wrong for a while after a promotion: it learns of the
    new timeline with the next checkpoint.

    host, port
        As in :py:func:`reachable`.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.timeline
    """
    with _connect(host, port) as connection:
        return asking.describe(connection, ROLE_NAME).timeline


@translated
def system_identifier(version=None, data_directory=None):
    """
    Return the system identifier (str, since it exceeds what JSON keeps exact) of the local
    data directory, read from its control file: it needs no running server.

    version
        Major version (int) of PostgreSQL; the default is the pillar's or the release's.
    data_directory
        Path (str); the default is the pillar's or Debian's.

    Raises CommandExecutionError where there is no data directory.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.system_identifier
    """
    return control_data.__wrapped__(version, data_directory)["system_identifier"]


@translated
def control_data(version=None, data_directory=None):
    """
    Return what the control file of a data directory says, running server or not:
    ``system_identifier`` (str), ``state`` (str), ``timeline`` (int), ``next_oid`` (int), ``next_xid`` (int),
    ``checkpoint`` (str, an LSN), ``checksums`` (bool).

    version, data_directory
        As in :py:func:`system_identifier`.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.control_data
    """
    values = (__pillar__.get(wanted.PILLAR_KEY) or {}).get("postgres") or {}
    layout = Layout(
        version or values.get("version") or wanted.default_version(),
        values.get("cluster") or "main",
        data_directory or values.get("data_directory") or "",
    )
    return facts.to_dict(hosting.control_file(layout))


@translated
def replication_status(host=None, port=None):
    """
    Return the standbys that stream from a server: a list of dictionaries with
    ``application_name``, ``state``, ``sent_lsn``, ``write_lsn``, ``flush_lsn``, ``replay_lsn``,
    ``sync_state``, ``write_lag``, ``flush_lag``, ``replay_lag`` (float, seconds, or None) and
    ``lag_bytes`` (int, what is sent and not replayed yet).

    host, port
        As in :py:func:`reachable`.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.replication_status
    """
    with _connect(host, port) as connection:
        found = facts.to_dict(asking.describe(connection, ROLE_NAME).senders)
    for sender in found:
        known = sender["sent_lsn"] and sender["replay_lsn"]
        sender["lag_bytes"] = (
            positions.diff(sender["sent_lsn"], sender["replay_lsn"]) if known else None
        )
    return found


@translated
def slots(host=None, port=None):
    """
    Return the replication slots of a server: a list of dictionaries with ``slot_name``,
    ``slot_type``, ``active`` (bool), ``restart_lsn`` (str or None), ``retained_bytes``
    (int or None, WAL kept for it), ``wal_status`` and ``application_name`` (of the sender that
    uses it, or None). Temporary slots are left out.

    host, port
        As in :py:func:`reachable`.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.slots
    """
    with _connect(host, port) as connection:
        return facts.to_dict(asking.describe(connection, ROLE_NAME).slots)


@translated
def slot_drop(name):
    """
    Drop a replication slot of the local server. Refused while somebody streams from it.

    name
        Of the slot (str).

    Returns whether there was one (bool). The WAL it kept is removed at the next checkpoint;
    who comes back for it has to be cloned again.

    Raises CommandExecutionError where it is in use, or the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.slot_drop repmgr_slot_7
    """
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = %(name)s"
    with _connect() as connection:
        found = db.rows(connection, query, {"name": name})
        if found:
            db.run(connection, "SELECT pg_drop_replication_slot(%(name)s)", {"name": name})
    return bool(found)


@translated
def settings(names=None, host=None, port=None):
    """
    Return server settings by name, each with ``value`` (str, with its unit), ``source``,
    ``sourcefile`` and ``pending_restart`` (bool). Without names: those that do not have
    their default, and those that wait for a restart.

    names
        Names of settings, separated by commas (str) or as a list.
    host, port
        As in :py:func:`reachable`.

    Raises SaltInvocationError for a name the server does not know.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.settings wal_level,max_wal_senders
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    # The server takes TimeZone and timezone for the same.
    names = [name.lower() for name in names or ()]
    sql = (
        "SELECT name, current_setting(name) AS value, source, sourcefile, pending_restart"
        " FROM pg_settings WHERE "
    )
    with _connect(host, port) as connection:
        if not names:
            found = db.rows(
                connection, sql + "source NOT IN ('default', 'override') OR pending_restart"
            )
        else:
            found = db.rows(connection, sql + "lower(name) = ANY(%(names)s)", {"names": names})
    known = {row.pop("name"): row for row in found}
    unknown = sorted(set(names) - {name.lower() for name in known})
    if unknown:
        raise UsageError(f"the server knows no setting {', '.join(unknown)}")
    return known


@translated
def hba_rules():
    """
    Return the local server's ``pg_hba.conf`` as the server itself reads it: a list of
    dictionaries with ``line_number``, ``type``, ``database`` and ``user_name`` (lists),
    ``address``, ``netmask``, ``auth_method``, ``options`` and ``error``.

    A line with an ``error`` keeps the whole file from being loaded.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.hba_rules
    """
    with _connect() as connection:
        return db.rows(
            connection,
            "SELECT line_number, type, database, user_name, address, netmask, auth_method,"
            " options, error FROM pg_hba_file_rules ORDER BY line_number",
        )


@translated
def lsn_diff(one, other):
    """
    Return how many bytes (int) one LSN is ahead of another; negative when it is behind.

    one, other
        LSNs (str) in PostgreSQL's spelling, ``X/X``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr_pg.lsn_diff 0/3000148 0/3000060
    """
    try:
        return positions.diff(one, other)
    except positions.ParseError as err:
        raise UsageError(str(err)) from err
