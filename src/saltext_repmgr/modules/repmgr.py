"""
The commands of repmgr, with data for an answer instead of text.

Each function runs one command of ``repmgr`` on this minion as the OS user ``postgres``.
What it returns never holds a password. These functions act, also with ``test=True``;
where repmgr can only look, they take ``dry_run``.

All of them take ``version`` and ``config``:

version
    Major version of PostgreSQL whose repmgr is run (int). Default: the configuration
    or pillar value ``repmgr:postgres:version``, else the newest one installed.
config
    Absolute path of repmgr's configuration file; the default is ``/etc/repmgr.conf``.

and raise ``CommandExecutionError`` where repmgr fails, with the name of its exit code,
what it said and what to do next, and ``SaltInvocationError`` for wrong arguments.
Exit codes by which repmgr only reports trouble (25, and Nagios' codes) are no failures.

Commands that change something return

.. code-block:: yaml

    changed: true                 # false with dry_run
    command: /usr/lib/postgresql/15/bin/repmgr -f /etc/repmgr.conf …
    messages: ['NOTICE: …']       # notices and warnings; with dry_run all that would be done

repmgr's exit codes and behaviour: https://www.repmgr.org/docs/current/.
"""

import os

from saltext_repmgr.utils.boundary import translated

__virtualname__ = "repmgr"


def __virtual__():
    # repmgr may be installed later in the run that uses this module.
    return __virtualname__


# What the helpers import is imported there: loaded on every minion, this module shall cost
# nothing until it is used.


def _locate(version):
    from saltext_repmgr.utils import command

    return command.locate(version or __salt__["config.get"]("repmgr:postgres:version") or None)


def _repmgr(version, config):
    from saltext_repmgr.utils import client
    from saltext_repmgr.utils import command

    _, binary = _locate(version)
    return client.Client(__salt__["cmd.run_all"], command.program(binary, config))


def _conninfo(conninfo, upstream):
    """The connection string of a node of the pillar, where none is passed."""
    from saltext_repmgr.utils import repmgr_conf
    from saltext_repmgr.utils import wanted
    from saltext_repmgr.utils.errors import UsageError

    if (conninfo is None) == (upstream is None):
        raise UsageError("pass either conninfo or upstream, the name of a node in the pillar")
    if conninfo is not None:
        return conninfo
    spec, _, layout = wanted.subject(__pillar__, __opts__["id"])
    if upstream not in spec.nodes:
        raise UsageError(
            f"{upstream!r} is not in repmgr:nodes (there are: {', '.join(spec.nodes)})"
        )
    return repmgr_conf.conninfo(spec, spec.nodes[upstream], layout)


def _rewind(force_rewind, version):
    """The value of --force-rewind.

    After a crash pg_rewind starts PostgreSQL to recover, and does not find the
    configuration Debian keeps in /etc; from 15 on it can be told where it is.
    """
    from saltext_repmgr.utils.spec import Layout

    if force_rewind is not True:
        return force_rewind
    version, _ = _locate(version)
    layout = Layout(version, __salt__["config.get"]("repmgr:postgres:cluster") or "main")
    settings = f"{layout.config_directory}/postgresql.conf"
    if version < 15 or not os.path.isfile(settings):
        return True
    return f"{layout.bindir}/pg_rewind --config-file={settings}"


@translated
def version(version=None, config=None):
    """
    Return the version of repmgr.

    version
        Major version of PostgreSQL (int); see above.
    config
        Path of repmgr's configuration file (str); see above.

    Returns ``{"version": "5.3.3", "number": 50303, "binary": ...}``, the path of repmgr
    last.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.version
    """
    return _repmgr(version, config).version()


@translated
def dump_config(version=None, config=None):
    """
    Return the settings repmgr reads from its configuration file, as ``{name: value}``.

    version, config
        See above.

    All values are text. A file with mistakes raises ``CommandExecutionError`` with all
    of them, so this is the way to validate one. No server is needed.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.dump_config
        salt node1 repmgr.dump_config config=/etc/repmgr.conf.new
    """
    return _repmgr(version, config).dump_config()


@translated
def cluster_show(detail=False, version=None, config=None):
    """
    Return the nodes of the cluster and what is wrong with them.

    detail
        True (bool) for what people look for; the default is what is certain.
    version, config
        See above.

    Returns ``healthy`` (bool), ``nodes`` and ``issues``, a list of sentences that is
    filled with ``detail`` only. A node is ``node_id``, ``reachable`` and
    ``in_recovery`` (bool, None where not known); with ``detail`` it is ``node_id``,
    ``name``, ``role`` as registered, ``status`` as found, ``upstream``, ``location``,
    ``priority``, ``timeline`` and ``conninfo``. A witness is not in recovery.

    This is what the server of *this* minion knows: one that was cut off is out of date.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.cluster_show detail=True
    """
    return _repmgr(version, config).cluster_show(detail)


@translated
def cluster_event(limit=20, event=None, node_id=None, all_events=False, version=None, config=None):
    """
    Return events of the cluster, newest first.

    limit
        How many at most (int).
    event
        Only those of this name (str), for example ``standby_promote``.
    node_id
        Only those of this node (int); it must be registered.
    all_events
        True (bool) for all of them, whatever ``limit``.
    version, config
        See above.

    Returns a list of ``node_id``, ``node_name``, ``event``, ``successful`` (bool) and
    ``timestamp`` (text, in the time zone of the server). A witness has its own events.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.cluster_event
        salt node1 repmgr.cluster_event event=standby_promote limit=1
    """
    return _repmgr(version, config).cluster_event(
        limit=None if all_events else int(limit), all=all_events, event=event, node_id=node_id
    )


@translated
def cluster_cleanup(keep_history=None, node_id=None, version=None, config=None):
    """
    Delete records of the monitoring history on the primary.

    keep_history
        Days to keep (int); without it, all are deleted.
    node_id
        Only those of this node (int).
    version, config
        See above.

    There is no ``dry_run``: repmgr's own deletes for real. As the role of repmgr need
    not own the table, a warning that it was not vacuumed is normal.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.cluster_cleanup keep_history=30
    """
    return _repmgr(version, config).change(
        "cluster cleanup", keep_history=keep_history, node_id=node_id
    )


@translated
def node_status(version=None, config=None):
    """
    Return the state of this node.

    version, config
        See above.

    Returns ``healthy`` (bool) and ``node_name``, ``node_id``, ``postgres_version``,
    ``size``, ``conninfo``, ``role`` as registered, ``archiving``, ``archive_command``,
    ``archive_pending`` (files), ``upstream``, ``upstream_id``, ``replication_lag``
    (seconds), ``received_lsn``, ``replayed_lsn``, ``max_wal_senders``,
    ``occupied_wal_senders``, ``max_replication_slots``, ``active_replication_slots``,
    ``inactive_replication_slots`` and ``missing_replication_slots`` (names). What does
    not apply is None.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.node_status
    """
    return _repmgr(version, config).node_status()


@translated
def node_check(check=None, version=None, config=None):
    """
    Return whether this node is as it should be.

    check
        One of ``archive_ready``, ``data_directory_config``, ``db_connection``,
        ``downstream``, ``missing_slots``, ``replication_config_owner``,
        ``replication_lag``, ``repmgrd`` (not with repmgr 5.2), ``role``, ``slots`` and
        ``upstream`` (str). Without it repmgr makes most of them, not the one of repmgrd.
    version, config
        See above.

    Returns ``status`` (``OK``, ``WARNING``, ``CRITICAL`` or ``UNKNOWN``), ``code``,
    Nagios' number for it, and ``details``. Without ``check`` it is the worst status,
    and instead of the details ``checks``, ``{name: {"status": ..., "details": ...}}``.

    Raises ``CommandExecutionError`` only where the check could not be made. repmgr
    makes none of them while the server of this node is down, nor all of them or
    ``upstream`` while the server of its upstream is.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.node_check
        salt node1 repmgr.node_check replication_lag
    """
    return _repmgr(version, config).node_check(check)


@translated
def node_shutdown_state(version=None, config=None):
    """
    Return how this node was stopped, by its control file. No server is needed.

    version, config
        See above.

    Returns ``state`` and ``last_checkpoint_lsn``. ``SHUTDOWN`` can rejoin, and only then
    there is the LSN; ``UNCLEAN_SHUTDOWN`` has crashed; ``UP`` and ``SHUTTING_DOWN``
    run; ``UNKNOWN`` has a data directory that cannot be read.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.node_shutdown_state
    """
    return _repmgr(version, config).shutdown_state()


@translated
def node_service(action=None, checkpoint=False, dry_run=False, version=None, config=None):
    """
    Run the service command repmgr is configured with, or return those commands.

    action
        ``start``, ``stop``, ``restart`` or ``reload`` (str). Without it, nothing is
        run and ``{action: command}`` is returned.
    checkpoint
        Make a checkpoint before ``stop`` or ``restart`` (bool). The role of repmgr must
        be allowed to: a superuser, from repmgr 5.5 on a member of ``pg_checkpoint``.
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.node_service
        salt node1 repmgr.node_service action=reload
    """
    repmgr = _repmgr(version, config)
    if action is None:
        return repmgr.service_actions()
    # pylint: disable-next=kwarg-superseded-by-positional-arg
    return repmgr.change("node service", dry_run, action=action, checkpoint=checkpoint)


@translated
def node_rejoin(
    upstream=None,
    conninfo=None,
    force_rewind=False,
    config_files=None,
    no_wait=False,
    dry_run=False,
    version=None,
    config=None,
):
    """
    Bring this stopped node back as a standby of the primary.

    upstream
        Name of a node in the pillar that runs (str): the primary, or one that knows it.
    conninfo
        Instead of it, how that node is reached (str). It must not hold a password.
    force_rewind
        True (bool) to let ``pg_rewind`` take back what this node wrote and the primary
        does not have. **That is lost.** Or pg_rewind with its arguments (str). Without
        it, a node that went its own way is refused.
    config_files
        Files inside the data directory to keep over a rewind (str, separated by commas).
    no_wait
        Return at once (bool) rather than when the node is attached.
    dry_run
        Only look (bool). It does not see whether the role may run pg_rewind's functions.
    version, config
        See above.

    From PostgreSQL 15 on a crashed node is rewound as well. An older one on Debian has
    to be recovered before, without letting anyone in to write, as ``postgres``:
    ``/usr/lib/postgresql/<V>/bin/postgres --single -F -D <its data> -c
    config_file=<its postgresql.conf> template1 </dev/null``.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.node_rejoin upstream=node2 dry_run=True
        salt node1 repmgr.node_rejoin upstream=node2 force_rewind=True
    """
    return _repmgr(version, config).change(
        "node rejoin",
        dry_run,
        dbname=_conninfo(conninfo, upstream),
        force_rewind=_rewind(force_rewind, version),
        config_files=config_files,
        no_wait=no_wait,
    )


@translated
def primary_register(force=False, dry_run=False, version=None, config=None):
    """
    Register this node as the primary.

    force
        Write its record anew (bool). A stale old primary would also be registered: its
        own copy of the records says that it is the primary.
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.primary_register
    """
    return _repmgr(version, config).change("primary register", dry_run, force=force)


@translated
def primary_unregister(node_id=None, force=False, dry_run=False, version=None, config=None):
    """
    Delete the record of a primary that is gone.

    node_id
        Of that primary (int); the default is the registered one.
    force
        Also if it is active (bool).
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr.primary_unregister node_id=1 dry_run=True
    """
    return _repmgr(version, config).change(
        "primary unregister", dry_run, node_id=node_id, force=force
    )


@translated
def standby_clone(
    upstream=None,
    conninfo=None,
    upstream_node_id=None,
    fast_checkpoint=True,
    force=False,
    verify_backup=False,
    dry_run=False,
    version=None,
    config=None,
):
    """
    Copy the data of a running node to this one. Neither starts nor registers it.

    It returns when the copy is complete, which can take hours: ``salt -t`` or
    ``salt --async`` is for that. The state ``repmgr.standby_cloned`` does not keep
    Salt waiting and makes sure that nothing is overwritten.

    upstream
        Name of a node in the pillar to copy from (str).
    conninfo
        Instead of it, how that node is reached (str). It must not hold a password. With
        its ``passfile`` it becomes the standby's ``primary_conninfo``.
    upstream_node_id
        Registered node to stream from (int); the default is the primary.
    fast_checkpoint
        Do not wait for the source's next checkpoint (bool).
    force
        **Delete what is in the data directory** (bool), whatever it is. A running
        server's is refused all the same.
    verify_backup
        Check the copy with ``pg_verifybackup`` (bool).
    dry_run
        Only look (bool). It passes where the directory is not empty.
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt -t 86400 node2 repmgr.standby_clone upstream=node1
    """
    return _repmgr(version, config).change(
        "standby clone",
        dry_run,
        dbname=_conninfo(conninfo, upstream),
        upstream_node_id=upstream_node_id,
        fast_checkpoint=fast_checkpoint,
        force=force,
        verify_backup=verify_backup,
    )


@translated
def standby_register(
    upstream_node_id=None,
    force=False,
    wait_sync=None,
    wait_start=None,
    dry_run=False,
    version=None,
    config=None,
):
    """
    Register this node as a standby.

    upstream_node_id
        Node it streams from (int). **Pass it:** without it the record says the
        primary, also where an existing record said something else.
    force
        Write its record anew (bool).
    wait_sync
        Wait this many seconds for the record to arrive on the standby (int).
    wait_start
        Wait this many seconds for the local server (int); repmgr's default is 30.
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr.standby_register upstream_node_id=1 wait_sync=60
    """
    return _repmgr(version, config).change(
        "standby register",
        dry_run,
        upstream_node_id=upstream_node_id,
        force=force,
        wait_sync=wait_sync,
        wait_start=wait_start,
    )


@translated
def standby_unregister(node_id=None, version=None, config=None):
    """
    Delete the record of a standby.

    node_id
        Of a standby that is gone (int), from any other node; the default is this one,
        whose server must run.
    version, config
        See above.

    There is no ``dry_run``: repmgr's own deletes for real. Its replication slot stays
    on the upstream, where it keeps WAL from being removed until it is dropped.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.standby_unregister node_id=3
    """
    return _repmgr(version, config).change("standby unregister", node_id=node_id)


@translated
def standby_promote(siblings_follow=False, force=False, dry_run=False, version=None, config=None):
    """
    Make this standby the primary. Refused while another primary can be reached.

    A primary that cannot be reached from here may still run and take writes: make sure
    that it is off.

    siblings_follow
        Let the other standbys follow (bool); needs SSH from this node to them.
    force
        Go on in spite of warnings (bool).
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr.standby_promote dry_run=True
    """
    return _repmgr(version, config).change(
        "standby promote", dry_run, siblings_follow=siblings_follow, force=force
    )


@translated
def standby_follow(upstream_node_id=None, wait=False, dry_run=False, version=None, config=None):
    """
    Let this running standby stream from another node.

    upstream_node_id
        That node (int); the default is the primary.
    wait
        Wait for a primary to appear (bool), as long as ``primary_follow_timeout`` says.
    dry_run
        Only look (bool). It also passes where this node follows that one already.
    version, config
        See above.

    repmgr succeeds even if it did not see the standby attached: check afterwards. With
    replication slots, following the node it follows already fails (``FOLLOW_FAIL``).

    CLI Example:

    .. code-block:: bash

        salt node3 repmgr.standby_follow upstream_node_id=2
    """
    return _repmgr(version, config).change(
        "standby follow", dry_run, upstream_node_id=upstream_node_id, wait=wait
    )


@translated
def standby_switchover(
    siblings_follow=False,
    force_rewind=False,
    always_promote=False,
    repmgrd_no_pause=False,
    force=False,
    dry_run=False,
    version=None,
    config=None,
):
    """
    Swap this standby with the primary. Needs SSH from here to the primary.

    siblings_follow
        Let the other standbys follow (bool); needs SSH to them as well.
    force_rewind
        Let ``pg_rewind`` take back what the old primary wrote and this one does not
        have (bool), or pg_rewind with its arguments (str).
    always_promote
        Go on even if this standby lacks data the primary had (bool).
    repmgrd_no_pause
        Do not pause repmgrd meanwhile (bool).
    force
        Go on in spite of warnings, such as of lag (bool).
    dry_run
        Only look (bool).
    version, config
        See above.

    Where it fails repmgrd may be left paused on all nodes: see ``service_status``, and
    ``service_unpause``. After ``SWITCHOVER_INCOMPLETE`` do not repeat it: this node is
    the primary, ``node_rejoin`` brings the old one back.

    CLI Example:

    .. code-block:: bash

        salt node2 repmgr.standby_switchover dry_run=True
    """
    return _repmgr(version, config).change(
        "standby switchover",
        dry_run,
        siblings_follow=siblings_follow,
        force_rewind=force_rewind,
        always_promote=always_promote,
        repmgrd_no_pause=repmgrd_no_pause,
        force=force,
    )


@translated
def witness_register(
    upstream=None, conninfo=None, force=False, dry_run=False, version=None, config=None
):
    """
    Register this node as a witness.

    upstream
        Name of the primary in the pillar (str).
    conninfo
        Instead of it, how the primary is reached (str). It must not hold a password.
    force
        Write its record anew and copy the records of the primary again (bool).
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node4 repmgr.witness_register upstream=node1
    """
    return _repmgr(version, config).change(
        "witness register", dry_run, dbname=_conninfo(conninfo, upstream), force=force
    )


@translated
def witness_unregister(node_id=None, force=False, dry_run=False, version=None, config=None):
    """
    Delete the record of a witness.

    node_id
        Of a witness that is gone (int), from any other node; the default is this one.
    force
        Also if its server does not run (bool).
    dry_run
        Only look (bool).
    version, config
        See above.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.witness_unregister node_id=4
    """
    return _repmgr(version, config).change(
        "witness unregister", dry_run, node_id=node_id, force=force
    )


@translated
def service_status(version=None, config=None):
    """
    Return the state of repmgrd on each node.

    version, config
        See above.

    Returns a list of ``node_id``, ``node_name``, ``type``, ``postgres_running``,
    ``repmgrd_running``, ``repmgrd_pid``, ``paused``, ``priority``,
    ``upstream_last_seen`` (seconds) and ``location``. What cannot be known, as the
    node's server or its repmgrd does not run, is None.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.service_status
    """
    return _repmgr(version, config).service_status()


@translated
def service_pause(dry_run=False, version=None, config=None):
    """
    Let repmgrd on all nodes keep from failing over.

    dry_run
        Only look (bool).
    version, config
        See above.

    Raises ``CommandExecutionError`` (``REPMGRD_PAUSE``) where a registered node cannot
    be reached, though the others were paused.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.service_pause
    """
    return _repmgr(version, config).change("service pause", dry_run)


@translated
def service_unpause(dry_run=False, version=None, config=None):
    """
    Let repmgrd on all nodes fail over again.

    dry_run
        Only look (bool).
    version, config
        See above.

    Raises ``CommandExecutionError`` (``REPMGRD_PAUSE``) where a registered node cannot
    be reached, though the others were unpaused.

    CLI Example:

    .. code-block:: bash

        salt node1 repmgr.service_unpause
    """
    return _repmgr(version, config).change("service unpause", dry_run)
