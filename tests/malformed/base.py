"""A good pillar and the means to spoil it."""

import base64
import copy
from typing import NamedTuple

PASSWORD = "correct:horse\\battery"


def _ssh_string(text):
    return len(text).to_bytes(4, "big") + text


def _private_key(cipher):
    """The form of an OpenSSH private key, without a key in it."""
    blob = b"openssh-key-v1\0" + _ssh_string(cipher) + bytes(90)
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    kind = "OPENSSH PRIVATE KEY"
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


_PUBLIC_BLOB = _ssh_string(b"ssh-ed25519") + _ssh_string(bytes(32))
PUBLIC_KEY = f"ssh-ed25519 {base64.b64encode(_PUBLIC_BLOB).decode()} postgres@foobar"
PRIVATE_KEY = _private_key(b"none")
PRIVATE_KEY_WITH_PASSPHRASE = _private_key(b"aes256-ctr")

GOOD = {
    "cluster": "foobar",
    "subnet": "192.168.1.0/24",
    "nodes": {
        "node1": {"id": 1, "host": "192.168.1.10", "role": "primary"},
        "node2": {"id": 2, "host": "192.168.1.20"},
        "node3": {"id": 3, "host": "192.168.1.30", "priority": 50, "location": "dc2"},
        "node4": {"id": 4, "host": "192.168.1.40", "role": "witness"},
        "node5": {"id": 5, "host": "192.168.1.50", "ensure": "absent"},
    },
    "password": PASSWORD,
}
REMOVE = object()


class Case(NamedTuple):
    """One malformed pillar.

    pillar
        The value of the pillar key ``repmgr``; plain data that YAML can carry.
    keys
        Exactly the keys that have to be named.
    fragment
        Part of the message of the first of ``keys``.
    """

    name: str
    pillar: object
    keys: tuple
    fragment: str


def changed(changes):
    """A copy of the good pillar with changes such as ``{"nodes:node2:id": 7}``."""
    pillar = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split(":")
        target = pillar
        for parent in parents:
            target = target.setdefault(parent, {})
        if value is REMOVE:
            del target[last]
        else:
            target[last] = copy.deepcopy(value)
    return pillar


def one(name, path, value, fragment, key=None):
    """A case with one changed value, refused under its own key or the one given."""
    keys = (key or "repmgr." + path.replace(":", "."),)
    return Case(name, changed({path: value}), keys, fragment)


def many(name, changes, keys, fragment):
    """A case with several changes; ``keys`` is one key or a tuple of them."""
    return Case(name, changed(changes), (keys,) if isinstance(keys, str) else keys, fragment)
