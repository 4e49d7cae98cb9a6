"""Tables in Markdown, row by row as the figures come."""

from collections.abc import Iterable


def row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
