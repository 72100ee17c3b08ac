"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677)."""

import base64
import binascii
import hashlib
import hmac


def matches(verifier, password):
    """Return whether a stored verifier was made from ``password``.

    verifier
        ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, or None for a role
        without a password. Anything else, such as an MD5 hash, does not match.
    password
        Clear text. One that SASLprep (RFC 4013) would change never matches; the pillar
        refuses those.
    """
    try:
        mechanism, parameters, keys = (verifier or "").split("$")
        iterations, salt = parameters.split(":")
        stored = base64.b64decode(keys.split(":")[0], validate=True)
        salt = base64.b64decode(salt, validate=True)
        rounds = int(iterations)
    except (ValueError, binascii.Error):
        return False
    if mechanism != "SCRAM-SHA-256":
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), stored)
