"""The comparison for a terminal: a table with a small chart in every row."""

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.missing import begun_line, failed_lines, missing_lines
from dlth_tf.reporting.reading import Experiment

_WIDEST, _NARROWEST = 48, 16
_LEGEND = """\
Test accuracy %, mean ± sample standard deviation over n seeds; cost in images seen,
relative to dense. ● mean, ├─┤ spread, · seeds, ★ best, ≈ close to it: may be chance."""


def as_text(experiment: Experiment, comparison: Comparison, columns: int = 80) -> str:
    """The report in so many columns: means, spreads and seeds on one scale."""
    lines = _blocks(comparison, columns) if comparison.cells else ["No run is finished."]
    for lead, listed in (
        ("Failed", failed_lines(experiment)),
        ("Not finished", missing_lines(experiment)),
        ("In progress", [begun_line(begun) for begun in experiment.begun]),
        ("Passed over", experiment.skipped),
    ):
        if listed:
            lines += ["", f"{lead}:", *(f"  {line}" for line in listed)]
    return "\n".join(lines)


def _blocks(comparison: Comparison, columns: int) -> list[str]:
    names = max(13, *(len(method) for method in comparison.methods))
    width = min(_WIDEST, max(_NARROWEST, columns - names - 32))
    low, high = _scale(comparison)
    dense = [comparison.dense] if comparison.dense else []
    blocks = [("dense", dense)] if dense else []
    for sparsity in comparison.sparsities:
        blocks.append((f"sparsity {written(sparsity)}", comparison.at(sparsity)))
    lines = _LEGEND.splitlines()
    for heading, cells in blocks:
        ends = f"{low:<{width // 2}.1f}{high:>{width - width // 2}.1f}"
        lines += ["", f"{heading:<{names}}  {'accuracy':<13}  {'cost':>6}  n {ends}"]
        lines += [_row(comparison, cell, names, width, low, high) for cell in cells]
    return lines


def _row(comparison, cell: Cell, names: int, width: int, low: float, high: float) -> str:
    best = None if cell is comparison.dense else comparison.best(cell.sparsity)
    mark = " " if not best else "★" if cell is best else "≈" * cell.close_to(best) or " "
    cost = "" if cell.cost is None else f"{cell.cost:.2f}x"
    chart = _chart(cell, width, low, high)
    return (
        f"{cell.method:<{names}} {mark}{cell.accuracy:<14} {cost:>6} {len(cell.runs):>2} "
        f"{chart}"
    ).rstrip()


def _chart(cell: Cell, width: int, low: float, high: float) -> str:
    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    drawn = [" "] * width
    if cell.spread is not None:
        begin, end = column(cell.mean - cell.spread), column(cell.mean + cell.spread)
        drawn[begin : end + 1] = "─" * (end + 1 - begin)
        drawn[begin], drawn[end] = "├", "┤"
    for value in cell.percents:
        drawn[column(value)] = "·"
    drawn[column(cell.mean)] = "●"
    return "".join(drawn)


def _scale(comparison: Comparison) -> tuple[float, float]:
    low, high = comparison.range()
    return (low, high) if high > low else (low - 0.5, high + 0.5)
