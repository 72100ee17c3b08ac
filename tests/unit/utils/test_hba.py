import pytest

from saltext_repmgr.utils import errors
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils.hba import Rule
from saltext_repmgr.utils.hba import Token
from tests.malformed.base import changed

ALL = (Token("all"),)


def row(**columns):
    """A row of pg_hba_file_rules for ``host all all 10.0.0.0/8 md5`` with other columns."""
    return {
        "type": "host",
        "database": ["all"],
        "user_name": ["all"],
        "address": "10.0.0.0",
        "netmask": "255.0.0.0",
        "auth_method": "md5",
        "options": None,
        "error": None,
        **columns,
    }


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", []),
        ("   # only a comment", []),
        ("a b", [["a"], ["b"]]),
        ("\ta\t b # c", [["a"], ["b"]]),
        ("a#b", [["a"]]),
        ("a,b c", [["a", "b"], ["c"]]),
        ("a, b ,c d", [["a", "b"], ["c"], ["d"]]),
        ('"a b" c', [["a b"], ["c"]]),
        ('"a,b","#c" d', [["a,b", "#c"], ["d"]]),
        ('"a""b"', [['a"b']]),
        ('a"b c"d', [["ab cd"]]),
        ('"" x', [[""], ["x"]]),
    ],
)
def test_tokenise(line, fields):
    assert [[token.text for token in field] for field in hba.tokenise(line)] == fields


def test_tokenise_keeps_what_was_quoted():
    ((plain, quoted, inside),) = hba.tokenise('all,"all",a"l"l')
    assert (plain.quoted, quoted.quoted, inside.quoted) == (False, True, False)


def test_tokenise_refuses_an_open_quote():
    with pytest.raises(errors.ParseError):
        hba.tokenise('host "all')


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("local all all peer", Rule("local", ALL, ALL, None, "peer")),
        ("host all all all md5", Rule("host", ALL, ALL, "all", "md5")),
        ("host all all 10.0.0.0/8 md5", Rule("host", ALL, ALL, "10.0.0.0/8", "md5")),
        ("host all all 10.0.0.0 255.0.0.0 md5", Rule("host", ALL, ALL, "10.0.0.0/8", "md5")),
        ("host all all fd00:: ffff:: md5", Rule("host", ALL, ALL, "fd00::/16", "md5")),
        ("host all all FD00::1/128 md5", Rule("host", ALL, ALL, "fd00::1/128", "md5")),
        ("host all all 10.1.2.3/8 md5", Rule("host", ALL, ALL, "10.0.0.0/8", "md5")),
        ("HOST all all .example.com md5", Rule("host", ALL, ALL, ".example.com", "md5")),
        (
            'host "my db",b +grp samenet ldap ldapserver=x "ldapprefix=cn=a b"',
            Rule(
                "host",
                (Token("my db", True), Token("b")),
                (Token("+grp"),),
                "samenet",
                "ldap",
                ("ldapserver=x", "ldapprefix=cn=a b"),
            ),
        ),
    ],
)
def test_parse_line(line, rule):
    assert hba.parse_line(line) == rule
    assert hba.parse_line(str(rule)) == rule


def test_a_comment_is_no_rule():
    assert hba.parse_line(" # local all all peer") is None


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("local", "has no database"),
        ("local all", "has no user"),
        ("host all all", "has no address"),
        ("host all all all", "has no method"),
        ("host all all 10.0.0.1 md5", "write '10.0.0.1/32'"),
        ("host all all 10.0.0.1", "has no method"),
        ("host all all 10.0.0.0 255.0.255.0 md5", "no netmask"),
        ("host all all 10.0.0.0 0.255.255.255 md5", "no netmask"),
        ("host all all 10.0.0.0 ffff:: md5", "no netmask"),
        ("host all all 10.0.0.0/255.0.0.0 md5", "not a network"),
        ("host all all a,b md5", "several values for address"),
        ("local all all peer,md5", "several values for method"),
        ("local all all peer rubbish", "not an option"),
    ],
)
def test_parse_line_refuses(line, fragment):
    with pytest.raises(errors.ParseError, match=fragment):
        hba.parse_line(line)


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (Token("app"), "app"),
        (Token("all", True), '"all"'),
        (Token("my db"), '"my db"'),
        (Token("a,b"), '"a,b"'),
        (Token('a"b'), '"a""b"'),
        (Token(""), '""'),
        (Token("+grp"), "+grp"),
    ],
)
def test_a_token_is_quoted_where_it_has_to_be(token, text):
    assert str(token) == text


def test_cluster_rules_come_in_order():
    value = changed(
        {
            "subnet": ["192.168.1.0/24", "fd00::/64"],
            "postgres:hba": [
                {
                    "type": "hostssl",
                    "database": ["app", "my db", '"all"'],
                    "user": "+app",
                    "address": "10.0.0.0/8",
                    "method": "scram-sha-256",
                    "options": {"clientcert": "verify-ca"},
                },
                {
                    "type": "host",
                    "database": "a",
                    "user": "b",
                    "address": "db.lan",
                    "method": "md5",
                },
                "local  all all peer # by hand",
            ],
        }
    )
    assert hba.block(hba.cluster_rules(pillar.read(value))) == (
        "host repmgr repmgr 192.168.1.0/24 scram-sha-256\n"
        "host replication repmgr 192.168.1.0/24 scram-sha-256\n"
        "host repmgr repmgr fd00::/64 scram-sha-256\n"
        "host replication repmgr fd00::/64 scram-sha-256\n"
        'hostssl app,"my db","all" +app 10.0.0.0/8 scram-sha-256 clientcert=verify-ca\n'
        "host a b db.lan md5\n"
        "local all all peer\n"
    )


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("host all all 10.0.0.0/8 md5", {}),
        ("host all all 10.1.2.3/8 md5", {"address": "10.1.2.3"}),
        ("host all all all md5", {"address": "all", "netmask": None}),
        ("host all all DB.lan md5", {"address": "db.lan", "netmask": None}),
        ("host all all fd00::/16 md5", {"address": "fd00::", "netmask": "ffff::"}),
        (
            'host "my db",b all 10.0.0.0/8 md5',
            {"database": ["my db", "b"]},
        ),
        (
            "local all all ident map=m",
            {
                "type": "local",
                "address": None,
                "netmask": None,
                "auth_method": "peer",
                "options": ["map=m"],
            },
        ),
        (
            "hostssl all all 10.0.0.0/8 cert map=m",
            {
                "type": "hostssl",
                "auth_method": "cert",
                "options": ["map=m", "clientcert=verify-full"],
            },
        ),
        (
            "host all all 10.0.0.0/8 gss include_realm=0",
            {"auth_method": "gss", "options": []},
        ),
    ],
)
def test_a_rule_matches_the_row_of_the_server(line, columns):
    assert hba.matches(hba.parse_line(line), row(**columns))


@pytest.mark.parametrize(
    "columns",
    [
        {"type": "hostssl"},
        {"database": ["repmgr"]},
        {"database": ["all", "repmgr"]},
        {"user_name": ["repmgr"]},
        {"address": "11.0.0.0"},
        {"netmask": "255.255.0.0"},
        {"address": "all", "netmask": None},
        {"netmask": "255.0.255.0"},
        {"auth_method": "scram-sha-256"},
        {"options": ["map=m"]},
        {"error": "invalid authentication method", "type": None},
    ],
)
def test_a_rule_differs_from_another_row(columns):
    rule = hba.parse_line("host all all 10.0.0.0/8 md5")
    assert not hba.matches(rule, row(**columns))


def test_a_row_is_a_rule():
    assert str(hba.from_row(row(options=["map=m"]))) == "host all all 10.0.0.0/8 md5 map=m"


def test_a_row_with_an_error_is_no_rule():
    with pytest.raises(errors.ParseError, match="invalid connection type"):
        hba.from_row({"error": "invalid connection type", "type": None})


BEGIN, END = b"# repmgr, written by Salt: begin\n", b"# repmgr, written by Salt: end\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", BEGIN + b"new\n" + END),
        (b"# f\xfcr\nlocal all", BEGIN + b"new\n" + END + b"# f\xfcr\nlocal all\n"),
        (BEGIN + b"old\n" + END + b"x\n", BEGIN + b"new\n" + END + b"x\n"),
        (b"a\n" + BEGIN + END + b"b\n", b"a\n" + BEGIN + b"new\n" + END + b"b\n"),
    ],
)
def test_our_block_in_a_file_of_any_encoding(before, after):
    assert hba.with_block(before, b"new\n") == after
    assert hba.with_block(after, b"new") == after
    assert "+new" in hba.difference(before, after)
