"""The master's loop of rolling work, on minions that are a dictionary."""

import pytest

from saltext_repmgr.utils import campaign
from saltext_repmgr.utils.errors import UsageError
from tests.unit.utils.test_plan import SPEC
from tests.unit.utils.test_survey import healthy

NAMES = [node.name for node in SPEC.members]


class Minions:
    """What minions answer, and what the moves make of it.

    effective
        Whether a restart puts a setting in force.
    """

    def __init__(self, effective=True, **waiting):
        self.replies, self.effective, self.asked = healthy(), effective, []
        for name, settings in waiting.items():
            self.server(name)["pending"] = list(settings)

    def server(self, name):
        return self.replies[name]["observation"]["server"]

    def __call__(self, names, function, kwarg=None, **_):
        self.asked.append((function, tuple(names), kwarg))
        answer = {
            "repmgr_node.report": lambda name: self.replies[name],
            "repmgr_node.configure": self.configure,
            "repmgr_node.restart": self._restart,
            "repmgr_node.upgrades": lambda name: {},
        }[function]
        return {name: {"ret": answer(name)} for name in names}

    @staticmethod
    def configure(name):
        return {"changed": name == "node3"}

    def _restart(self, name):
        if self.effective:
            self.server(name)["pending"] = []
        return {"comment": "restarted"}

    def moves(self):
        return [(names, kwarg) for function, names, kwarg in self.asked if "restart" in function]


def test_one_after_the_other_until_nothing_is_left():
    minions = Minions(node3=["shared_buffers"], node4=["shared_buffers"])
    found = campaign.restart(minions, SPEC)
    assert found.problems == () and found.plan == ()
    assert found.done == ("node4: shared_buffers: restarted", "node3: shared_buffers: restarted")
    assert minions.moves() == [
        (("node4",), {"node": "node4", "others": []}),
        (("node3",), {"node": "node3", "others": []}),
    ]
    assert campaign.restart(minions, SPEC).summary == "restart: no node of foobar needs it"


def test_a_dry_run_tells_all_and_makes_no_move():
    minions = Minions(node2=["shared_buffers"])
    found = campaign.restart(minions, SPEC, test=True)
    assert found.plan == (
        "settings are written on node3; which restarts they need is known then",
        "node2: shared_buffers",
    )
    assert minions.moves() == []
    assert ("repmgr_node.configure", tuple(NAMES), {"test": True}) in minions.asked


def test_what_a_restart_does_not_change_stops_it():
    minions = Minions(False, node2=["shared_buffers"], node3=["shared_buffers"])
    found = campaign.restart(minions, SPEC)
    assert found.problems == (
        "node2: shared_buffers: this was done, and node2 still needs it; see its logs",
    )
    assert found.plan == ("node2: shared_buffers", "node3: shared_buffers")
    assert "stopped after 1 move; left to do: node2: shared_buffers; node3" in found.summary
    assert len(minions.moves()) == 1


def test_nothing_begins_while_somebody_is_at_work():
    minions = Minions(node2=["shared_buffers"])
    minions.replies["node3"]["observation"]["repmgrd"]["paused"] = True
    found = campaign.restart(minions, SPEC)
    assert "repmgrd is paused" in found.problems[0] and campaign.AGAIN in found.summary
    assert {function for function, _, _ in minions.asked} == {"repmgr_node.report"}


def test_nothing_begins_when_something_breaks_while_settings_are_written():
    minions = Minions(node2=["shared_buffers"])
    written = minions.configure

    def break_it(name):
        minions.replies["node3"]["observation"]["repmgrd"]["paused"] = True
        return written(name)

    minions.configure = break_it
    found = campaign.restart(minions, SPEC)
    assert "repmgrd is paused" in found.problems[0] and minions.moves() == []


def test_those_that_are_named_and_no_others():
    minions = Minions(node2=["shared_buffers"])
    found = campaign.restart(minions, SPEC, nodes=["node3"], test=True)
    assert found.plan[-1] == "node3: requested" and len(found.plan) == 2


@pytest.mark.parametrize(
    "words", [{"nodes": ["node9"]}, {"back": "node9"}, {"back": "node4"}, {"back": 1.5}]
)
def test_names_that_are_wrong(words):
    with pytest.raises(UsageError):
        campaign.restart(Minions(), SPEC, **words)


def test_a_minion_that_says_why_not():
    minions = Minions(node2=["shared_buffers"])
    minions._restart = lambda name: "ERROR: no"  # pylint: disable=protected-access
    found = campaign.restart(minions, SPEC)
    assert (found.done, found.problems) == ((), ("node2: ERROR: no",))


def test_what_was_done_is_told_also_when_a_minion_falls_silent():
    minions = Minions(node2=["shared_buffers"], node3=["shared_buffers"])
    made = minions.configure

    def fall_silent(name):
        return made(name) if name != "node3" else "ERROR: no"

    minions.configure = fall_silent
    found = campaign.restart(minions, SPEC)
    assert found.problems == ("node3: ERROR: no",) and not found.done
    assert "stopped after 0 moves" in found.summary


def test_an_upgrade_of_what_is_new_already():
    assert campaign.upgrade(Minions(), SPEC).summary == "upgrade: no node of foobar needs it"


def test_a_program_that_was_replaced_is_an_upgrade():
    minions = Minions()
    minions.replies["node2"]["observation"]["replaced"] = ["postgres"]
    found = campaign.upgrade(minions, SPEC, test=True)
    assert found.plan == ("node2: postgres still runs the program from before an upgrade",)
