"""Read the password and the SSH keys; no message of this file contains any of them."""

import base64
import binascii
import re
import stringprep
import unicodedata

from saltext_repmgr.utils import checks
from saltext_repmgr.utils.checks import MISSING

MINIMUM_LENGTH = 8
PUBLIC_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
SSH_KEYS = ("public_key", "private_key")

_MD5 = re.compile(r"md5[0-9a-f]{32}")
_SCRAM = re.compile(r"SCRAM-SHA-256\$\d+:")
# What stands for a secret in a pillar file as long as nothing has turned it into one.
_ENCRYPTED = re.compile(
    r"\s*(ENC\[|\$ANSIBLE_VAULT;|-----BEGIN AGE ENCRYPTED|age-encryption\.org/|vault:v\d+:)"
)
_TEMPLATE = re.compile(r"\s*(\{\{.*\}\}|\{%.*%\}|\$\{.*\}|<%.*%>)\s*", re.DOTALL)
_REFERENCE = re.compile(
    r"\s*([a-z][a-z0-9+.-]*://|!(vault|secret|env|file)\b|__slot__:"
    r"|(vault|sdb|sops|ssm|keyring|secretref|env|file):)",
    re.IGNORECASE,
)
_PEM_BEGIN = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
_PEM_END = re.compile(r"-----END ([A-Z]+ )*PRIVATE KEY-----")
_OPENSSH_MAGIC = b"openssh-key-v1\0"


def password(problems, key, value):
    """The password of the repmgr role in clear text, or ``None``."""
    if value is MISSING:
        problems.add(
            key, f"is missing; write a password of {MINIMUM_LENGTH} characters or more, in quotes"
        )
        return None
    mistake = _password_mistake(value)
    if mistake:
        problems.add(key, mistake)
        return None
    return value


def _password_mistake(value):
    if not isinstance(value, str):
        return f"is {checks.kind(value)}; write a string, in quotes"
    if not value.strip():
        return f"is empty; write a password of {MINIMUM_LENGTH} characters or more"
    if hint := _unrendered(value):
        return hint
    if not checks.is_one_line(value):
        return "contains a line break; write it on one line (not as a YAML block)"
    if checks.is_masked(value):
        return "is only asterisks, Salt's mask for a hidden value; write the password itself"
    if _MD5.fullmatch(value) or _SCRAM.match(value):
        return "is a hash; write the clear text, the standbys need it to connect"
    if len(value) < MINIMUM_LENGTH:
        return f"is too short; write {MINIMUM_LENGTH} characters or more"
    if _is_prepared_differently(value):
        return (
            "contains characters that PostgreSQL turns into others before it compares passwords"
            " (a ligature, a special space, an invisible character); write it without them"
        )
    return None


def _unrendered(value):
    """What to do about a text that only stands for the secret, or ``None``."""
    if "-----BEGIN PGP MESSAGE" in value:
        return "is still encrypted; render the pillar with the gpg renderer ('#!yaml|gpg')"
    if _ENCRYPTED.match(value):
        return "is still encrypted; have the pillar decrypt it, for example with '#!yaml|gpg'"
    if _TEMPLATE.fullmatch(value):
        return "is a template that nothing has rendered; begin the pillar file with '#!jinja|yaml'"
    if _REFERENCE.match(value):
        return (
            "names a place where the secret is kept and is not the secret; have the pillar fetch"
            " it, for example with {{ salt['sdb.get']('sdb://…') }}"
        )
    return None


def _is_prepared_differently(value):
    """Whether SASLprep (RFC 4013) changes a string; then the stored verifier could never
    be compared with what pillar says."""
    changed = unicodedata.normalize("NFKC", value) != value
    return changed or any(
        stringprep.in_table_b1(character) or stringprep.in_table_c12(character)
        for character in value
    )


def ssh(problems, key, value):
    """``{"public_key": …, "private_key": …}``, or ``None`` where none is wanted."""
    if value is MISSING or value is None:
        return None
    pair = checks.mapping_or_none(problems, key, value)
    if pair is None:
        return None
    checks.unknown_keys(problems, key, pair, SSH_KEYS)
    return {
        "public_key": _public_key(problems, f"{key}.public_key", pair.get("public_key", MISSING)),
        "private_key": _private_key(
            problems, f"{key}.private_key", pair.get("private_key", MISSING)
        ),
    }


def _public_key(problems, key, value):
    text = _text(problems, key, value, "one line such as 'ssh-ed25519 AAAA… comment'")
    if text is None:
        return None
    words = text.split()
    if "PRIVATE KEY" in text:
        problems.add(key, "holds a private key; write the public one (the .pub file)")
    elif not checks.is_one_line(text):
        problems.add(key, "has several lines; write one public key on one line")
    elif words[0] not in PUBLIC_KEY_TYPES:
        problems.add(
            key, f"begins with no known key type; known types: {', '.join(PUBLIC_KEY_TYPES)}"
        )
    elif len(words) < 2 or not _is_key_blob(words[0], words[1]):
        problems.add(key, f"has no valid {words[0]} key after the type; copy the .pub file again")
    else:
        return text
    return None


def _is_key_blob(key_type, encoded):
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    # An SSH key blob repeats its type as its first length-prefixed string.
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")] == key_type.encode()


def _private_key(problems, key, value):
    text = _text(problems, key, value, "the whole private key as a YAML block ('|')")
    if text is None:
        return None
    lines = text.replace("\r\n", "\n").split("\n")
    if hint := _unrendered(text):
        problems.add(key, hint)
    elif not text.startswith("-----BEGIN"):
        problems.add(key, "does not begin with -----BEGIN; write the whole file as a YAML block")
    elif not _PEM_BEGIN.fullmatch(lines[0]):
        problems.add(key, "is not a private key; write the file without .pub")
    elif not _PEM_END.fullmatch(lines[-1]):
        problems.add(key, "has no -----END line; write the whole file as a YAML block")
    elif _has_passphrase(lines):
        problems.add(key, "is protected by a passphrase; write a key without one")
    else:
        return "\n".join(lines) + "\n"
    return None


def _has_passphrase(lines):
    if "ENCRYPTED" in lines[0] or any("ENCRYPTED" in line for line in lines[1:3]):
        return True
    try:
        blob = base64.b64decode("".join(lines[1:-1]))
    except (binascii.Error, ValueError):
        return False
    if not blob.startswith(_OPENSSH_MAGIC):
        return False
    rest = blob[len(_OPENSSH_MAGIC) :]
    return rest[4 : 4 + int.from_bytes(rest[:4], "big")] != b"none"


def _text(problems, key, value, what):
    if value is MISSING:
        problems.add(key, f"is missing; write {what}")
    elif not isinstance(value, str):
        problems.add(key, f"is {checks.kind(value)}; write {what}")
    elif not value.strip():
        problems.add(key, f"is empty; write {what}")
    elif checks.is_masked(value):
        problems.add(key, f"is only asterisks, Salt's mask for a hidden value; write {what}")
    else:
        return value.strip()
    return None
