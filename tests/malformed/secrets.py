"""Mistakes in the password and the SSH keys."""

from tests.malformed.base import PRIVATE_KEY
from tests.malformed.base import PRIVATE_KEY_WITH_PASSPHRASE
from tests.malformed.base import PUBLIC_KEY
from tests.malformed.base import REMOVE
from tests.malformed.base import many
from tests.malformed.base import one

SECRETS = [
    one("password missing", "password", REMOVE, "is missing"),
    one("password null", "password", None, "is empty; write a string"),
    one("password empty", "password", "", "is empty"),
    one("password blank", "password", " " * 12, "is empty"),
    one("password a number", "password", 1234567890, "is a number; write a string"),
    one("password short", "password", "secret7", "is too short"),
    one("password with a line break", "password", "correct horse\n", "contains a line break"),
    one("password with a NUL", "password", "correct\0horse", "U+0000, a control character"),
    one("password masked by Salt", "password", "*" * 10, "Salt's mask"),
    one("password an md5 hash", "password", "md5" + "0123456789abcdef" * 2, "is a hash"),
    one("password a SCRAM verifier", "password", "SCRAM-SHA-256$4096:c2FsdA==$a:b", "is a hash"),
    one("password of a vault", "password", "vault:secret/repmgr#password", "names a place"),
    one("password of Salt's sdb", "password", "sdb://vault/repmgr", "names a place"),
    one("password a tag", "password", "!vault secret/repmgr", "names a place"),
    one("password of eyaml", "password", "ENC[PKCS7,MIIBiQYJKoZIhvc]", "still encrypted"),
    one("password of ansible", "password", "$ANSIBLE_VAULT;1.1;AES256 6231", "still encrypted"),
    one("password a template", "password", "{{ pillar.secret }}", "nothing has rendered"),
    one("password with U+0085", "password", "correct\x85horse", "U+0085, a line break"),
    one("password with U+2028", "password", "correct\u2028horse", "U+2028, a line break"),
    many(
        "private key encrypted",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": "-----BEGIN PGP MESSAGE-----\n\nhQ==\n"}},
        "repmgr.ssh.private_key",
        "gpg renderer",
    ),
    one("password encrypted", "password", "-----BEGIN PGP MESSAGE-----\n\nhQ==\n", "gpg renderer"),
    one("ssh a string", "ssh", PUBLIC_KEY, "is a string; write a mapping"),
    many(
        "ssh with a further key",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY, "type": "x"}},
        "repmgr.ssh.type",
        "unknown key",
    ),
    many(
        "ssh without private key",
        {"ssh": {"public_key": PUBLIC_KEY}},
        "repmgr.ssh.private_key",
        "is missing",
    ),
    many(
        "ssh without public key",
        {"ssh": {"private_key": PRIVATE_KEY}},
        "repmgr.ssh.public_key",
        "is missing",
    ),
    many(
        "ssh keys exchanged",
        {"ssh": {"public_key": PRIVATE_KEY, "private_key": PUBLIC_KEY}},
        ("repmgr.ssh.private_key", "repmgr.ssh.public_key"),
        "does not begin with -----BEGIN",
    ),
    many(
        "public key of an unknown type",
        {
            "ssh": {
                "public_key": PUBLIC_KEY.replace("ssh-ed25519", "ssh-dss"),
                "private_key": PRIVATE_KEY,
            }
        },
        "repmgr.ssh.public_key",
        "no known key type",
    ),
    many(
        "public key cut off",
        {"ssh": {"public_key": PUBLIC_KEY[:20], "private_key": PRIVATE_KEY}},
        "repmgr.ssh.public_key",
        "has no valid ssh-ed25519 key",
    ),
    many(
        "public key on two lines",
        {"ssh": {"public_key": f"{PUBLIC_KEY}\n{PUBLIC_KEY}", "private_key": PRIVATE_KEY}},
        "repmgr.ssh.public_key",
        "several lines",
    ),
    many(
        "private key masked",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": "**********"}},
        "repmgr.ssh.private_key",
        "Salt's mask",
    ),
    many(
        "private key empty",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": "\n"}},
        "repmgr.ssh.private_key",
        "is empty",
    ),
    many(
        "private key a certificate",
        {
            "ssh": {
                "public_key": PUBLIC_KEY,
                "private_key": PRIVATE_KEY.replace("OPENSSH PRIVATE KEY", "CERTIFICATE"),
            }
        },
        "repmgr.ssh.private_key",
        "is not a private key",
    ),
    many(
        "private key cut off",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY[:-40]}},
        "repmgr.ssh.private_key",
        "has no -----END line",
    ),
    many(
        "private key with a passphrase",
        {"ssh": {"public_key": PUBLIC_KEY, "private_key": PRIVATE_KEY_WITH_PASSPHRASE}},
        "repmgr.ssh.private_key",
        "passphrase",
    ),
]
