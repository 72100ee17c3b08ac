"""How the master asks its minions."""

from saltext_repmgr.utils import master

NAMES = ["node1", "node2", "node3"]


class Minions:
    """Minions of which some are silent, so many times."""

    def __init__(self, stale=None, **silent):
        self.stale, self.silent, self.asked = stale or {}, silent, []

    def __call__(self, names, function, **_):
        self.asked.append((function, names))
        said = {name: self.stale.get(name, name) for name in names}
        replies = {name: {"ret": said[name]} for name in names if not self.silent.get(name)}
        self.silent = {name: times - 1 for name, times in self.silent.items() if times}
        return replies


def test_one_that_is_late_is_asked_again_and_no_other():
    minions = Minions(node2=1)
    assert list(master.reports(minions, NAMES)) == ["node1", "node3", "node2"]
    assert [names for _, names in minions.asked] == [NAMES, ["node2"]]


def test_one_that_stays_silent_is_left_out():
    assert list(master.reports(Minions(node2=9), NAMES)) == ["node1", "node3"]


def test_all_are_asked_once_where_all_answer():
    minions = Minions()
    assert master.reports(minions, NAMES) == {name: name for name in NAMES}
    assert minions.asked == [(master.REPORT, NAMES)]


def test_one_with_an_older_pillar_takes_the_present_one():
    wrong = {"stale": True, "problems": ["cluster: it is missing"]}
    minions = Minions(stale={"node2": wrong, "node3": {"stale": True, "problems": []}})
    master.reports(minions, NAMES)
    assert minions.asked == [(master.REPORT, NAMES), ("saltutil.refresh_pillar", ["node3"])]
