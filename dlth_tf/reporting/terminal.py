"""The comparison for a terminal: a table with a small chart in every row."""

import io

from rich.console import Console
from rich.table import Table

from dlth_tf.experiment.plan.methods import written
from dlth_tf.experiment.results.comparison import Cell, Comparison, reached
from dlth_tf.reporting.records import Experiment

_WIDEST, _NARROWEST = 48, 16
_LEGEND = """\
Test accuracy %, mean ± sample standard deviation over n seeds; cost in images
seen, relative to dense.
● mean, ├─┤ spread, · seeds, ★ best, ≈ close to it: may be chance."""


def as_text(experiment: Experiment, comparison: Comparison, columns: int = 80) -> str:
    """The report in so many columns: means, spreads and seeds on one scale."""
    text = _table(comparison, columns) if comparison.cells else "No run is finished."
    for lead, lines in experiment.notices().items():
        text += "\n".join(["", "", f"{lead}:", *(f"  {line}" for line in lines)])
    return text


def printable(text: str, encoding: str) -> str:
    """The text as it is where the encoding has its signs, else drawn with plain ones."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(str.maketrans("─├┤●·★≈±λ", "-||o.*~+l"))
        text = text.encode(encoding, "replace").decode(encoding)
    return text


def _table(comparison: Comparison, columns: int) -> str:
    names = max(13, *(len(method) for method in comparison.methods))
    width = min(_WIDEST, max(_NARROWEST, columns - names - 32))
    low, high = reached(comparison.cells)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    rows = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for place in range(6):
        rows.add_column(no_wrap=True, justify="right" if place in (3, 4) else "left")
    ends = f"{low:<{width // 2}.1f}{high:>{width - width // 2}.1f}"
    blocks = [(f"sparsity {written(s)}", comparison.at(s)) for s in comparison.sparsities]
    if comparison.dense:
        blocks.insert(0, ("dense", [comparison.dense]))
    for heading, cells in blocks:
        best = comparison.best(cells[0].sparsity)
        close = comparison.close(cells[0].sparsity)
        rows.add_row()
        rows.add_row(heading, "", "accuracy", "cost", "n", ends)
        for cell in cells:
            mark = "★" if cell is best else "≈" * (cell in close)
            cost = "" if cell.cost is None else f"{cell.cost:.2f}x"
            numbers = cell.accuracy, cost, str(len(cell.runs))
            rows.add_row(cell.method, mark, *numbers, _chart(cell, width, low, high))
    console = Console(file=io.StringIO(), width=1000, markup=False, highlight=False)
    with console.capture() as printed:
        console.print(rows)
    lines = [line.rstrip() for line in printed.get().splitlines()]
    return "\n".join([_LEGEND, *lines])


def _chart(cell: Cell, width: int, low: float, high: float) -> str:
    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    drawn = [" "] * width
    if len(cell.runs) > 1:
        begin, end = map(column, cell.reach)
        drawn[begin : end + 1] = "├" + "─" * (end - begin - 1) + "┤"
    for value in cell.percents:
        drawn[column(value)] = "·"
    drawn[column(cell.mean)] = "●"
    return "".join(drawn)
