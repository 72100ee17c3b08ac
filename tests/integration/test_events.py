"""repmgr's events on Salt's event bus: none is lost, and the reactor heals by policy."""

import json

import pytest

from tests.integration.conftest import cluster_of
from tests.lab.process import wait_until

HEAL = ["salt://repmgr/reactor/heal.sls"]
REACTOR = [
    {"repmgr/*/repmgrd_failover_promote": HEAL},
    {"repmgr/*/repmgrd_local_disconnect": HEAL},
    {"salt/minion/*/start": HEAL},
]
BUS = "/root/bus"
SPOOL = "/var/spool/repmgr"


class Bus:
    """What a person at the master sees with ``salt-run state.event``."""

    def __init__(self, lab):
        self.lab = lab
        self._listen = f"salt-run state.event tagmatch='*' >> {BUS}"
        self.restart()

    def restart(self):
        """Listen again: the command ends with the master."""
        self.lab.master.sh("systemctl stop bus || true; systemctl reset-failed bus || true")
        unit = [
            "systemd-run",
            "--quiet",
            "--unit=bus",
            "--setenv=PATH=/usr/local/bin:/usr/bin:/bin",
        ]
        self.lab.master.run([*unit, "sh", "-c", self._listen])
        before = len(self._text())

        def hears():
            # Whatever salt-run does is told on the bus.
            self.lab.salt_run("test.arg", "anybody")
            return len(self._text()) > before

        assert wait_until(hears, 120, step=0.5), "nobody hears the master's bus"

    def _text(self):
        return self.lab.master.sh(f"touch {BUS}; cat {BUS}")

    def all(self):
        """``(tag, data)`` of every event, oldest first."""
        lines = [line.split("\t", 1) for line in self._text().splitlines() if "\t{" in line]
        return [(tag, json.loads(data)) for tag, data in lines]

    def events(self, node, name=None):
        """The data of repmgr's events from a node."""
        return [
            data
            for tag, data in self.all()
            if data.get("node") == node and tag == f"repmgr/foobar/{name or data.get('event')}"
        ]

    def heals(self):
        """What ``repmgr.heal`` returned to the reactor."""
        return [
            data["return"]
            for tag, data in self.all()
            if tag.endswith("/ret") and data.get("fun") == "runner.repmgr.heal"
        ]

    def runs(self):
        """The orchestrations that the reactor began and ended."""
        return [data for tag, data in self.all() if tag == "repmgr/foobar/heal"]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes and a witness, a master with the reactor, and somebody who watches its bus."""
    reactor = {"reactor": REACTOR}
    with cluster_of("events", nodes=2, witness=True, master_config=reactor) as hosts:
        hosts.bus = Bus(hosts.lab)
        yield hosts


@pytest.fixture(scope="module")
def built(cluster):
    run = cluster.orchestrate()
    assert run.ok, run
    return run


def register(cluster, name="node2"):
    """Raise an event, as a person would."""
    repmgr = f"/usr/lib/postgresql/{cluster.version}/bin/repmgr"
    argv = [repmgr, "-f", "/etc/repmgr.conf", "standby", "register", "-F"]
    cluster.lab[name].run(argv, user="postgres")


def waiting(cluster, name):
    """The names of the events that wait on a node."""
    return cluster.lab[name].sh(f"ls {SPOOL}").split()


def test_the_build_is_told_and_a_second_run_changes_nothing(cluster, built, wait):
    wait(lambda: cluster.bus.events("node1", "primary_register"), what="primary_register")
    wait(lambda: cluster.bus.events("node2", "repmgrd_start"), what="repmgrd_start")
    assert cluster.orchestrate("test=True").changes == {}
    assert cluster.orchestrate().changes == {}


def test_an_event_says_who_what_and_where(cluster, built, wait):
    known = len(cluster.bus.events("node2", "standby_register"))
    register(cluster)
    found = wait(lambda: cluster.bus.events("node2", "standby_register")[known:], what="the event")
    (event,) = found
    row = "SELECT details FROM repmgr.events WHERE event = 'standby_register'"
    details = cluster.sql("node1", f"{row} ORDER BY event_timestamp DESC LIMIT 1", dbname="repmgr")
    assert event["details"] == details != ""
    assert (event["cluster"], event["event"]) == ("foobar", "standby_register")
    assert (event["id"], event["node_id"], event["success"]) == ("node2", 2, True)
    assert (event["role"], event["timeline"]) == ("standby", 1)
    assert event["event_id"].startswith("node2/")


def test_events_wait_for_the_minion(cluster, built, wait):
    wait(lambda: not waiting(cluster, "node2"), what="an empty spool")
    known = len(cluster.bus.events("node2", "standby_register"))
    cluster.silence("node2")
    register(cluster)
    register(cluster)
    names = [name.removesuffix(".event") for name in waiting(cluster, "node2")]
    assert len(names) == 2
    cluster.wake("node2")
    found = wait(
        lambda: (e := cluster.bus.events("node2", "standby_register")[known:])[1:] and e,
        what="both events",
    )
    assert [event["event_id"] for event in found] == [f"node2/{name}" for name in names]
    wait(lambda: not waiting(cluster, "node2"), what="an empty spool")


def test_events_wait_for_the_master(cluster, built, wait):
    cluster.lab.master.run(["systemctl", "stop", "salt-master"])
    known = len(cluster.bus.events("node2", "standby_register"))
    register(cluster)
    (name,) = waiting(cluster, "node2")
    # Longer than an attempt at delivering it takes.
    cluster.lab["node2"].sh("sleep 14")
    assert waiting(cluster, "node2") == [name]
    # What comes before somebody listens again would be heard by nobody.
    cluster.lab["node2"].cut(cluster.lab.master)
    cluster.lab.master.run(["systemctl", "start", "salt-master"])
    cluster.bus.restart()
    cluster.lab["node2"].heal(cluster.lab.master)
    found = wait(lambda: cluster.bus.events("node2", "standby_register")[known:], what="it")
    assert {event["event_id"] for event in found} == {f"node2/{name.removesuffix('.event')}"}
    cluster.lab.wait_for_minions()


def test_nothing_is_healed_without_being_allowed(cluster, built, wait):
    known = len(cluster.bus.heals())
    tag = "repmgr/foobar/repmgrd_failover_promote"

    def answers():
        # The master was just started, and its reactor hears nothing before it is up itself.
        cluster.lab.salt_call("node2", "event.send", tag).raise_for_status()
        wait_until(lambda: cluster.bus.heals()[known:], 10, step=0.2)
        return cluster.bus.heals()[known:]

    found = wait(answers, what="the reactor's call")
    assert {(a["ran"], a["reason"]) for a in found} == {(False, "pillar says 'rejoin: ask'")}
    assert cluster.bus.runs() == []


def test_a_failover_is_told_and_its_lost_node_healed_once(cluster, built, wait):
    cluster.publish(rejoin="auto")
    known = len(cluster.bus.heals())
    cluster.lab["node1"].power_off()
    (event,) = wait(
        lambda: cluster.bus.events("node2", "repmgrd_failover_promote"), what="the failover"
    )
    assert (event["role"], event["timeline"], event["success"]) == ("primary", 2, True)
    (answer,) = wait(lambda: cluster.bus.heals()[known:], what="the reactor's call")
    assert answer["ran"] is False, answer
    cluster.lab["node1"].boot()
    _, ended = wait(
        lambda: (runs := cluster.bus.runs())[1:] and runs, timeout=300, what="the healing"
    )
    assert (ended["stage"], ended["ok"]) == ("ended", True)
    assert cluster.streaming("node2") == ["node1"]
    (healed,) = wait(
        lambda: [a for a in cluster.bus.heals()[known:] if a["ran"]], what="the reactor's report"
    )
    assert "node1" in " ".join(healed["reason"].split())
