"""Lines end where the programs around us end them, and nothing gets out of its line."""

import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import quoting
from saltext_repmgr.utils.hba import Rule
from saltext_repmgr.utils.hba import Token
from saltext_repmgr.utils.lines import split_lines

SPLITTING = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\nb\n", "\n"])
def test_lines_of_plain_text_are_those_of_python(text):
    assert split_lines(text) == text.splitlines()


@pytest.mark.parametrize("char", SPLITTING)
def test_a_password_file_is_split_at_line_feeds_only(char):
    found = passwords.parse(f"h:1:d:u:correct{char}h:1:d:x:horse\n")
    assert list(found) == [("h", "1", "d", "u")]


@pytest.mark.parametrize("char", [*SPLITTING, "\n", "\r", "\0", "\ud800"])
@pytest.mark.parametrize("field", [quoting.pgpass_field, quoting.userlist_field, quoting.one_line])
def test_no_field_holds_what_ends_a_line(field, char):
    with pytest.raises(errors.UsageError):
        field(f"a{char}b")


@pytest.mark.parametrize("char", [*SPLITTING, "\n", "\r"])
def test_a_value_of_a_configuration_file_stays_on_its_line(char):
    quoted = quoting.config_string(f"a{char}b")
    assert len(quoted.splitlines()) == 1
    numbers = bytes(quoted, "ascii").decode("unicode_escape").encode("latin-1")
    assert numbers.decode("utf-8") == f"'a{char}b'"


def test_a_rule_that_ends_with_a_backslash_does_not_go_on_in_the_next_one():
    rule = Rule("local", (Token("all"),), (Token("all"),), None, "ident", ("map=x\\",))
    assert hba.block([rule]) == 'local all all ident "map=x\\"\n'
    assert hba.parse_line(hba.block([rule]).rstrip("\n")) == rule
