"""Coupled channels: which filters of a network can only be removed together."""
