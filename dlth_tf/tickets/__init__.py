"""Tickets: what is removed, how much of each layer, by chance or by score."""
