"""Training a network: the recipe and what carries it out."""
