"""Gather the facts of a host with a PgBouncer."""

import functools
import time
from pathlib import Path

from saltext_repmgr.utils import db
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import router_access
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils.facts import Guard
from saltext_repmgr.utils.facts import Router
from saltext_repmgr.utils.facts import Through
from saltext_repmgr.utils.scrub import scrub
from saltext_repmgr.utils.spec import Layout

PROGRAM = "/usr/sbin/pgbouncer"
_PATIENCE = 2.0
_HOLDS = "holds"
# Where clients of this host connect to, by what PgBouncer listens to.
_ANY = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
# As PgBouncer's role, in a database of somebody else, who says where names are looked up first.
_QUERY = (
    "SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,"
    f" pg_catalog.to_regprocedure('{router_access.FUNCTION}') IS NOT NULL AS ready"
)


def console(spec):
    """Return PgBouncer's console on this host, a :class:`saltext_repmgr.router.console.Console`."""
    from saltext_repmgr.router.console import Console

    becoming = functools.partial(db.effective_user, Layout.os_user)
    return Console(Layout.socket_directory, spec.pgbouncer.port, becoming)


def daemon():
    """Return the :class:`~saltext_repmgr.utils.facts.Guard` that says how the router does."""
    unit = host.units(router_files.UNIT)[router_files.UNIT]
    said = host.read_json(router_files.STATE) or {}
    return Guard(
        unit=unit.state,
        pid=unit.pid,
        started=unit.started,
        attached=unit.pid is not None and said.get("pid") == unit.pid,
        state=_HOLDS if said.get("paused") else "",
        reason=said.get("error", ""),
    )


def observe_router(spec, name):
    """Return the :class:`~saltext_repmgr.utils.facts.Router` of this host.

    name
        Its minion id.
    """
    common = {
        "name": name,
        "installed": Path(PROGRAM).exists(),
        "unit": host.units(router_files.SERVICE)[router_files.SERVICE].state,
        "daemon": daemon(),
    }
    if not common["installed"]:
        return Router(**common)
    shown, error = _shown(spec)
    writing = [row for row in shown if row["name"] in spec.pgbouncer.databases]
    hosts = tuple(sorted({row["host"] or "" for row in writing}))
    paused = any(int(row["paused"]) for row in writing)
    return Router(
        **common,
        hosts=hosts,
        points_to=_node_at(spec, hosts),
        paused=paused,
        held=common["daemon"].attached and common["daemon"].state == _HOLDS,
        error=error,
        databases={} if paused or error else _through(spec),
    )


def _shown(spec):
    import psycopg2

    asked = console(spec)
    try:
        return asked.ask("SHOW DATABASES"), ""
    except (psycopg2.Error, db.NotInstalledError) as err:
        return [], " ".join(str(err).split())
    finally:
        asked.close()


def _node_at(spec, hosts):
    """Return the name of the one node that has these addresses, or None."""
    addresses = observe.resolve(spec.data_nodes)
    found = {
        node.name
        for node in spec.data_nodes
        for where in hosts
        if where in (node.host, node.address, addresses[node.name])
    }
    return found.pop() if len(found) == 1 and len(hosts) == 1 else None


def _through(spec):
    """Ask each database as its clients do, all at once."""
    from saltext_repmgr.guard import config
    from saltext_repmgr.guard import probe

    listens = spec.pgbouncer.settings.get("listen_addr", "*")
    first = str(listens).split(",", maxsplit=1)[0].strip()
    where = _ANY.get(first, first)
    question = probe.Question(_QUERY, Through, "saltext-repmgr")
    probes = {
        name: probe.Probe(
            config.Peer(
                number, name, "", -1, True, router_files.conninfo(where, spec.pgbouncer.port, name)
            ),
            _PATIENCE,
            question=question,
        )
        for number, name in enumerate(spec.pgbouncer.databases)
    }
    deadline = time.monotonic() + _PATIENCE
    open_ones = list(probes.values())
    while open_ones and probe.step_all(open_ones) < deadline:
        open_ones = [p for p in open_ones if p.answer is None and not p.error]
        if open_ones:
            probe.wait(open_ones, 0.05)
    found = {name: p.answer or Through(error=_words(p.error)) for name, p in probes.items()}
    for one in probes.values():
        one.close()
    return found


def _words(error):
    return scrub(" ".join(error.split())) or f"no answer within {_PATIENCE:g} s"
