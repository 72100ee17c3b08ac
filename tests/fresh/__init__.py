"""The README's two commands on a machine as Debian's installer leaves it: ``scripts/test fresh``."""
