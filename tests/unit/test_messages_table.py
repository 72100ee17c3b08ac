"""scripts/messages: the table of all that the extension says."""

import textwrap

import pytest

from tests import messages


@pytest.fixture(scope="module")
def table():
    return messages.messages()


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("utils/plan.py", "other", "repmgr_node.data_lost' lets the next run build it anew"),
        ("utils/plan.py", "action reason", "{data.path} is {data.content.value}"),
        ("utils/survey.py", "finding", "its guard froze the server: {guard.reason}"),
        ("utils/plan.py", "note", "no primary answers ({others})"),
        ("utils/act.py", "refusal", "is a mount point and cannot be renamed"),
        ("utils/act.py", "error", "{layout.service} is not ready: {error}"),
        ("utils/pillar_nodes.py", "problem", "write a mapping of minion id to node"),
        ("states/repmgr.py", "result", "{layout.data_directory} needs no clone"),
        ("guard/rules.py", "log", "of {number} electors only {names} miss {primary.name}"),
    ],
)
def test_a_message_is_in_it(table, path, kind, words):
    assert [m for m in table if m.path == path and m.kind == kind and words in m.text]


def test_what_nobody_reads_is_not(table):
    texts = [m.text for m in table]
    assert not [t for t in texts if t.startswith(("SELECT", "Return ", "UPDATE", "# Written"))]


def test_a_text_is_one_line_with_its_place(tmp_path):
    source = '''
        """A module's own docstring is none."""
        QUERY = "SELECT what nobody has to read"

        def judge(node):
            """Nor is a function's."""
            if node.gone:
                raise Refused(f"{node.name} is gone for good;"
                              " nothing was touched")
            return Plan(refusal="nothing " + "can be done here")
    '''
    (tmp_path / "some.py").write_text(textwrap.dedent(source))
    assert list(map(str, messages.messages(tmp_path))) == [
        "some.py:8\trefusal\t{node.name} is gone for good; nothing was touched",
        "some.py:10\trefusal\tnothing can be done here",
    ]


def test_the_table_is_printed_for_some_files(capsys):
    messages.main(["utils/slots"])
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.startswith("utils/slots.py:") for line in lines)
