"""How long things take, next to what they could take at best: ``scripts/bench``."""
