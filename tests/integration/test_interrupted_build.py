"""The first build, cut off at some moment. One orchestration later the cluster is whole."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.failures import faults
from tests.integration.conftest import LONG
from tests.integration.conftest import cluster_of
from tests.lab import LabError

DATA = "/var/lib/postgresql/*/main"
# So long a step of the build may take, on a machine with more to do than this.
STEP_SECONDS = 180


class Moment(NamedTuple):
    """When something happens to whom: as soon as a shell finds this on a host."""

    where: str
    sign: str
    whom: str
    fault: faults.Fault


MOMENTS = {
    "host-while-packages-are-unpacked": Moment(
        "node2", "test -d /usr/lib/postgresql", "node2", faults.POWER_OFF
    ),
    "minion-before-the-primary": Moment(
        "node1", "test -e /etc/repmgr.conf", "node1", faults.MINION
    ),
    "host-during-its-clone": Moment(
        "node2", "ls /var/lib/repmgr-clone/*.json", "node2", faults.POWER_OFF
    ),
    "master-after-a-clone": Moment("node3", f"ls {DATA}/standby.signal", "master", faults.MASTER),
    "minion-before-its-daemon": Moment(
        "node3", "test -e /etc/systemd/system/repmgrd.service", "node3", faults.MINION
    ),
}
# It leaves most behind; a long run takes them all. What a clone leaves, test_interlock.py shows.
SHORT = ("host-while-packages-are-unpacked",)


@pytest.fixture(scope="module")
def bare():
    with cluster_of("interrupted") as cluster:
        cluster.lab.snapshot("bare")
        yield cluster


@pytest.fixture
def cluster(bare):
    if any(host.sh("test -e /etc/repmgr.conf && echo built", check=False) for host in bare.nodes):
        bare.lab.restore("bare")
        bare.lab.wait_for_minions()
    return bare


@pytest.mark.parametrize("name", MOMENTS if LONG else SHORT)
def test_one_orchestration_later_it_is_whole(cluster, name, wait):
    moment = MOMENTS[name]
    host = cluster.lab[moment.whom]
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(_orchestrate, cluster)
        _wait_for(cluster.lab[moment.where], moment.sign, first)
        moment.fault.strike(host)
        time.sleep(5)
        moment.fault.undo(host)
        first.result()
    cluster.lab.wait_for_minions()

    run = cluster.orchestrate()
    assert run.ok, run
    assert cluster.primary() == "node1"
    wait(cluster.whole, what="a whole cluster")
    again = cluster.orchestrate()
    assert again.ok, again
    assert again.changes == {}


def _orchestrate(cluster):
    # What becomes of it is not asked: its host, its master or its minions go away.
    with contextlib.suppress(LabError):
        cluster.lab.master.run(
            ["timeout", "300", "salt-run", "state.orchestrate", "repmgr.cluster"],
            check=False,
            timeout=320,
        )


def _wait_for(host, sign, first):
    deadline = time.monotonic() + STEP_SECONDS
    while time.monotonic() < deadline:
        assert not first.done(), f"the build was over before {sign!r} on {host.name}"
        if host.run(["sh", "-c", sign], check=False).returncode == 0:
            return
    raise AssertionError(f"{sign!r} did not come true on {host.name} within {STEP_SECONDS} s")
