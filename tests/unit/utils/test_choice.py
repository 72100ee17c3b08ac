"""Whom an orchestration goes by as the primary."""

import dataclasses

from saltext_repmgr.utils import choice
from tests.unit.utils.test_plan import BARE
from tests.unit.utils.test_plan import FORCED
from tests.unit.utils.test_plan import FOREIGN
from tests.unit.utils.test_plan import INITDB
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_plan import control
from tests.unit.utils.test_plan import data
from tests.unit.utils.test_plan import record
from tests.unit.utils.test_plan import seen
from tests.unit.utils.test_plan import server


def said(*observations):
    return {o.node: o for o in observations}


class TestChoice:
    def choose(self, *observations, spec=SPEC):
        return choice.choose_primary(spec, said(*observations))

    def test_pillar_decides_the_first_build(self):
        choice = self.choose(seen("node1"), seen("node2"), seen("node3"))
        assert (choice.primary, choice.new, choice.problem) == ("node1", True, "")

    def test_a_member_whose_data_are_missing_is_no_first_build(self):
        for name in ("node1", "node2"):
            at = [seen(n, member=n == name) for n in ("node1", "node2", "node3")]
            choice = self.choose(*at)
            assert (choice.primary, choice.new) == (None, False)
            assert f"{name} was a member, and its data directory" in choice.problem
        # With force another node does not hold it up; that node's own plan still refuses.
        assert self.choose(*at, spec=FORCED).new
        bare = [seen(n, member=n == "node1") for n in ("node1", "node2", "node3")]
        assert "node1 was a member" in self.choose(*bare, spec=FORCED).problem
        standby = seen("node2", data(standby=True), member=True)
        lost = self.choose(seen("node1", member=True), standby, seen("node3"))
        assert "node1 was a member, and its data directory" in lost.problem

    def test_packaged_clusters_are_no_cluster(self):
        choice = self.choose(
            seen("node1", INITDB),
            seen("node2", INITDB),
            seen("node3", data(control=control(FOREIGN))),
        )
        assert (choice.primary, choice.new) == ("node1", True)

    def test_the_live_primary_wins(self):
        own = server(timeline=2, nodes=(record("node2", "primary"),))
        choice = self.choose(seen("node1", data()), seen("node2", data(), own), seen("node3"))
        assert (choice.primary, choice.new) == ("node2", False)

    def test_unless_pillar_has_another_id_for_it(self):
        nodes = {**SPEC.nodes, "node1": dataclasses.replace(SPEC.nodes["node1"], id=7)}
        spec = dataclasses.replace(SPEC, nodes=nodes)
        choice = self.choose(seen("node1", data(), server()), seen("node2"), spec=spec)
        assert choice.primary is None
        assert "Write 'id: 1'" in choice.problem

    def test_also_when_only_others_see_it(self):
        own = server(timeline=2, nodes=(record("node2", "primary"),))
        choice = self.choose(seen("node1"), seen("node3", BARE, node2=own))
        assert choice.primary == "node2"

    def test_two_primaries_are_a_problem(self):
        choice = self.choose(
            seen("node1", data(), server()),
            seen("node2", data(), server(timeline=2)),
            seen("node3"),
        )
        assert choice.primary is None
        assert "nothing was changed" in choice.problem

    def test_a_silent_node_blocks_a_first_build(self):
        choice = self.choose(seen("node1"), seen("node2"))
        assert choice.primary is None
        assert "node3 could not be asked" in choice.problem

    def test_a_silent_witness_does_not(self):
        assert self.choose(seen("node1"), seen("node2"), seen("node3")).primary == "node1"

    def test_after_a_total_loss_of_power_the_former_primary_is_started(self):
        choice = self.choose(
            seen("node1", data(control=control(timeline=1))),
            seen("node2", data(control=control(timeline=2, state="in production"))),
            seen("node3", data(standby=True, control=control(timeline=2))),
        )
        assert (choice.primary, choice.new) == ("node2", False)

    def test_not_when_a_standby_is_further(self):
        choice = self.choose(
            seen("node1", data(control=control(timeline=1))),
            seen("node2", BARE),
            seen("node3", data(standby=True, control=control(timeline=2))),
        )
        assert choice.primary is None
        assert "the data do not tell which node is the primary" in choice.problem

    def test_not_when_two_could_be_it(self):
        choice = self.choose(
            seen("node1", data()), seen("node2", data()), seen("node3", data(standby=True))
        )
        assert choice.primary is None

    def test_an_empty_first_node_does_not_start_over_beside_a_former_member(self):
        others = (seen("node2", data(control=control(timeline=3)), member=True), seen("node3"))
        choice = self.choose(seen("node1"), *others)
        assert choice.primary is None
        assert "was a member" in choice.problem
        assert self.choose(seen("node1"), *others, spec=FORCED).primary == "node1"
