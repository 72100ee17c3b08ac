"""A minion's pillar as it is on the master now."""

import salt.pillar


def compiled(opts, grains):
    """Return the pillar of this minion.

    opts, grains
        Salt's ``__opts__`` and ``__grains__``.

    The minion's own copy may be older than the files on the master, and the pillar modules mask
    values for callers in Python since Salt 3008.
    """
    return salt.pillar.get_pillar(
        opts,
        grains.value() if hasattr(grains, "value") else dict(grains),
        opts["id"],
        opts.get("saltenv"),
        pillarenv=opts.get("pillarenv"),
    ).compile_pillar()
