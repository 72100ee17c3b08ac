"""A cluster from nothing, to look at: ``scripts/demo``."""
