"""Which PostgreSQL a release brings."""

from saltext_repmgr.utils.errors import UsageError

# os-release ID and VERSION_ID -> PostgreSQL major version in the release's own archive.
POSTGRES_VERSION = {
    ("debian", "11"): 13,
    ("debian", "12"): 15,
    ("debian", "13"): 17,
    ("ubuntu", "22.04"): 14,
    ("ubuntu", "24.04"): 16,
}


def postgres_version(release):
    """Return the PostgreSQL major version of a release, ``(ID, VERSION_ID)``."""
    try:
        return POSTGRES_VERSION[tuple(release)]
    except KeyError:
        known = ", ".join(" ".join(r) for r in POSTGRES_VERSION)
        raise UsageError(
            f"no default PostgreSQL version is known for {' '.join(release)} (known: {known});"
            " set repmgr:postgres:version and provide its packages"
        ) from None
