"""Read ``repmgr:postgres:hba``: mappings or lines of pg_hba.conf."""

import ipaddress
from collections.abc import Mapping

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import errors
from saltext_repmgr.utils import hba
from saltext_repmgr.utils.hba import Rule
from saltext_repmgr.utils.hba import Token

KEYS = ("type", "database", "user", "address", "method", "options")
_KEY_SYNONYMS = {
    "databases": "database",
    "db": "database",
    "users": "user",
    "role": "user",
    "cidr": "address",
    "auth_method": "method",
    "auth": "method",
}
TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
METHODS = (
    "trust",
    "reject",
    "scram-sha-256",
    "md5",
    "password",
    "gss",
    "ident",
    "peer",
    "pam",
    "ldap",
    "radius",
    "cert",
)
_METHOD_SYNONYMS = {
    "scram": "scram-sha-256",
    "scram_sha_256": "scram-sha-256",
    "sha256": "scram-sha-256",
    "deny": "reject",
    "ssl": "cert",
}
_EXAMPLE = "'host app app 10.0.0.0/8 scram-sha-256'"


def read(problems, key, value):
    """The rules as a tuple of :class:`~saltext_repmgr.utils.hba.Rule`."""
    if value is checks.MISSING or value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        problems.add(
            key, f"is {checks.kind(value)}; write a list of rules, for example [{_EXAMPLE}]"
        )
        return ()
    rules = (_rule(problems, f"{key}.{index}", item) for index, item in enumerate(value))
    return tuple(rule for rule in rules if rule is not None)


def _rule(problems, key, item):
    before = len(problems)
    if isinstance(item, str):
        rule = _from_line(problems, key, item)
        keys = dict.fromkeys(KEYS, key)
    elif isinstance(item, Mapping):
        rule = _from_mapping(problems, key, item)
        keys = {name: f"{key}.{name}" for name in KEYS}
    else:
        problems.add(key, f"is {checks.kind(item)}; write a mapping or a line such as {_EXAMPLE}")
        return None
    if rule is not None:
        _check(problems, keys, rule)
    return rule if len(problems) == before else None


def _from_line(problems, key, line):
    # A line may hold an LDAP or RADIUS secret: only its faulty part is ever shown.
    if not checks.is_one_line(line.strip()):
        problems.add(key, "has several lines or a control character; write one rule an item")
        return None
    try:
        rule = hba.parse_line(line.strip())
    except errors.ParseError as exc:
        problems.add(key, f"{exc}; a rule reads like {_EXAMPLE}")
        return None
    if rule is None:
        problems.add(key, f"is empty or a comment; write a rule such as {_EXAMPLE}")
        return None
    if "/" in (rule.address or ""):
        written = next(f[0].text for f in hba.tokenise(line)[3:] if f)
        if not _strict(problems, key, written, rule.address):
            return None
    return rule


def _strict(problems, key, written, network):
    """Refuse host bits: the server ignores them, the administrator meant something else."""
    address = ipaddress.ip_address(written.partition("/")[0])
    if address == ipaddress.ip_network(network).network_address:
        return True
    problems.add(
        key,
        f"{written!r} is an address inside a network; write {network!r} for the network or"
        f" {hba.network(str(address))!r} for one host",
    )
    return False


def _from_mapping(problems, key, item):
    checks.unknown_keys(problems, key, item, KEYS, _KEY_SYNONYMS)
    before = len(problems)
    for name in ("type", "database", "user", "method"):
        if name not in item:
            problems.add(f"{key}.{name}", "is missing; write it")
    rule_type, method = item.get("type", "host"), item.get("method", "reject")
    for name, word in (("type", rule_type), ("method", method)):
        if not isinstance(word, str):
            problems.add(f"{key}.{name}", f"is {checks.kind(word)}; write a string")
    databases = _names(problems, f"{key}.database", item.get("database", "all"))
    users = _names(problems, f"{key}.user", item.get("user", "all"))
    address = _address(problems, f"{key}.address", rule_type, item)
    options = _options(problems, f"{key}.options", item.get("options"))
    if len(problems) > before:
        return None
    return Rule(rule_type, databases, users, address, method, options)


def _names(problems, key, value):
    tokens = []
    for text in value if isinstance(value, (list, tuple)) else [value]:
        if not isinstance(text, str) or not text or not checks.is_one_line(text):
            problems.add(
                key,
                f"holds {checks.show(text)}; write a name or a list of names on one line each",
            )
            return ()
        if checks.has_own_quotes(text):
            problems.add(key, f"holds {checks.show(text)}; write the name without these quotes")
            return ()
        written_quoted = len(text) > 2 and text[0] == text[-1] == '"'
        if "," in text and not written_quoted:
            names = ", ".join(filter(None, map(str.strip, text.split(","))))
            problems.add(
                key,
                f"holds {checks.show(text)}, which is one name with a comma in it; write a list,"
                f" [{names}], or put a name that has a comma into double quotes of its own",
            )
            return ()
        tokens.append(Token(text[1:-1].replace('""', '"'), True) if written_quoted else Token(text))
    if not tokens:
        problems.add(key, "is an empty list; write at least one name, or all")
    return tuple(tokens)


def _address(problems, key, rule_type, item):
    given = item.get("address")
    if rule_type == "local":
        if given is not None:
            problems.add(key, "is given, but a local rule has none; remove it or use type: host")
        return None
    if given is None:
        problems.add(key, "is missing; write a network such as '10.0.0.0/8', a host name, or all")
        return None
    if not isinstance(given, str):
        problems.add(key, f"is {checks.kind(given)}; write a string")
        return None
    if given in hba.ADDRESS_KEYWORDS:
        return given
    if "/" in given:
        try:
            network = hba.network(given)
        except ValueError:
            problems.add(key, f"is {given!r}; write a network such as '10.0.0.0/8'")
            return None
        return network if _strict(problems, key, given, network) else None
    if checks.ip_address(given):
        problems.add(key, f"is {given!r} without a prefix length; write {hba.network(given)!r}")
        return None
    return checks.host(problems, key, given.removeprefix(".")) and given


def _options(problems, key, value):
    if value is None:
        return ()
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        pairs = [
            (name, text if equals else None)
            for name, equals, text in (v.partition("=") for v in value)
        ]
    else:
        problems.add(key, "is neither a mapping of option to value nor a list of 'name=value'")
        return ()
    # A value may be an LDAP or RADIUS secret: only the option's name is ever shown.
    for name, text in pairs:
        if not isinstance(name, str) or not name.isidentifier():
            problems.add(key, "has an option without a name; write 'name: value'")
        elif not _is_option_value(text):
            problems.add(key, f"has no usable value for {name}; write a string or a number")
    return tuple(f"{name}={text}" for name, text in pairs)


def _is_option_value(value):
    if isinstance(value, str):
        return bool(value) and checks.is_one_line(value)
    return checks.is_int(value)


def _check(problems, keys, rule):
    """What is wrong with a well-formed rule."""
    is_local = rule.type == "local"
    if checks.choice(problems, keys["type"], rule.type, TYPES) is None:
        return
    if checks.choice(problems, keys["method"], rule.method, METHODS, _METHOD_SYNONYMS) is None:
        return
    if rule.method == "trust" and not is_local:
        reason = "lets everybody at these addresses in without a password; write scram-sha-256"
    elif rule.method == "peer" and not is_local:
        reason = "works for local rules only; write scram-sha-256"
    elif rule.method == "gss" and is_local:
        reason = "does not work for local rules; write peer"
    elif rule.method == "cert" and rule.type != "hostssl":
        reason = "works for hostssl rules only; write hostssl or scram-sha-256"
    else:
        return
    problems.add(keys["method"], f"{rule.method!r} {reason}")
