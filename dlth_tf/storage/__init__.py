"""Files: whole or absent, compact, safe to load from a stranger."""
