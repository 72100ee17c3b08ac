"""The settings of the PostgreSQL servers and the file they are written to."""

from saltext_repmgr.utils import existing
from saltext_repmgr.utils import quoting

HEADER = "# Managed by Salt (saltext-repmgr); change repmgr:postgres:settings in pillar instead.\n"
CAPACITY_STEP = 20
CAPACITY_SETTINGS = ("max_wal_senders", "max_replication_slots")


def minimum_capacity(members):
    """WAL senders or slots that suffice: one for each other member, two for a clone."""
    return max(members - 1, 0) + 2


def default_capacity(members):
    """WAL senders or slots to configure.

    A change needs a restart of every server, so it comes in steps that clusters rarely reach.
    """
    steps = -(-minimum_capacity(members) // CAPACITY_STEP)
    return steps * CAPACITY_STEP


def server_settings(spec, node, found=None):
    """Every setting to write on a node: what repmgr needs, then what the pillar says.

    spec, node
        As in :mod:`saltext_repmgr.utils.spec`. All members get the same settings but for
        the names of their synchronous standbys, as each may become the primary, and a
        standby refuses to run with lower limits than those of its primary.
    found
        What the other files of the node's server say, ``{name: value}`` (str): no default of ours
        lowers that (:mod:`saltext_repmgr.utils.existing`).

    Returns a mapping of setting to bool, int, float, str or a tuple of str.
    """
    capacity = default_capacity(len(spec.members))
    defaults = {
        "listen_addresses": "*",
        "wal_level": "replica",
        "hot_standby": True,
        "max_wal_senders": capacity,
        "max_replication_slots": capacity,
        "wal_log_hints": True,
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": existing.LIBRARY,
        **existing.NEUTRAL,
        **_synchronous(spec, node),
    }
    settings = {
        **existing.merge(defaults, found or {}),
        **spec.postgres.settings,
        "port": spec.postgres.port,
    }
    libraries = existing.with_library(settings["shared_preload_libraries"])
    return {**settings, "shared_preload_libraries": libraries}


def confirming(spec, node):
    """Return ``(number, names)``: how many standbys have to confirm a commit of this node, should
    it be the primary, and which may."""
    if not spec.synchronous:
        return 0, ()
    others = [n.name for n in spec.data_nodes if n.name != node.name]
    number = 1
    if isinstance(spec.synchronous, int):
        number = spec.synchronous
    else:
        # A node that is promoted out of the list has the rest of it, or everybody.
        others = [n for n in spec.synchronous if n != node.name] or others
    return min(number, len(others)), tuple(others)


def _synchronous(spec, node):
    number, others = confirming(spec, node)
    if not number:
        return {}
    names = ", ".join(f'"{name}"' for name in others)
    return {"synchronous_standby_names": f"ANY {number} ({names})"}


def plain_value(value):
    """A value as an argument of the server's program takes it (str)."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def format_value(value):
    """A value as postgresql.conf takes it."""
    if isinstance(value, bool):
        return plain_value(value)
    # An exponent without a decimal point, as in 1e-05, is none to the server's grammar.
    if isinstance(value, (int, float)) and "e" not in str(value):
        return str(value)
    return quoting.config_string(plain_value(value))


def render(settings, header=HEADER):
    """The text of a configuration file with these settings, sorted by name.

    header
        Comment lines to begin with.

    Raises :class:`~saltext_repmgr.utils.errors.UsageError` for a value on several lines.
    """
    lines = (f"{name} = {format_value(value)}\n" for name, value in sorted(settings.items()))
    return header + "".join(lines)
