"""The report's figures, each drawn by a function of its own."""
