"""How it is done: stages are computed once, kept, and gone on with where they stopped."""
