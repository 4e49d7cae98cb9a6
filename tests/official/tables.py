"""The tables of networks and data sets, as they stand in the documentation."""

import dataclasses
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = "docs/networks_and_data.md"


def table(page: str, column: str) -> list[dict[str, str]]:
    """The rows of the table that has such a column."""
    lines = (ROOT / page).read_text().splitlines()
    (head,) = (i for i, line in enumerate(lines) if f"| {column} |" in line)
    names, _, *rows = (_cells(line) for line in lines[head : lines.index("", head)])
    return [dict(zip(names, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]


@dataclasses.dataclass(frozen=True)
class Size:
    """How many parameters a network has, and how many its publication says it has."""

    parameters: int
    published: str
    input_shape: tuple[int, ...]
    classes: int


SIZES = {
    row["name"]: Size(
        int(row["parameters"].replace(",", "")),
        row["published"].strip("-"),
        tuple(map(int, row["input"].split("x"))),
        int(row["classes"]),
    )
    for row in table(PAGE, "published")
}
