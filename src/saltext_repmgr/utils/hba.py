"""Rules of pg_hba.conf: read, write, compare with what the server reports."""

import difflib
import ipaddress
from dataclasses import dataclass
from typing import NamedTuple

from saltext_repmgr.utils import checks
from saltext_repmgr.utils import errors
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME
from saltext_repmgr.utils.spec import ROUTER_DATABASE
from saltext_repmgr.utils.spec import ROUTER_ROLE

_BLANKS = " \t\r\f\v"
_NEEDS_QUOTES = set('#,"') | set(_BLANKS)
ADDRESS_KEYWORDS = ("all", "samehost", "samenet")
# What the server adds to the options of a rule by itself.
_IMPLIED_OPTIONS = {"cert": {"clientcert=verify-full"}, "gss": {"include_realm=1"}}
# The view says neither of these: the one is off, the other it does not know.
_UNSHOWN_OPTIONS = ("include_realm=0", "clientname=DN", "clientname=CN")


class Token(NamedTuple):
    """One word; quoting takes away the special meaning of ``all``, ``+group`` and the like."""

    text: str
    quoted: bool = False

    def __str__(self):
        if not self.quoted and self.text and not _NEEDS_QUOTES & set(self.text):
            return self.text
        escaped = self.text.replace('"', '""')
        return f'"{escaped}"'


@dataclass(frozen=True)
class Rule:
    """One line of pg_hba.conf.

    address
        ``None`` for ``local``; else a network in CIDR form, a host name, a ``.suffix``,
        or one of :data:`ADDRESS_KEYWORDS`.
    options
        ``name=value`` strings in the order of the line.
    """

    type: str
    databases: tuple[Token, ...]
    users: tuple[Token, ...]
    address: str | None
    method: str
    options: tuple[str, ...] = ()

    def __str__(self):
        fields = [
            self.type,
            ",".join(map(str, self.databases)),
            ",".join(map(str, self.users)),
            self.address,
            self.method,
            *(str(Token(option)) for option in self.options),
        ]
        return " ".join(field for field in fields if field is not None)


def tokenise(line):
    """Split a line into fields, each a tuple of :class:`Token`, the way the server does.

    A comma right after a word continues a field; ``#`` outside of quotes begins a comment;
    ``""`` inside of quotes is a quote. Raises
    :class:`~saltext_repmgr.utils.errors.ParseError` where a quote is not closed.
    """
    fields = []
    position = 0
    continued = False
    while True:
        position, token, comma = _next_token(line, position)
        if token is None:
            return tuple(tuple(tokens) for tokens in fields)
        if continued:
            fields[-1].append(token)
        else:
            fields.append([token])
        continued = comma


def _next_token(line, position):
    end = len(line)
    while position < end and (line[position] in _BLANKS or line[position] == ","):
        position += 1
    if position == end or line[position] == "#":
        return end, None, False
    text = []
    in_quotes = was_quote = False
    begins_quoted = line[position] == '"'
    while position < end:
        char = line[position]
        if not in_quotes and (char in _BLANKS or char == ","):
            break
        if not in_quotes and char == "#":
            position = end
            break
        if char != '"' or was_quote:
            text.append(char)
        was_quote = in_quotes and char == '"' and not was_quote
        if char == '"':
            in_quotes = not in_quotes
        position += 1
    if in_quotes:
        raise errors.ParseError("a double quote is not closed")
    comma = position < end and line[position] == ","
    return position, Token("".join(text), begins_quoted), comma


def network(address, netmask=None):
    """The CIDR form of an IP address and its mask; host bits are cut as the server does.

    address
        With prefix length, or without one: then it is that of ``netmask``, or a single host.

    Raises ``ValueError`` where they are not an address and its mask.
    """
    host, slash, prefix = address.partition("/")
    if slash and not prefix.isdigit():
        raise ValueError(f"{prefix!r} is no prefix length")
    if netmask is not None:
        address = f"{host}/{_prefix(ipaddress.ip_address(host), netmask)}"
    return str(ipaddress.ip_network(address, strict=False))


def _prefix(address, netmask):
    # ipaddress takes no IPv6 masks, and inverted ones of IPv4, which the server does not.
    mask = ipaddress.ip_address(netmask)
    bits = f"{int(mask):0{mask.max_prefixlen}b}"
    if mask.version != address.version or "01" in bits:
        raise ValueError(f"{netmask!r} is no netmask for {address}")
    return bits.count("1")


def parse_line(line):
    """The :class:`Rule` of a line, or ``None`` for a comment or an empty line.

    Only the form is checked here, not whether type and method exist. Raises
    :class:`~saltext_repmgr.utils.errors.ParseError`.
    """
    fields = list(tokenise(line))
    if not fields:
        return None
    rule_type = _single(fields.pop(0), "type").lower()
    needed = 3 if rule_type == "local" else 4
    if len(fields) < needed:
        names = ("database", "user", *(() if needed == 3 else ("address",)), "method")
        raise errors.ParseError(f"has no {names[len(fields)]}")
    databases, users = fields.pop(0), fields.pop(0)
    address = None
    if rule_type != "local":
        address = _line_address(fields)
        if not fields:
            raise errors.ParseError("has no method")
    method = _single(fields.pop(0), "method")
    options = tuple(token.text for field in fields for token in field)
    for option in options:
        if "=" not in option:
            raise errors.ParseError(
                "has something after the method that is not an option of the form name=value"
            )
    return Rule(rule_type, databases, users, address, method, options)


def _single(field, what):
    if len(field) != 1:
        raise errors.ParseError(f"has several values for {what}")
    return field[0].text


def _line_address(fields):
    text = _single(fields.pop(0), "address")
    if text in ADDRESS_KEYWORDS:
        return text
    try:
        if "/" in text:
            return network(text)
        ipaddress.ip_address(text)
    except ValueError:
        if "/" in text:
            raise errors.ParseError(f"{text!r} is not a network in CIDR form") from None
        return text
    if not fields:
        raise errors.ParseError(f"address {text!r} has no prefix length, write {network(text)!r}")
    mask = _single(fields.pop(0), "netmask")
    try:
        return network(text, mask)
    except ValueError:
        raise errors.ParseError(
            f"address {text!r} is followed by {mask!r}, which is no netmask,"
            f" write {network(text)!r}"
        ) from None


def from_row(row):
    """The :class:`Rule` of one row of the view ``pg_hba_file_rules``.

    row
        Mapping with the columns ``type``, ``database``, ``user_name`` (lists),
        ``address``, ``netmask``, ``auth_method``, ``options`` and, if asked for, ``error``.

    The view says neither what was quoted nor ``clientname``, so no rule here does; an
    ``ldapurl`` it takes apart. Raises
    :class:`~saltext_repmgr.utils.errors.ParseError` for a line the server refused.
    """
    if row.get("error"):
        raise errors.ParseError(f"the server refused the line: {row['error']}")
    address = row["address"]
    if row["netmask"]:
        try:
            address = network(address, row["netmask"])
        except ValueError:
            # The server also takes masks that no prefix length can say.
            address = f"{address} {row['netmask']}"
    return Rule(
        row["type"],
        tuple(Token(text) for text in row["database"]),
        tuple(Token(text) for text in row["user_name"]),
        address,
        row["auth_method"],
        _written_options(row["auth_method"], row["options"] or ()),
    )


def _written_options(method, shown):
    """Options as the file has to say them: there, ``include_realm=true`` means off."""
    options = ["include_realm=1" if o == "include_realm=true" else o for o in shown]
    # Shown for every LDAP rule, and not allowed in the file; only an ldapurl changes it.
    options = [option for option in options if not option.startswith("ldapscope=")]
    if method == "gss" and "include_realm=1" not in options:
        options.append("include_realm=0")
    return tuple(options)


def matches(rule, row):
    """Whether a row of ``pg_hba_file_rules`` is what the server makes of a rule.

    What the view does not tell, see :func:`from_row`, is not compared. A row with an
    error matches nothing.
    """
    try:
        return _comparable(rule) == _comparable(from_row(row))
    except errors.ParseError:
        return False


def _comparable(rule):
    method = "peer" if (rule.type, rule.method) == ("local", "ident") else rule.method
    options = set(rule.options)
    if not any(option.startswith("include_realm=") for option in options):
        options |= _IMPLIED_OPTIONS.get(method, set())
    return (
        rule.type,
        [token.text for token in rule.databases],
        [token.text for token in rule.users],
        rule.address and rule.address.lower(),
        method,
        options.difference(_UNSHOWN_OPTIONS),
    )


def cluster_rules(spec):
    """The rules of a cluster in their order: what repmgr needs, then those of the pillar."""
    own = []
    for subnet in spec.subnets:
        for database in (DATABASE_NAME, "replication"):
            own.append(
                Rule("host", (Token(database),), (Token(ROLE_NAME),), str(subnet), "scram-sha-256")
            )
    return (*own, *_router_rules(spec), *spec.postgres.hba)


def _router_rules(spec):
    """What PgBouncer needs: its clients' databases, and one to look at the server from."""
    rules = []
    for address in dict.fromkeys(spec.routers.values()):
        # A host that is only known by its name has to have one in reverse, too.
        where = network(address) if checks.ip_address(address) else address
        databases = tuple(Token(name) for name in spec.pgbouncer.databases)
        # With its members: one stands in for it while its password is changed.
        looks = (Token(ROUTER_DATABASE),), (Token(f"+{ROUTER_ROLE}"),)
        for names, users in ((databases, (Token("all"),)), looks):
            rules.append(Rule("host", names, users, where, "scram-sha-256"))
    return rules


def block(rules):
    """The lines of the given rules as text that ends with a newline."""
    return "".join(f"{rule}\n" for rule in rules)


_BEGIN, _END = b"# repmgr, written by Salt: begin\n", b"# repmgr, written by Salt: end\n"


def with_block(text, block):
    """Return a ``pg_hba.conf`` with our block, at its head where it has none; the other lines stay
    as they are, in whatever encoding.

    text, block
        The file, and the lines of the block (bytes).
    """
    ours = _BEGIN + block.rstrip(b"\n") + b"\n" + _END
    if text and not text.endswith(b"\n"):
        text += b"\n"
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return before + ours + after if begin and end else ours + text


def difference(before, after):
    """Return the difference of two versions of a file (bytes) for people."""
    old, new = (b.decode(errors="replace").splitlines(keepends=True) for b in (before, after))
    return "".join(difflib.unified_diff(old, new))
