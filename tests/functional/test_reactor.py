"""Whose cluster an event heals: the reaction as Salt renders it, and a master's real pillar and keys."""

import pathlib

import pytest
import salt.cache
import salt.config
import yaml

from saltext_repmgr.utils import master
from saltext_repmgr.utils.errors import PillarError

REACTION = pathlib.Path(__file__).parents[2] / "states/repmgr/reactor/heal.sls"


@pytest.fixture(scope="module")
def two_clusters(tmp_path_factory):
    """The configuration of a master with two clusters of one node each, and one more minion."""
    root = tmp_path_factory.mktemp("clusters")
    (root / "var/cache/salt/master/proc").mkdir(parents=True)
    settings = {
        "root_dir": str(root),
        "user": "root",
        "pillar_roots": {"base": [f"{root}/pillar"]},
        "optimization_order": [0, 1, 2],
    }
    (root / "master").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (root / "pillar").mkdir()
    top = {}
    for number, (name, cluster) in enumerate((("node1", "one"), ("node2", "two")), start=1):
        node = {"id": number, "host": f"192.0.2.{number}", "role": "primary"}
        pillar = {
            "cluster": cluster,
            "subnet": "192.0.2.0/24",
            "password": "correct-horse",
            "nodes": {name: node},
        }
        text = yaml.safe_dump({"repmgr": pillar})
        (root / f"pillar/{cluster}.sls").write_text(text, encoding="utf-8")
        top[name] = [cluster]
    # A minion that knows of a cluster is no member of it for that.
    top["other"] = ["one"]
    (root / "pillar/top.sls").write_text(yaml.safe_dump({"base": top}), encoding="utf-8")
    keys = root / "etc/salt/pki/master/minions"
    keys.mkdir(parents=True)
    for name in top:
        (keys / name).write_text("a key", encoding="utf-8")
    opts = salt.config.master_config(str(root / "master"))
    cache = salt.cache.factory(opts)
    for name, cluster in (("node1", "one"), ("node2", "two")):
        cache.store("grains", name, {"id": name})
        cache.store("pillar", name, {"repmgr": {"cluster": cluster}})
        # Salt before 3008 has both in one.
        data = {"grains": {"id": name}, "pillar": {"repmgr": {"cluster": cluster}}}
        cache.store(f"minions/{name}", "data", data)
    return opts


def reaction(tag, data):
    """What the master's reactor has the runner do for an event."""
    from salt.utils.templates import render_jinja_tmpl

    context = {"tag": tag, "data": data, "opts": {}, "saltenv": "base", "sls": "heal"}
    context["opts"] = salt.config.DEFAULT_MASTER_OPTS.copy()
    text = render_jinja_tmpl(REACTION.read_text(encoding="utf-8"), context)
    (arguments,) = yaml.safe_load(text)["heal"]["runner.repmgr.heal"]
    return {k: v for argument in arguments["args"] for k, v in argument.items()}


@pytest.mark.parametrize(
    "tag",
    [
        "repmgr/two/standby_promote",
        "repmgr/*/standby_promote",
        "repmgr/?wo/x",
        "salt/minion/x/start",
    ],
)
def test_an_event_heals_the_cluster_of_its_sender_whatever_its_tag(two_clusters, tag):
    asked = reaction(tag, {"id": "node1", "cluster": "two", "data": {"cluster": "two"}})
    assert asked == {"minion": "node1"}
    assert master.spec_of_minion(two_clusters, **renamed(asked)).cluster == "one"


@pytest.mark.parametrize(
    "sender", ["other", "nobody", "*", "node*", "node1,node2", "../node1", "G@id:node1", ""]
)
def test_an_event_of_somebody_else_heals_nothing(two_clusters, sender):
    asked = reaction("repmgr/one/standby_promote", {"id": sender})
    assert master.spec_of_minion(two_clusters, **renamed(asked)) is None


def test_an_event_without_a_sender_heals_nothing():
    assert reaction("repmgr/one/standby_promote", {}) == {"minion": ""}


def renamed(asked):
    return {"minion_id": asked["minion"]}


def test_a_cluster_is_found_by_its_name(two_clusters):
    assert master.find_spec(two_clusters, {}, "two").cluster == "two"


@pytest.mark.parametrize("name", ["*", "t?o", "t*"])
def test_a_cluster_is_found_by_no_pattern(two_clusters, name):
    with pytest.raises(PillarError, match="no minion's pillar says"):
        master.find_spec(two_clusters, {}, name)
