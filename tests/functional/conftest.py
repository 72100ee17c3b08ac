"""A primary, its standby, two more servers and their minions, for all functional tests.

The servers are real and belong to this run: what an earlier one left is removed before,
what this one made is removed afterwards, also after Ctrl-C and SIGTERM.
"""

import contextlib
import logging
import pathlib
import shutil
import signal
import tempfile
from types import SimpleNamespace

import pytest

from saltext_repmgr.utils.spec import Layout
from tests.functional.support import clusters
from tests.functional.support import repmgr
from tests.functional.support.minions import Minion


def pytest_configure(config):
    # Salt's loader before 3007 on Python 3.11, once a module.
    config.addinivalue_line("filterwarnings", "ignore:the load_module.. method:DeprecationWarning")


@pytest.fixture(scope="session", autouse=True)
def quiet_salt():
    """Keep thousands of lines of Salt's loader out of the report of a test that fails."""
    logging.getLogger("salt").setLevel(logging.ERROR)
    # Before it runs something as postgres, Salt asks for that user's environment with its own
    # Python, and complains where that user cannot run it, as below the home of root.
    logging.getLogger("salt.loaded.int.module.cmdmod").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def version():
    """Major version of the PostgreSQL that is tested with."""
    clusters.require_root()
    return clusters.newest_version()


@pytest.fixture(scope="session")
def servers(version):
    """Four clusters by their numbers, none of them running; 2 and 4 have no data yet."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, before)
        stack.enter_context(clusters.alone())
        clusters.remove_leftovers(version)
        stack.enter_context(clusters.in_memory(clusters.SCRATCH, "size=2g,mode=755"))
        stack.callback(repmgr.remove)
        repmgr.prepare()
        ports = clusters.free_ports(4)
        made = {
            number: clusters.Cluster(number, version, port, scratch=number > 2)
            for number, port in enumerate(ports, start=1)
        }
        for number, cluster in made.items():
            stack.callback(cluster.drop)
            cluster.create(data=number in (1, 3))
        yield made


@pytest.fixture
def mount_point(servers):  # pylint: disable=unused-argument
    """An empty directory that is a mount point."""
    with clusters.in_memory(clusters.SCRATCH / "mount", "size=64k") as path:
        yield path


@pytest.fixture
def tmp_path():
    """A directory that the postgres user can enter, unlike pytest's own."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="repmgr-functional-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def clone_state(tmp_path, monkeypatch):
    """The directory of root's for the markers of clones, not that of this machine."""
    path = tmp_path / "clone-state"
    path.mkdir(mode=0o700)
    monkeypatch.setattr(Layout, "clone_state", str(path))
    return path


@pytest.fixture(scope="session")
def pair(servers):
    """A registered ``primary`` with its streaming ``standby``; tests leave them as they are."""
    primary, standby = servers[1], servers[2]
    primary.start()
    repmgr.make_primary(primary)
    repmgr.make_standby(standby, primary)
    return SimpleNamespace(primary=primary, standby=standby)


@pytest.fixture(scope="session")
def primary(pair):
    return pair.primary


@pytest.fixture(scope="session")
def standby(pair):
    return pair.standby


@pytest.fixture(scope="session")
def pristine(servers):
    """A server that initdb has just made, and that does not run; each use begins with a reset."""
    return servers[3].keep_pristine()


@pytest.fixture
def fresh(pristine):
    """A server nobody ever used, running."""
    yield pristine.reset()
    pristine.kill()


@pytest.fixture
def spare(pristine):
    """A running server without anything of repmgr; it may be stopped, its files changed."""
    yield pristine.be_spare()
    pristine.restore_files()


@pytest.fixture(scope="session")
def minion_of(tmp_path_factory):
    """Make the minion of a server: its pillar knows the server's port and the password."""

    def make(cluster, *others):
        nodes = {cluster.name: {"id": cluster.number, "host": clusters.own_name()}}
        for node in others:
            nodes[node.name] = {"id": node.number, "host": f"192.0.2.{node.number}"}
        nodes[cluster.name]["role"] = "primary"
        pillar = {
            "cluster": "functional",
            "subnet": "192.0.2.0/24",
            "password": repmgr.PASSWORD,
            "nodes": nodes,
            "postgres": {
                "version": cluster.version,
                "cluster": cluster.name,
                "port": cluster.port,
            },
        }
        return Minion(tmp_path_factory.mktemp(cluster.name), cluster.name, {"repmgr": pillar})

    return make


@pytest.fixture(scope="session")
def minion(minion_of, primary, standby):
    """The minion of the primary."""
    return minion_of(primary, standby)


@pytest.fixture
def repmgr_pg(minion):
    return minion.modules.repmgr_pg


@pytest.fixture(scope="session")
def command(minion, version):
    """Call a function of the module ``repmgr`` for a server."""

    def call(function, cluster, *args, **kwargs):
        config = repmgr.conf(cluster)
        return minion.modules[f"repmgr.{function}"](*args, **kwargs, version=version, config=config)

    return call
