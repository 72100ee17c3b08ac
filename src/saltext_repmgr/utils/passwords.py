"""Which passwords are in force. Pillar's is what is wished for; the one in force is in the
password files of the hosts, until :mod:`saltext_repmgr.utils.rotate` changes both it and the role.
"""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

from saltext_repmgr.utils import confined
from saltext_repmgr.utils import db
from saltext_repmgr.utils import repmgr_conf
from saltext_repmgr.utils import router_files
from saltext_repmgr.utils.errors import ConnectionFailed
from saltext_repmgr.utils.errors import RepmgrError
from saltext_repmgr.utils.facts import Reach
from saltext_repmgr.utils.lines import split_lines
from saltext_repmgr.utils.spec import DATABASE_NAME
from saltext_repmgr.utils.spec import ROLE_NAME
from saltext_repmgr.utils.spec import ROUTER_DATABASE
from saltext_repmgr.utils.spec import ROUTER_ROLE
from saltext_repmgr.utils.spec import Layout

# What two nodes with the same password say alike, and nobody can guess it from.
_ROUNDS = 600_000
_FIELD = re.compile(r"((?:\\.|[^:\\])*)(?::|$)")


# -- pure -------------------------------------------------------------------------------------


def parse(text):
    """Return ``{(host, port, database, user): password}`` of a libpq password file."""
    found = {}
    for line in split_lines(text):
        fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELD.findall(line)]
        if len(fields) >= 5 and not line.startswith("#"):
            # The first line that fits is the one that counts.
            found.setdefault(tuple(fields[:4]), fields[4])
    return found


def held(spec, text):
    """Return ``{node name: password}`` of the members that a password file has."""
    lines = parse(text)
    port = str(spec.postgres.port)
    keys = {n.name: (n.host, port, DATABASE_NAME, ROLE_NAME) for n in spec.members}
    return {name: lines[key] for name, key in keys.items() if key in lines}


def choose(wish, names, found, takes):
    """Return ``{node name: password}`` as a password file should have it now.

    wish
        Pillar's password.
    names
        Of all members.
    found
        As :func:`held` returns it.
    takes
        ``{node name: whether its server takes pillar's}``; None where it did not answer.

    Pillar's is only written where it is known to be in force, or nothing else is known.
    """
    former = next((p for p in found.values() if p != wish), None)
    changed = any(takes.values())
    chosen = {}
    for name in names:
        own = found.get(name, former)
        silent = takes.get(name) is None
        # A server that is away gets the new one from those that have it.
        use_wish = own is None or takes.get(name) or (silent and changed)
        chosen[name] = wish if use_wish else own
    return chosen


def digest(spec, salt):
    """Return what two hosts with the same passwords say alike.

    salt
        Of this one comparison (str).
    """
    router = spec.pgbouncer.password if spec.pgbouncer else ""
    both = f"{spec.password}\0{router}".encode()
    return hashlib.pbkdf2_hmac("sha256", both, salt.encode(), _ROUNDS).hex()


# -- files ------------------------------------------------------------------------------------


def _read(path):
    try:
        return confined.read(path)
    except OSError:
        return ""


def read(spec, path=Layout.passfile):
    """Return :func:`held` of this host."""
    return held(spec, _read(path))


def of_member(spec, node):
    """Return the passwords to try at a member, in this order."""
    return tuple(dict.fromkeys([read(spec).get(node.name, spec.password), spec.password]))


def of_host(host, port):
    """Return the password that this host has for another's server, or None."""
    return parse(_read(Layout.passfile)).get((host, str(port), DATABASE_NAME, ROLE_NAME))


def of_router():
    """Return the password of PgBouncer's role that this host has, or None."""
    return parse(_read(router_files.PASSFILE)).get(("*", "*", "*", ROUTER_ROLE))


def router_is_stale(spec):
    """Whether a file of this host's PgBouncer has another password than pillar."""
    listed = _read(router_files.USERLIST)
    wished = router_files.userlist(spec.pgbouncer.password)
    found = of_router()
    # The package brings a file of its own.
    ours = listed.startswith(f'"{ROUTER_ROLE}" ')
    return found not in (None, spec.pgbouncer.password) or ours and listed != wished


def write(path, text, mode=0o600):
    """Replace a file with a secret at once; it is the postgres user's from the first byte on."""
    confined.write(path, text, mode, Layout.os_user)


# -- servers ----------------------------------------------------------------------------------


def takes(spec, node, password, role=ROLE_NAME):
    """Whether a member's server lets a role in with a password; None where it does not say."""
    dbname = DATABASE_NAME if role == ROLE_NAME else ROUTER_DATABASE
    try:
        with db.connect(node.host, spec.postgres.port, role, dbname, password=password):
            return True
    except ConnectionFailed as err:
        return False if err.kind is Reach.REJECTED else None
    except RepmgrError:
        return None


def all_take(spec, nodes, password, role=ROLE_NAME):
    """Return ``{node name: takes}``; all are asked at once."""
    if not nodes:
        return {}
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        said = pool.map(lambda node: takes(spec, node, password, role), nodes)
        return dict(zip((n.name for n in nodes), said))


def passfile_text(spec, path=Layout.passfile):
    """Return the text of this host's password file as it should be now."""
    found = read(spec, path)
    asked = [n for n in spec.members if found and found.get(n.name) != spec.password]
    said = all_take(spec, asked, spec.password)
    if any(password == spec.password for password in found.values()):
        # Some have changed; whoever is silent will.
        said = {**{n: True for n, p in found.items() if p == spec.password}, **said}
    names = [n.name for n in spec.members]
    return repmgr_conf.pgpass(spec, choose(spec.password, names, found, said))


def router_password(spec):
    """Return the password of PgBouncer's role that this host should use now."""
    wish, found = spec.pgbouncer.password, of_router()
    if found in (None, wish):
        return wish
    return wish if any(all_take(spec, spec.data_nodes, wish, ROUTER_ROLE).values()) else found
