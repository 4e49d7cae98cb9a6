"""Reusable parts of an image-classification program: data, networks, recipes.

Nothing here knows what the project built on it studies.
"""
