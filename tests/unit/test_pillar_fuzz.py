"""A pillar spoilt at random: it is refused in words, or every file of it is as it has to be.

``REPMGR_TEST_SEED`` repeats or varies a run; the seed is printed.
"""

import copy
import datetime
import json
import math
import os
import pathlib
import random

import pytest
import yaml

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import errors
from saltext_repmgr.utils import guard_files
from saltext_repmgr.utils import hba
from saltext_repmgr.utils import limits
from saltext_repmgr.utils import passwords
from saltext_repmgr.utils import pg_settings
from saltext_repmgr.utils import pillar
from saltext_repmgr.utils import pillar_hba
from saltext_repmgr.utils import pillar_nodes
from saltext_repmgr.utils import pillar_pgbouncer
from saltext_repmgr.utils import pillar_postgres
from saltext_repmgr.utils import pillar_secrets
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.repmgr_parameters import PARAMETERS
from saltext_repmgr.utils.spec import Layout
from tests.malformed.base import PRIVATE_KEY
from tests.malformed.base import PUBLIC_KEY

MUTATIONS = 20_000
SEED = int(os.environ.get("REPMGR_TEST_SEED", "20261201"))
EXAMPLE = pathlib.Path(__file__).parents[2] / "pillar.example"
# Where some program ends a line, or a file has no bytes; and what quoting has to cope with.
HOSTILE = "\n\r\0\x07\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x80\x85\x9b\u2028\u2029\ud800\udfff"
NASTY = "'\"\\#;=%,:$`{}[]()|&<>!?*@ \t\u00e9\U0001f418\u200b\ufeff"
LOOP = []
LOOP.append(LOOP)
VALUES = (
    *(None, True, False, 0, 1, -1, 7, 100, 5432, 2**31, 10**18, 16**6000, 1.5, math.nan, math.inf),
    *(
        "",
        " ",
        "x",
        "010",
        "1_0",
        "0x10",
        "node1",
        "node2",
        "nobody",
        "all",
        "off",
        "on",
        "10.0.0.1",
    ),
    *(
        "0.0.0.0/0",
        "fe80::1%eth0",
        "::1",
        "2001:db8::/32",
        "a.b",
        "-",
        "..",
        "/x",
        "/x=/y",
        "x" * 5000,
    ),
    *(
        "'x'",
        '"x"',
        "a,b",
        "'a', 'b'",
        "a b",
        "{{ x }}",
        "sdb://x/y",
        "ENC[x]",
        "# x",
        "%include x",
    ),
    *([], {}, [1], ["a"], [None], [[]], {"a": 1}, {1: 2}, ("a",), b"x", frozenset("a"), LOOP),
    *(datetime.date(2026, 1, 1), ["a,b"], ["x\n"], {"x\u2028": 1}, {None: None}, {True: {}}),
)
KNOWN = {
    *(pillar.KEYS + pillar_nodes.KEYS + pillar_postgres.KEYS + pillar_hba.KEYS),
    *(pillar_pgbouncer.KEYS + pillar_pgbouncer.HOST_KEYS + pillar_secrets.SSH_KEYS),
    *PARAMETERS,
    *pg_settings.CAPACITY_SETTINGS,
}
SECRET_PATHS = (("password",), ("pgbouncer", "password"), ("ssh", "private_key"))


@pytest.fixture(scope="module", name="example")
def example_():
    found = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["repmgr"]
    found["ssh"] = {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY}
    # What is only a comment there.
    found["settings"] |= {"tablespace_mapping": ["/a=/b"], "restore_command": "cp %f %p"}
    found["settings"] |= {"event_notifications": ["standby_promote"], "log_file": "/var/log/x"}
    pillar.read(found)
    return found


def places(value, path=()):
    """Yield the path of each value below a mapping or a list."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, below in items:
        yield (*path, name)
        # One of the values holds itself.
        if isinstance(below, (dict, list)) and len(path) < 8:
            yield from places(below, (*path, name))


def at(value, path):
    for name in path:
        value = value[name]
    return value


def mutate(rand, value):
    """Spoil a pillar at one place."""
    *parents, last = rand.choice(list(places(value)))
    parent = at(value, parents)
    if not isinstance(parent, (dict, list)):
        return
    old, kind = parent[last], rand.random()
    if kind < 0.35:
        parent[last] = copy.deepcopy(rand.choice(VALUES))
    elif kind < 0.75:
        text = old if isinstance(old, str) else str(old) if isinstance(old, (int, float)) else "x"
        where = rand.choice((0, len(text), rand.randint(0, len(text))))
        middle = rand.choice(HOSTILE if rand.random() < 0.5 else NASTY)
        if rand.random() < 0.3:
            middle += rand.choice(("auth_type = any", "host all all all trust", "x", "\\"))
        parent[last] = text[:where] + middle + text[where:]
    elif kind < 0.85:
        del parent[last]
    elif isinstance(parent, dict):
        name = str(last) + rand.choice(HOSTILE + NASTY + "x")
        parent[name] = parent.pop(last) if rand.random() < 0.5 else copy.deepcopy(old)
    else:
        parent.append(copy.deepcopy(old))


def exists(value, rest):
    """Whether a dotted key is in a pillar, or is one that could be there."""
    if not rest:
        return True
    if isinstance(value, dict):
        names = ((checks.printable(str(name)), below) for name, below in value.items())
    elif isinstance(value, (list, tuple)):
        names = ((str(index), below) for index, below in enumerate(value))
    else:
        names = ()
    for name, below in names:
        if rest == name or rest.startswith(f"{name}.") and exists(below, rest[len(name) + 1 :]):
            return True
    return rest.split(".")[0] in KNOWN


def secrets(value):
    """The secrets of a pillar that are nowhere else in it."""
    found = {}
    for path in SECRET_PATHS:
        try:
            found[path] = at(value, path)
        except (KeyError, TypeError, IndexError):
            continue
    others = " ".join(
        str(part)
        for path in places(value)
        if path not in SECRET_PATHS
        for part in (path[-1], at(value, path))
        if isinstance(part, (str, float)) or isinstance(part, int) and abs(part) < 2**64
    )
    return [s for s in found.values() if isinstance(s, str) and len(s) > 5 and s not in others]


def test_a_refusal_names_keys_that_exist_and_no_secret(example, capsys):
    rand = random.Random(SEED)
    accepted = 0
    for number in range(MUTATIONS):
        value = copy.deepcopy(example)
        for _ in range(rand.choice((1, 1, 1, 2, 3))):
            mutate(rand, value)
        try:
            spec = pillar.read(value)
        except errors.PillarError as err:
            judge(number, value, err.problems)
        else:
            accepted += 1
            for node in spec.members:
                look_at(number, spec, node)
    with capsys.disabled():
        print(f"\npillar fuzz: {MUTATIONS} mutations, seed {SEED}, {accepted} accepted")
    # Both ways have to be gone often, or nothing was tried.
    assert MUTATIONS / 20 < accepted < MUTATIONS * 19 / 20


def judge(number, value, problems):
    assert problems, number
    text = "\n".join(f"{key}: {message}" for key, message in problems)
    assert len(text.splitlines()) == len(problems), (number, text)
    assert text.replace("\n", "").isprintable(), (number, text)
    text.encode("utf-8")
    for key, message in problems:
        assert message, (number, key)
        root, _, rest = key.partition(".")
        assert root == "repmgr" and exists(value, rest), (number, key)
    # What is shown is an escape of what was written.
    for secret in secrets(value):
        assert checks.printable(secret.strip()) not in text, (number, text)


def lines(number, text):
    """The lines of a text: as many for the program that splits the most as for all others."""
    text.encode("utf-8")
    assert text.endswith("\n"), number
    found = text[:-1].split("\n")
    assert text.splitlines() == found, (number, text)
    return found


def look_at(number, spec, node):
    """Read back every file that follows from a pillar that was taken."""
    layout = Layout(
        spec.postgres.version or 15, spec.postgres.cluster, spec.postgres.data_directory or ""
    )
    told = wanted.describe(spec, node, layout)
    of_repmgr(number, spec, node, layout, told["repmgr_conf_text"])
    of_postgres(number, spec, node)
    of_pgbouncer(number, spec)
    rules = hba.cluster_rules(spec)
    found = [hba.parse_line(line) for line in lines(number, hba.block(rules))]
    assert list(map(plain, found)) == list(map(plain, rules)), number
    fields = dict.fromkeys((n.name for n in spec.members), spec.password)
    text = repmgr_conf.pgpass(spec, fields)
    assert len(lines(number, text)) == 2 * len(spec.members)
    assert passwords.held(spec, text) == fields, number
    for name, count in (("sudoers_text", 3), ("unit_text", 19), ("pg_ctl_text", 3)):
        assert len(lines(number, told[name])) == count, (number, told[name])
    for text in told["purge_units"].values():
        assert len(lines(number, text)) in (10, 11), (number, text)
    json.loads(guard_files._configuration(spec, node, layout))
    assert len(lines(number, guard_files._unit(spec, layout))) == 20, number
    for address, names in {**told["hosts"], **told["former_hosts"]}.items():
        assert not any(char.isspace() for char in "".join((address, *names))), number


def plain(rule):
    """A rule without the quotes, which only some words need."""
    names = [[token.text for token in tokens] for tokens in (rule.databases, rule.users)]
    address = rule.address and rule.address.lower()
    return (rule.type, *names, address, rule.method, rule.options)


def of_repmgr(number, spec, node, layout, text):
    settings = repmgr_conf.node_settings(spec, node, layout)
    wanted_lines = [
        name
        for name, value in settings.items()
        for _ in (value if isinstance(value, tuple) else [value])
    ]
    header, *found = lines(number, text)
    assert header.startswith("# ") and sorted(line.partition("=")[0] for line in found) == sorted(
        wanted_lines
    ), number


def of_postgres(number, spec, node):
    settings = pg_settings.server_settings(spec, node)
    header, *found = lines(number, pg_settings.render(settings))
    assert header.startswith("# ") and [line.partition(" = ")[0] for line in found] == sorted(
        settings
    ), number
    assert limits.raised("\n".join([header, *found, ""]), {}, {}) == "\n".join([header, *found, ""])


def of_pgbouncer(number, spec):
    if spec.pgbouncer is None:
        return
    settings = router_files.settings(spec)
    found = lines(number, router_files.ini(spec))
    assert found[3] == "[pgbouncer]" and len(found) == 4 + len(settings), number
    assert dict(line.split(" = ", 1) for line in found[4:]) == settings, number
    (line,) = lines(number, router_files.userlist(spec.pgbouncer.password))
    assert line.removeprefix('"pgbouncer" "').removesuffix('"').replace('""', '"') == (
        spec.pgbouncer.password
    ), number
    (line,) = lines(number, router_files.pgpass(spec.pgbouncer.password))
    assert list(passwords.parse(f"{line}\n").values()) == [spec.pgbouncer.password], number
    for name in spec.routers:
        json.loads(router_files._configuration(spec, name))
