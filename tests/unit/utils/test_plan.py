"""The decisions, case by case: what one node may do."""

import dataclasses
import ipaddress

import pytest

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils.facts import Content
from saltext_repmgr.utils.facts import ControlFile
from saltext_repmgr.utils.facts import DataDirectory
from saltext_repmgr.utils.facts import Guard
from saltext_repmgr.utils.facts import Member
from saltext_repmgr.utils.facts import NodeRecord
from saltext_repmgr.utils.facts import Observation
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.facts import Server
from saltext_repmgr.utils.facts import Slot
from saltext_repmgr.utils.plan import Run
from saltext_repmgr.utils.plan import Step
from saltext_repmgr.utils.spec import ClusterSpec
from saltext_repmgr.utils.spec import Layout
from saltext_repmgr.utils.spec import NodeSpec
from saltext_repmgr.utils.spec import Role

OURS, FOREIGN = "7000000000000000001", "7000000000000000002"
PATH = "/var/lib/postgresql/15/main"
NODES = {
    "node1": NodeSpec("node1", 1, "10.0.0.1", Role.PRIMARY),
    "node2": NodeSpec("node2", 2, "10.0.0.2"),
    "node3": NodeSpec("node3", 3, "10.0.0.3"),
    "node4": NodeSpec("node4", 4, "10.0.0.4", Role.WITNESS),
}
SPEC = ClusterSpec("foobar", (ipaddress.ip_network("10.0.0.0/24"),), NODES, "secret-word")
FORCED = dataclasses.replace(SPEC, force=True)


def record(name, kind, upstream=None, active=True, **more):
    node = NODES[name]
    values = {
        "location": "default",
        "priority": 0 if node.is_witness else 100,
        "conninfo": repmgr_conf.conninfo(SPEC, node, Layout),
        "slot_name": None,
        "config_file": "/etc/repmgr.conf",
    }
    return NodeRecord(node.id, name, kind, upstream, active, **{**values, **more})


RECORDS = (
    record("node1", "primary"),
    record("node2", "standby", 1),
    record("node3", "standby", 1),
    record("node4", "witness", 1),
)


def server(recovery=False, timeline=1, nodes=RECORDS, ident=OURS, **more):
    return Server(ident, recovery, timeline, "0/5000000", "2026-01-01", 150018, nodes=nodes, **more)


def standby(**more):
    more = {"receiver": "streaming", "upstream_host": "10.0.0.1", "upstream_port": 5432, **more}
    return server(recovery=True, **more)


def control(ident=OURS, timeline=1, state="shut down", next_oid=24576):
    return ControlFile(ident, state, timeline, next_oid, 731, "0/5000000", True)


def data(content=Content.POSTGRES, **more):
    if content is Content.POSTGRES:
        more.setdefault("control", control())
    return DataDirectory(PATH, content, **more)


BARE = DataDirectory(PATH, Content.ABSENT)
INITDB = data(control=control(FOREIGN, next_oid=13572))


def seen(name, lies=BARE, own=None, member=False, cloning=False, **members):
    reached = {
        n: Member(Reach.ANSWERED, server=s) if isinstance(s, Server) else Member(s)
        for n, s in members.items()
    }
    return Observation(
        name,
        *(15, True, True, member, lies, own is not None, cloning, own),
        guard=Guard("active", 7, 1.5, True, "idle"),
        members=reached,
    )


def steps(decided):
    return [action.step for action in decided.actions]


JOIN = [Step.CLONE, Step.START, Step.REGISTER]
ASIDE = [Step.MOVE_ASIDE, *JOIN]


@pytest.mark.parametrize(
    ("lies", "expected"),
    [
        (BARE, JOIN),
        (data(Content.EMPTY), JOIN),
        (INITDB, ASIDE),
        (data(Content.FILES, unfinished_clone=True), [Step.DISCARD_PARTIAL, *JOIN]),
        (data(backup_label=True, unfinished_clone=True), [Step.DISCARD_PARTIAL, *JOIN]),
        (data(Content.EMPTY, unfinished_clone=True), JOIN),
        # The postgres user can have made this mark.
        (data(backup_label=True, unfinished_clone=True, removable=False), [Step.MOVE_ASIDE, *JOIN]),
        (data(standby=True), [Step.START]),
        (data(standby=True, backup_label=True), [Step.START]),
    ],
    ids=[
        "absent",
        "empty",
        "initdb",
        "partial",
        "partial-label",
        "partial-empty",
        "former",
        "down",
        "new",
    ],
)
def test_a_standby_joins_the_live_primary(lies, expected):
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, node1=server()))
    assert decided.refusal == ""
    assert (decided.role, decided.primary) == (Role.STANDBY, "node1")
    assert steps(decided) == expected


class TestRenumbered:
    """A machine that was set up anew under its old name, and got a new id in pillar."""

    NODES = {**NODES, "node2": dataclasses.replace(NODES["node2"], id=7)}
    SPEC = dataclasses.replace(SPEC, nodes=NODES)

    def test_its_record_gets_the_new_id(self):
        node = self.NODES["node2"]
        at = seen("node2", data(standby=True), standby(), node1=server())
        decided = plan.decide(self.SPEC, node, at)
        (action,) = [a for a in decided.actions if a.step is Step.REGISTER]
        assert action.reason == "node2 is registered with the id 2, not 7"
        bare = plan.decide(self.SPEC, node, seen("node2", node1=server()))
        assert steps(bare) == JOIN

    def test_a_record_with_the_new_id_does_not_hide_the_old_one(self):
        new = dataclasses.replace(RECORDS[1], node_id=7)
        at = seen("node2", data(standby=True), standby(), node1=server(nodes=(*RECORDS, new)))
        decided = plan.decide(self.SPEC, self.NODES["node2"], at)
        assert "registered with the id 2, not 7" in decided.actions[-1].reason

    def test_a_primary_keeps_its_id(self):
        nodes = {**NODES, "node1": dataclasses.replace(NODES["node1"], id=7)}
        spec = dataclasses.replace(SPEC, nodes=nodes)
        decided = plan.decide(spec, nodes["node1"], seen("node1", data(), server()))
        assert decided.actions == ()
        assert "repmgr.nodes.node1.id: node1 is the primary and registered" in decided.refusal
        assert "Write 'id: 1'" in decided.refusal


class TestMissingData:
    """A disk that is not mounted looks like a data directory that nobody has used yet."""

    GONE = (BARE, data(Content.EMPTY))

    @pytest.mark.parametrize("spec", [SPEC, FORCED], ids=["plain", "forced"])
    @pytest.mark.parametrize("lies", GONE, ids=["absent", "empty"])
    def test_a_member_without_its_data_is_left_alone(self, spec, lies):
        for name, run, members in (
            ("node2", Run(), {"node1": server()}),
            ("node1", Run(primary="node1", new=True), {}),
            ("node2", Run(primary="node1", new=True, assume=True), {}),
            ("node4", Run(), {"node1": server()}),
        ):
            decided = plan.decide(spec, NODES[name], seen(name, lies, member=True, **members), run)
            assert decided.actions == ()
            assert f"{name} was a member, and its data directory {PATH} is" in decided.refusal
            assert f"'salt {name} repmgr_node.data_lost'" in decided.refusal

    @pytest.mark.parametrize("member", [True, False], ids=["member", "new"])
    @pytest.mark.parametrize(
        "lies",
        [
            data(Content.ABSENT, unmounted="/var/lib/postgresql"),
            data(Content.EMPTY, unmounted="/var/lib/postgresql", unfinished_clone=True),
            data(Content.FILES, unmounted="/var/lib/postgresql", unfinished_clone=True),
        ],
        ids=["absent", "marked", "partial"],
    )
    def test_nothing_is_put_below_a_mount_point_without_its_disk(self, lies, member):
        for name, run, members in (
            ("node2", Run(), {"node1": server()}),
            ("node1", Run(primary="node1", new=True), {}),
            ("node4", Run(), {"node1": server()}),
        ):
            decided = plan.decide(
                SPEC, NODES[name], seen(name, lies, member=member, **members), run
            )
            assert decided.actions == ()
            assert f"/var/lib/postgresql is not mounted on {name}" in decided.refusal

    @pytest.mark.parametrize(
        ("lies", "cloning"),
        [
            (data(Content.ABSENT, unfinished_clone=True), False),
            (data(Content.EMPTY, unfinished_clone=True), False),
            (data(Content.EMPTY), True),
        ],
        ids=["moved aside", "cut off", "under way"],
    )
    def test_a_clone_that_is_due_goes_on(self, lies, cloning):
        at = seen("node2", lies, member=True, cloning=cloning, node1=server())
        assert steps(plan.decide(SPEC, NODES["node2"], at)) == JOIN


REFUSALS = {
    "foreign": (data(control=control(FOREIGN)), "system identifier 7000000000000000002"),
    "files": (data(Content.FILES), "PostgreSQL did not make"),
    "initdb with a slot": (
        data(control=control(FOREIGN, next_oid=13572), slots=("mine",)),
        FOREIGN,
    ),
    "initdb that crashed": (
        data(control=control(FOREIGN, next_oid=13572, state="in production")),
        FOREIGN,
    ),
    "later timeline": (data(control=control(timeline=5), standby=True), "may hold the data"),
    "later timeline, primary": (data(control=control(timeline=5)), "may hold the data"),
    "clone that was started": (data(unfinished_clone=True), "PostgreSQL has run on it"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_clone_refuses_data_it_does_not_own(case):
    lies, words = REFUSALS[case]
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert decided.actions == ()
    assert words in decided.refusal


@pytest.mark.parametrize("case", ["foreign", "files", "initdb with a slot", "initdb that crashed"])
def test_force_moves_foreign_data_aside(case):
    lies, _ = REFUSALS[case]
    decided = plan.decide(FORCED, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert steps(decided) == ASIDE


@pytest.mark.parametrize(
    "case",
    ["later timeline", "later timeline, primary", "clone that was started"],
)
def test_force_does_not_reach_the_cluster_s_own_data(case):
    lies, words = REFUSALS[case]
    decided = plan.decide(FORCED, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert decided.actions == ()
    assert words in decided.refusal


@pytest.mark.parametrize("spec", [SPEC, FORCED], ids=["plain", "forced"])
def test_a_former_primary_rejoins(spec):
    lies = data(control=control(timeline=1))
    decided = plan.decide(spec, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert (decided.role, decided.refusal) == (Role.STANDBY, "")
    assert steps(decided) == [Step.REJOIN, Step.REGISTER]


def test_a_standby_that_cannot_follow_the_new_timeline_rejoins():
    stuck = standby(receiver=None, timeline=1)
    lies = data(standby=True)
    live = server(timeline=2)
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, stuck, node1=live))
    assert steps(decided) == [Step.REJOIN]
    streams = standby(timeline=1)
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, streams, node1=live))
    assert Step.REJOIN not in steps(decided)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ASIDE),
        ({"receiver": "streaming"}, []),
        ({"has_archive": True}, []),
        ({"lsn": "0/6000000"}, []),
    ],
)
def test_a_standby_that_fell_behind_the_primary_s_wal_is_cloned_anew(more, expected):
    own = dataclasses.replace(standby(receiver=None), lsn="0/5000000")
    own = dataclasses.replace(own, **more)
    live = server(oldest_wal="0/6000000", slots=(Slot("repmgr_slot_2", "physical", True),))
    lies = data(standby=True)
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, own, node1=live))
    assert steps(decided) == expected


def test_a_former_primary_on_the_primary_s_timeline_is_kept_and_cloned_anew():
    lies = data(control=control(timeline=2))
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert steps(decided) == ASIDE


def test_a_former_primary_stays_down_if_pillar_says_so():
    never = dataclasses.replace(SPEC, rejoin="never")
    lies = data(control=control(timeline=1))
    decided = plan.decide(never, NODES["node2"], seen("node2", lies, node1=server(timeline=2)))
    assert decided.actions == ()
    assert "repmgr.node_rejoin" in decided.refusal


def test_a_running_initdb_cluster_gives_way():
    own = server(nodes=None, ident=FOREIGN, user_objects=False)
    lies = data(control=control(FOREIGN, state="in production", next_oid=13572))
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, own, node1=server()))
    assert steps(decided) == ASIDE


def test_a_running_foreign_server_gives_way_only_when_forced_and_idle():
    lies = data(control=control(FOREIGN, state="in production"))
    idle = server(nodes=None, ident=FOREIGN, user_objects=True)
    busy = dataclasses.replace(idle, clients=3)
    assert plan.decide(SPEC, NODES["node2"], seen("node2", lies, idle, node1=server())).refusal
    forced = plan.decide(FORCED, NODES["node2"], seen("node2", lies, idle, node1=server()))
    assert steps(forced) == ASIDE
    served = plan.decide(FORCED, NODES["node2"], seen("node2", lies, busy, node1=server()))
    assert "3 client session(s)" in served.refusal


def test_a_clone_under_way_is_waited_for():
    lies = data(Content.FILES, unfinished_clone=True)
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, cloning=True, node1=server()))
    assert steps(decided) == JOIN
    assert "under way" in decided.actions[0].reason


def test_a_healthy_cluster_has_nothing_to_do():
    lies = data(standby=True, control=control(state="in archive recovery"))
    own = standby()
    assert plan.decide(SPEC, NODES["node2"], seen("node2", lies, own, node1=server())).actions == ()
    top = plan.decide(SPEC, NODES["node1"], seen("node1", data(), server(), node2=own))
    assert (top.role, top.actions) == (Role.PRIMARY, ())
    witness = plan.decide(
        SPEC,
        NODES["node4"],
        seen("node4", data(control=control(FOREIGN)), server(ident=FOREIGN), node1=server()),
    )
    assert (witness.role, witness.actions) == (Role.WITNESS, ())


MOVED = (
    record("node1", "standby", 2),
    record("node2", "primary"),
    record("node3", "standby", 2),
    record("node4", "witness", 2),
)


@pytest.mark.parametrize(
    ("own", "primary", "words"),
    [
        (MOVED, MOVED, None),
        (RECORDS, MOVED, "its copy of the metadata calls [1] the primary"),
        (
            MOVED[:3],
            MOVED,
            "its copy of the metadata has nodes [1, 2, 3], the primary has [1, 2, 3, 4]",
        ),
        (MOVED, (*MOVED[:3], record("node4", "witness", 1)), "upstream_node_id is 1, not 2"),
    ],
)
def test_a_witness_knows_who_is_the_primary(own, primary, words):
    here = server(ident=FOREIGN, nodes=own)
    there = server(timeline=2, nodes=primary)
    look = seen("node4", data(control=control(FOREIGN)), here, node2=there)
    decided = plan.decide(SPEC, NODES["node4"], look)
    assert [(a.step, a.reason) for a in decided.actions] == (
        [(Step.REGISTER, words)] if words else []
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"active": False}, "active is False"),
        ({"priority": 50}, "priority is 50, not 100"),
        ({"location": "dc2"}, "location is 'dc2'"),
        ({"upstream_node_id": 3}, "upstream_node_id is 3, not 1"),
        ({"type": "primary"}, "type is 'primary', not 'standby'"),
        ({"node_name": "old"}, "node_name is 'old'"),
        ({"conninfo": "host=10.0.0.99"}, "conninfo is 'host=10.0.0.99', not 'host=10.0.0.2 "),
    ],
)
def test_a_registration_is_repaired_where_it_differs(change, words):
    records = tuple(
        dataclasses.replace(r, **change) if r.node_name == "node2" else r for r in RECORDS
    )
    lies = data(standby=True, control=control(state="in archive recovery"))
    decided = plan.decide(
        SPEC, NODES["node2"], seen("node2", lies, standby(), node1=server(nodes=records))
    )
    assert steps(decided) == [Step.REGISTER]
    assert words in decided.actions[0].reason


def test_a_promoted_node_stays_primary_whatever_pillar_says():
    records = (record("node1", "primary", active=False), record("node2", "primary"))
    own = server(timeline=2, nodes=records)
    decided = plan.decide(SPEC, NODES["node2"], seen("node2", data(), own, node1=Reach.REFUSED))
    assert (decided.role, decided.actions, decided.refusal) == (Role.PRIMARY, (), "")
    assert "first build only" in decided.notes[0]


def test_two_primaries_stop_everybody():
    one, two = server(timeline=1), server(timeline=2, clients=7)
    for name, spec_node in NODES.items():
        own = {"node1": one, "node2": two}.get(name)
        others = {n: s for n, s in (("node1", one), ("node2", two)) if n != name}
        decided = plan.decide(FORCED, spec_node, seen(name, data(), own, **others))
        assert decided.actions == ()
        assert "timeline 1" in decided.refusal and "timeline 2" in decided.refusal
        assert "7 client session(s)" in decided.refusal


def test_data_of_this_cluster_taking_writes_without_its_metadata_stops_too():
    own = server(nodes=None)
    decided = plan.decide(FORCED, NODES["node2"], seen("node2", data(), own, node1=server()))
    assert decided.actions == ()
    assert "node1: primary" in decided.refusal and "node2: primary" in decided.refusal


def test_a_witness_s_server_is_no_second_primary():
    # It is not in recovery and has metadata too.
    decided = plan.decide(
        SPEC,
        NODES["node2"],
        seen("node2", BARE, node1=server(), node4=server(ident=FOREIGN)),
    )
    assert decided.primary == "node1"


class TestAlone:
    """No primary answers, and no orchestration asked the others."""

    @pytest.mark.parametrize("name", ["node1", "node2"])
    @pytest.mark.parametrize("lies", [BARE, INITDB, data()], ids=["bare", "initdb", "primary"])
    def test_no_primary_is_made_or_started(self, name, lies):
        decided = plan.decide(SPEC, NODES[name], seen(name, lies, node3=Reach.UNREACHABLE))
        assert decided.actions == ()
        assert "state.orchestrate repmgr.cluster" in decided.refusal

    def test_a_standby_that_is_down_is_started(self):
        decided = plan.decide(
            SPEC, NODES["node2"], seen("node2", data(standby=True), node1=Reach.REFUSED)
        )
        assert steps(decided) == [Step.START]

    def test_a_cluster_of_one_needs_nobody(self):
        spec = dataclasses.replace(SPEC, nodes={"node1": NODES["node1"]})
        decided = plan.decide(spec, NODES["node1"], seen("node1"))
        assert steps(decided) == [Step.CREATE, Step.START, Step.REGISTER]


class TestOrchestrated:
    """The orchestration chose node1."""

    new = Run(primary="node1", new=True)

    def test_the_chosen_one_is_made(self):
        decided = plan.decide(SPEC, NODES["node1"], seen("node1"), self.new)
        assert steps(decided) == [Step.CREATE, Step.START, Step.REGISTER]

    def test_not_into_an_empty_directory_of_a_cluster_that_exists(self):
        decided = plan.decide(SPEC, NODES["node1"], seen("node1"), Run(primary="node1"))
        assert decided.actions == ()
        assert "is empty, but other nodes hold" in decided.refusal

    def test_existing_data_are_adopted(self):
        own = server(nodes=None, user_objects=True)
        decided = plan.decide(SPEC, NODES["node1"], seen("node1", data(), own), self.new)
        assert steps(decided) == [Step.REGISTER]
        down = plan.decide(SPEC, NODES["node1"], seen("node1", data()), self.new)
        assert steps(down) == [Step.START, Step.REGISTER]

    def test_a_standby_is_not_made_the_primary(self):
        for lies, own in ((data(standby=True), None), (data(standby=True), standby())):
            decided = plan.decide(SPEC, NODES["node1"], seen("node1", lies, own), self.new)
            assert decided.actions == ()
            assert "promote" in decided.refusal

    def test_the_others_wait_for_it_for_real(self):
        decided = plan.decide(SPEC, NODES["node2"], seen("node2", node1=Reach.REFUSED), self.new)
        assert decided.actions == ()
        assert "node1 is to be the primary" in decided.refusal

    @pytest.mark.parametrize(
        ("lies", "expected"),
        [(BARE, JOIN), (INITDB, ASIDE)],
    )
    def test_and_assume_it_in_a_dry_run(self, lies, expected):
        run = dataclasses.replace(self.new, assume=True)
        decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, node1=Reach.REFUSED), run)
        assert steps(decided) == expected

    def test_a_dry_run_tells_a_refusal_too(self):
        run = dataclasses.replace(self.new, assume=True)
        lies = data(control=control(FOREIGN))
        decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies), run)
        assert "refused to clone" in decided.refusal

    @pytest.mark.parametrize("own", [None, standby()], ids=["down", "running"])
    def test_a_dry_run_while_the_primary_is_down_knows_its_standbys(self, own):
        run = Run(primary="node1", system_identifier=OURS, assume=True)
        lies = data(standby=True)
        decided = plan.decide(SPEC, NODES["node2"], seen("node2", lies, own), run)
        assert (decided.role, decided.refusal) == (Role.STANDBY, "")
        assert steps(decided) == ([] if own else [Step.START])

    def test_a_live_primary_outranks_the_choice(self):
        own = server(timeline=2, nodes=(record("node2", "primary"),))
        decided = plan.decide(
            SPEC, NODES["node1"], seen("node1", data(), node2=own), Run(primary="node1")
        )
        assert (decided.role, decided.primary) == (Role.STANDBY, "node2")
        assert steps(decided) == [Step.REJOIN, Step.REGISTER]


class TestWitness:
    node = NODES["node4"]

    def test_gets_a_server_of_its_own(self):
        decided = plan.decide(SPEC, self.node, seen("node4", node1=server()))
        assert steps(decided) == [Step.CREATE, Step.START, Step.REGISTER]

    def test_waits_for_the_primary(self):
        decided = plan.decide(SPEC, self.node, seen("node4"), Run("node1"))
        assert "no primary answers" in decided.refusal

    def test_must_not_be_a_replica(self):
        decided = plan.decide(SPEC, self.node, seen("node4", data(), node1=server()))
        assert "server of its own" in decided.refusal

    def test_stale_copy_is_refreshed(self):
        own = server(ident=FOREIGN, nodes=RECORDS[:2])
        lies = data(control=control(FOREIGN))
        decided = plan.decide(SPEC, self.node, seen("node4", lies, own, node1=server()))
        assert steps(decided) == [Step.REGISTER]
        assert "has nodes [1, 2]" in decided.actions[0].reason


def test_facts_survive_the_way_over_the_bus():
    facts_seen = seen(
        "node2",
        data(standby=True),
        standby(senders=(facts.Sender("a", "streaming", "0/1", "0/1", None),)),
        node1=server(),
        node3=Reach.REFUSED,
    )
    assert facts.from_dict(Observation, facts.to_dict(facts_seen)) == facts_seen
    assert facts.from_dict(Observation, {**facts.to_dict(facts_seen), "later": 1}) == facts_seen


class TestSource:
    """Where a clone is taken from."""

    spec = dataclasses.replace(
        SPEC, nodes={**NODES, "node3": dataclasses.replace(NODES["node3"], upstream="node2")}
    )

    def source(self, **members):
        return plan.decide(self.spec, self.spec.nodes["node3"], seen("node3", BARE, **members))

    def test_the_upstream_that_streams(self):
        decided = self.source(node1=server(), node2=standby())
        assert (decided.source, decided.notes) == ("node2", ())

    @pytest.mark.parametrize("state", [Reach.REFUSED, standby(receiver=None)])
    def test_the_primary_where_that_is_not_in_service(self, state):
        decided = self.source(node1=server(), node2=state)
        assert decided.source == "node1"
        assert "not a standby in service" in decided.notes[0]

    def test_a_dry_run_assumes_it(self):
        run = Run(primary="node1", new=True, assume=True)
        decided = plan.decide(
            self.spec, self.spec.nodes["node3"], seen("node3", node2=Reach.REFUSED), run
        )
        assert decided.source == "node2"
