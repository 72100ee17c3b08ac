"""The primary is moved in good order, a client writing all along. One story, in order."""

import contextlib
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.failures import judge
from tests.failures import pillars
from tests.failures.moments import Moment
from tests.failures.moments import Watcher
from tests.failures.running import Client
from tests.integration.conftest import cluster_of
from tests.lab import LabError

DATA = ["node1", "node2", "node3"]
NODES = [*DATA, "node4"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # The archive is anywhere; what counts is whether it takes what it is given.
    settings = {"archive_mode": "on", "archive_command": "/bin/true"}
    part = {"ssh": key_pair(tmp_path_factory.mktemp("ssh")), "postgres": {"settings": settings}}
    pillar = pillars.for_client(part)
    with cluster_of("switchover", witness=True, preinstalled=True, pillar=pillar) as hosts:
        run = hosts.orchestrate()
        assert run.ok, run
        yield hosts


def key_pair(directory):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "postgres@foobar", "-f", "key"],
        cwd=directory,
        check=True,
    )
    names = {"private_key": "key", "public_key": "key.pub"}
    return {kind: (directory / name).read_text(encoding="utf-8") for kind, name in names.items()}


@pytest.fixture
def whole(cluster, wait):
    wait(lambda: in_service(cluster), what="the cluster in service")
    return cluster


def in_service(cluster):
    """Whether both standbys stream from the primary, no repmgrd is paused, and all watch it."""
    primary = cluster.primary(DATA)
    if primary is None:
        return False
    others = [n for n in DATA if n != primary]
    running = "SELECT repmgr.repmgrd_is_running() AND NOT repmgr.repmgrd_is_paused()"
    watched = "SELECT repmgr.get_upstream_node_id()"
    return (
        cluster.streaming(primary) == others
        and all(cluster.sql(name, running, "repmgr") == "t" for name in NODES)
        and {cluster.sql(name, watched, "repmgr") for name in NODES if name != primary}
        == {primary.removeprefix("node")}
    )


def switch(cluster, *words):
    """Run it: exit code and data."""
    argv = ["salt-run", "--out=json", "repmgr.switchover", *words]
    done = cluster.lab.master.run(argv, check=False, timeout=180)
    data = json.loads(done.stdout)
    assert data["retcode"] == done.returncode, done.stderr
    return data


def untouched(cluster):
    """What a refused switchover leaves as it is."""
    return [cluster.started(name) for name in NODES], cluster.primary(DATA)


def test_a_dry_run_shows_checks_and_steps_and_touches_nothing(whole):
    before = untouched(whole)
    data = switch(whole, "node2", "test=True")
    assert (data["retcode"], data["changed"]) == (0, False)
    assert data["result"] == "node2 could take over from node1 now"
    assert [check["problem"] for check in data["checks"]] == [""] * len(data["checks"])
    assert "node3, node4 follow node2" in data["steps"]
    assert untouched(whole) == before


def test_a_dry_run_fits_on_one_screen(whole):
    argv = ["salt-run", "repmgr.switchover", "node2", "test=True"]
    text = whole.lab.master.run(argv, timeout=60).stdout
    assert text.startswith("checks:\n  ok  every member answers: 4 members\n"), text
    assert "\nsteps:\n  - checkpoint on node1\n" in text
    assert text.rstrip().endswith("\n\nnode2 could take over from node1 now"), text


def test_minions_with_an_older_pillar_take_the_present_one(whole):
    def known():
        wanted = whole.lab.salt("node3", "repmgr_node.wanted").data
        return "\npriority=42\n" in wanted["repmgr_conf_text"]

    node = {**whole.pillar["nodes"]["node3"], "priority": 42}
    changed = whole.changed(nodes={**whole.pillar["nodes"], "node3": node})
    for pillar, there in ((changed, True), (whole.pillar, False)):
        whole.lab.set_pillar(pillar, refresh=False)
        assert known() is not there
        assert switch(whole, "node2", "test=True")["retcode"] == 0
        assert known() is there


def test_the_primary_is_moved_and_no_row_is_lost(whole, wait):
    with Client(whole.lab, DATA, "node1") as client:
        time.sleep(2)
        began = time.monotonic()
        data = switch(whole, "node2")
        assert data["retcode"] == 0, data
        acks = client.acks()
        gap = judge.longest_gap(acks, began, time.monotonic())
        assert gap.ended and judge.two_writable(acks) == []
        first = next(ack for ack in judge.rows(acks) if ack.node == "node2")
        assert judge.writers(acks, first.sent) == ["node2"]
        print(f"gap {gap.seconds:.2f} s, command {data['seconds']} s: {data['nodes']}")
        assert client.lost("node2") == []
    assert (data["from"], data["to"], data["changed"]) == ("node1", "node2", True)
    assert in_service(whole)
    assert whole.show("node2")[0] == {1: (0, 1), 2: (0, 0), 3: (0, 1), 4: (0, 0)}
    run = whole.orchestrate()
    assert run.ok and run.changes == {}, (run, run.changes)


def test_a_second_run_with_the_same_target_changes_nothing(whole):
    before = untouched(whole)
    data = switch(whole, "node2")
    assert (data["retcode"], data["changed"]) == (0, False)
    assert data["result"] == "node2 is the primary of foobar already"
    assert untouched(whole) == before


def test_the_orchestration_of_the_same_name(whole):
    words = ["state.orchestrate", "repmgr.switchover", 'pillar={"to": "node1"}']
    dry = whole.lab.salt_run(*words, "test=True")
    assert dry.returncode == 0, dry
    done = whole.lab.salt_run(*words)
    assert done.returncode == 0, done
    (states,) = done.data["data"].values()
    (state,) = states.values()
    assert state["changes"] == {"primary": {"old": "node2", "new": "node1"}}
    assert whole.primary(DATA) == "node1" and in_service(whole)


def test_a_new_primary_that_is_lost_right_after_it_took_over(whole, wait):
    """All vote on it by then, the witness too."""
    old = whole.primary(DATA)
    heir = next(name for name in DATA if name != old)
    data = switch(whole, heir)
    whole.lab[heir].power_off()
    assert data["retcode"] == 0, data
    rest = [name for name in DATA if name != heir]
    wait(lambda: whole.primary(rest), timeout=30, what="a new primary")
    whole.lab[heir].boot()
    # Its minion connects anew.
    wait(lambda: whole.lab.salt(heir, "test.ping").data is True, what=f"the minion of {heir}")
    run = whole.orchestrate()
    assert run.ok, run
    wait(lambda: in_service(whole), what="the cluster in service")
    assert whole.primary(DATA) == old or switch(whole, old)["retcode"] == 0


def test_a_primary_that_somebody_started_without_its_unit(whole, wait):
    old = whole.primary(DATA)
    heir = next(name for name in DATA if name != old)
    words = whole.lab[old].run(["pg_lsclusters", "--no-header"]).stdout.split()
    unit = f"postgresql@{words[0]}-{words[1]}"
    whole.lab[old].run(["systemctl", "stop", unit])
    whole.lab[old].run(["pg_ctlcluster", *words[:2], "start"], user="postgres")
    known = whole.lab[old].run(["systemctl", "is-active", unit], check=False)
    assert known.stdout == "inactive\n"
    wait(lambda: in_service(whole), what="the cluster in service")
    for target in (heir, old):
        data = switch(whole, target)
        assert data["retcode"] == 0, data
    assert in_service(whole)


def test_of_two_orders_at_once_one_is_carried_out(whole, wait):
    old = whole.primary(DATA)
    targets = [name for name in DATA if name != old]
    with ThreadPoolExecutor(max_workers=2) as pool:
        both = list(pool.map(lambda name: switch(whole, name), targets))
    print(json.dumps(both, indent=1))
    done = [data["to"] for data in both if data["retcode"] == 0]
    assert len(done) == 1, both
    wait(lambda: in_service(whole), what="the cluster in service")
    assert whole.primary(DATA) == done[0]
    back = switch(whole, old)
    assert back["retcode"] == 0, back


def test_a_standby_that_is_late_does_not_stay_below_the_old_primary(whole, wait):
    old = whole.primary(DATA)
    heir, late = [name for name in DATA if name != old]
    lab = whole.lab

    def fed():
        with contextlib.suppress(LabError):
            return whole.streaming(old) == [late]
        return False

    # From then on it only waits for the heir.
    watcher = Watcher(lab["node4"], Moment.PLANNED, lab[old].address, lab[heir].address)
    with ThreadPoolExecutor(max_workers=1) as pool:
        switched = pool.submit(switch, whole, heir)
        switched.add_done_callback(lambda _: watcher.give_up())
        try:
            assert watcher.wait()
            lab[late].run(["pkill", "-STOP", "-f", "salt-minion"])
        finally:
            watcher.stop()
        try:
            # By itself it tries again, and where it streamed from before.
            wait(fed, what=f"{late} below {old}")
        finally:
            lab[late].run(["pkill", "-CONT", "-f", "salt-minion"])
        data = switched.result()
    assert data["retcode"] == 0, data
    assert in_service(whole)
    assert whole.show(heir)[0] == {n: (0, int(f"node{n}" in (old, late))) for n in (1, 2, 3, 4)}
    back = switch(whole, old)
    assert back["retcode"] == 0, back


def below(cluster, upstream, synchronous):
    """Have node3 stream from that node, and these confirm each commit."""
    node = {**cluster.pillar["nodes"]["node3"], "upstream": upstream}
    cluster.publish(nodes={**cluster.pillar["nodes"], "node3": node}, synchronous=synchronous)
    run = cluster.orchestrate()
    assert run.ok, run
    assert "node3" in cluster.streaming(upstream)


def test_a_cascade_whose_standbys_confirm_each_commit(whole):
    """First to the node in the middle, and back."""
    nodes = whole.pillar["nodes"]
    below(whole, "node2", ["node2", "node3"])
    try:
        for new, fed in (
            ("node2", {"node2": ["node1", "node3"]}),
            ("node1", {"node1": ["node2"], "node2": ["node3"]}),
        ):
            data = switch(whole, new)
            assert data["retcode"] == 0, data
            assert {name: whole.streaming(name) for name in fed} == fed
            # It would wait for ever where nobody confirms it.
            whole.sql(new, f"CREATE TABLE confirmed_on_{new} ()", timeout=20)
            run = whole.orchestrate()
            assert run.ok and run.changes == {}, (run, run.changes)
    finally:
        below(whole, "node1", 0)
        whole.publish(nodes=nodes)


def test_repmgrs_own_command_works(whole, wait):
    """By hand, over SSH, with host keys that are known."""
    argv = [f"/usr/lib/postgresql/{whole.version}/bin/repmgr", "-f", "/etc/repmgr.conf"]
    argv += ["standby", "switchover", "--siblings-follow"]
    done = whole.lab["node3"].run(argv, user="postgres", check=False)
    assert done.returncode == 0, done.stderr
    assert whole.primary(DATA) == "node3"
    asked = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes {} hostname"
    for name in DATA:
        to = whole.lab[name].address
        assert whole.lab["node4"].sh(asked.format(to), user="postgres").strip() == name
    # The witness's repmgrd finds it, too, without Salt, and not only when it looks by itself.
    wait(lambda: in_service(whole), timeout=12, what="the cluster in service")
    back = switch(whole, "node1")
    assert back["retcode"] == 0, back


def paused_replay(cluster):
    cluster.sql("node2", "SELECT pg_wal_replay_pause()")
    yield
    cluster.sql("node2", "SELECT pg_wal_replay_resume()")


def sibling_down(cluster):
    unit = f"postgresql@{cluster.version}-main"
    cluster.lab["node3"].run(["systemctl", "stop", unit])
    yield
    cluster.lab["node3"].run(["systemctl", "start", unit])


def paused_daemon(cluster):
    cluster.lab.salt("node3", "repmgr_node.pause", "5").raise_for_status()
    yield
    cluster.lab.salt("node3", "repmgr_node.unpause").raise_for_status()


def lagging(cluster):
    """Its startup process stands still, and what it lacks grows."""
    stop = "pkill -{} -f 'postgres: .*startup recovering' -u postgres"
    cluster.lab["node2"].sh(stop.format("STOP"))
    junk = "SELECT count(pg_logical_emit_message(false, 'junk', repeat('x', 100000)))"
    cluster.sql("node1", f"{junk} FROM generate_series(1, 300)")
    yield
    cluster.lab["node2"].sh(stop.format("CONT"))


def archive_fails(cluster):
    cluster.sql("node1", "ALTER SYSTEM SET archive_command = '/bin/false'")
    cluster.sql("node1", "SELECT pg_reload_conf()")
    cluster.sql("node1", "SELECT pg_logical_emit_message(false, 'junk', 'x'), pg_switch_wal()")
    failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
    while cluster.sql("node1", failed) != "t":
        time.sleep(0.5)
    yield
    cluster.sql("node1", "ALTER SYSTEM RESET archive_command")
    cluster.sql("node1", "SELECT pg_reload_conf()")


def no_slot_is_free(cluster):
    make = "SELECT count(pg_create_physical_replication_slot('other_' || n))"
    free = "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)"
    cluster.sql("node2", f"{make} FROM generate_series(1, ({free})::int) n")
    yield
    drop = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots"
    cluster.sql("node2", f"{drop} WHERE slot_name LIKE 'other_%'")


def minion_silent(cluster):
    cluster.silence("node3")
    yield
    cluster.wake("node3")


BROKEN = {
    "candidate lags": (lagging, "bytes behind, more than 16777216; wait until it has caught up"),
    "archive fails": (archive_fails, "archive_command fails"),
    "no slot free": (no_slot_is_free, "max_replication_slots leaves 0 free on node2, 2 are needed"),
    "minion silent": (minion_silent, "node3: its minion does not answer"),
    "replay paused": (paused_replay, "replay is paused"),
    "sibling down": (sibling_down, "PostgreSQL on node3 does not answer"),
    "somebody at work": (paused_daemon, "repmgrd on node3 is paused"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_is_refused_before_anything_is_touched(whole, case):
    broken, words = BROKEN[case]
    steps = broken(whole)
    next(steps)
    try:
        started = whole.started("node1"), whole.started("node2")
        data = switch(whole, "node2")
        assert (data["retcode"], data["changed"]) == (1, False)
        assert words in data["result"]
        assert (whole.started("node1"), whole.started("node2")) == started
        assert whole.primary(["node1", "node2"]) == "node1"
    finally:
        next(steps, None)
