"""The program: from flags to a table of results."""
