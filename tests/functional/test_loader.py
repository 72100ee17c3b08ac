"""What Salt's loader finds: every public function under its name, documented, and no other."""

import ast
import inspect
import pathlib
import re

import pytest
import salt.loader
import salt.minion
import yaml

import saltext_repmgr
from tests.functional.support.minions import options
from tests.functional.support.minions import require_entry_point

ROOT = pathlib.Path(saltext_repmgr.__file__).parent
KINDS = ("modules", "states", "runners")
ALL = "repmgr*"


def defined(kind):
    """``{loaded name: its definition}`` by the source alone."""
    found = {}
    for path in (ROOT / kind).glob("[!_]*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[f"{path.stem}.{node.name}"] = node
    return found


FUNCTIONS = [(kind, name, node) for kind in KINDS for name, node in defined(kind).items()]
each = pytest.mark.parametrize(
    ("kind", "name", "node"), FUNCTIONS, ids=[f"{kind}-{name}" for kind, name, _ in FUNCTIONS]
)


@pytest.fixture(scope="module")
def opts(tmp_path_factory):
    """The configuration of a minion that knows nothing of repmgr, as most are."""
    require_entry_point()
    return options(tmp_path_factory.mktemp("plain"), "plain", {})


@pytest.fixture(scope="module")
def loaded(opts):
    """What Salt's loaders have, by kind."""
    opts["grains"] = salt.loader.grains(opts)
    utils = salt.loader.utils(opts)
    modules = salt.loader.minion_mods(opts, utils=utils)
    states = salt.loader.states(opts, modules, utils, {})
    return {"modules": modules, "states": states, "runners": salt.loader.runner(opts)}


@pytest.fixture(scope="module")
def argspecs(loaded):
    """What Salt knows of the arguments, by kind."""
    sys = {"modules": "sys.argspec", "states": "sys.state_argspec", "runners": "sys.runner_argspec"}
    return {kind: loaded["modules"][sys[kind]](ALL) for kind in KINDS}


def test_the_source_has_what_the_readme_promises():
    assert {(kind, name.partition(".")[0]) for kind, name, _ in FUNCTIONS} == {
        ("modules", "repmgr"),
        ("modules", "repmgr_pg"),
        ("modules", "repmgr_node"),
        ("modules", "repmgr_cluster"),
        ("modules", "repmgr_router"),
        ("states", "repmgr"),
        ("states", "repmgr_daemon"),
        ("states", "repmgr_member"),
        ("states", "repmgr_pg"),
        ("states", "repmgr_cluster"),
        ("states", "repmgr_router"),
        ("runners", "repmgr"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_is_what_is_defined_and_nothing_else(loaded, kind):
    found = {name for name in loaded[kind] if name.partition(".")[0].startswith("repmgr")}
    assert found == set(defined(kind))


@each
def test_every_function_is_documented(loaded, kind, name, node):
    text = loaded[kind][name].__doc__
    assert inspect.cleandoc(text) == ast.get_docstring(node)
    if kind == "states":
        assert name.endswith(".mod_watch") or ".. code-block:: yaml" in text
    else:
        function = name.partition(".")[2]
        begin = r"CLI Example:\n\n +.. code-block:: bash\n\n +salt(-run)?( -t \d+)?( -L)?"
        assert re.search(rf"{begin} (\S+ )?repmgr\w*\.{function}\b", text)


def test_salt_shows_the_documentation(loaded):
    shown = loaded["modules"]["sys.doc"]("repmgr_pg.slots")
    assert "salt node1 repmgr_pg.slots" in shown["repmgr_pg.slots"]


@each
def test_salt_knows_the_arguments_of_every_function(argspecs, kind, name, node):
    found = argspecs[kind][name]
    positional = [argument.arg for argument in node.args.args]
    # Since 3008 Salt counts those that can only be given by name among them.
    named = [argument.arg for argument in node.args.kwonlyargs]
    assert (found["args"] or []) in (positional, positional + named)
    assert len(found["defaults"] or ()) >= len(node.args.defaults)
    assert bool(found["varargs"]) is (node.args.vararg is not None)
    assert bool(found["kwargs"]) is (node.args.kwarg is not None)


@each
def test_a_job_may_pass_every_argument_by_name(loaded, kind, name, node):
    if kind != "modules":
        return
    arguments = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    given = [{"__kwarg__": True, argument: "value"} for argument in arguments]
    _, read = salt.minion.load_args_and_kwargs(loaded[kind][name], given)
    assert set(read) == set(arguments)


@each
def test_every_argument_is_documented(kind, name, node):  # pylint: disable=unused-argument
    if name.endswith(".mod_watch"):
        # Nobody but Salt calls it.
        return
    words = set(re.findall(r"\w+", ast.get_docstring(node)))
    arguments = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    assert arguments - words == set()


def example(node):
    """The YAML of a state's docstring."""
    text = ast.get_docstring(node).partition(".. code-block:: yaml\n")[2]
    return yaml.safe_load(inspect.cleandoc(text))


STATES = [(name, node) for kind, name, node in FUNCTIONS if kind == "states"]


@pytest.mark.parametrize(
    ("name", "node"),
    [(name, node) for name, node in STATES if not name.endswith(".mod_watch")],
    ids=[name for name, _ in STATES if not name.endswith(".mod_watch")],
)
def test_the_example_of_a_state_is_one(name, node):
    ((_, body),) = example(node).items()
    ((function, arguments),) = body.items()
    given = {key for argument in arguments for key in argument}
    accepted = [argument.arg for argument in node.args.args]
    required = accepted[1 : len(accepted) - len(node.args.defaults)]
    assert function == name
    assert set(required) <= given <= set(accepted)
