"""Everything the loader modules share; nothing in here needs Salt's dunders."""
