"""Accuracy over what the training costs."""

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.canvas import Panel, canvas, padded, plain_number, spread_out
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.figures.labels import Label, label_column, label_width
from dlth_tf.reporting.styles import SOFT_INK, Style


def over_cost(
    comparison: Comparison, look: dict[str, Style], sparsity: float
) -> Panel | None:
    """A point for each method at one sparsity, and dense; None if no cost is known."""
    cells = [*comparison.at(sparsity), comparison.dense]
    cells = [cell for cell in cells if cell and cell.cost is not None]
    if not cells:
        return None
    with canvas(height=max(240, 90 + 14 * len(cells))) as sheet:
        right = label_width([cell.method for cell in cells])
        axes = sheet.axes(left=36, top=44, right=right, bottom=40)
        axes.grid()
        _cost_axis(axes, cells)
        axes.set_ylim(*padded(*Comparison(tuple(cells)).range()))
        costs = _side_by_side(axes, cells)
        for cell, cost in zip(cells, costs, strict=True):
            style = look[cell.method]
            axes.errorbar(
                cost, cell.mean, yerr=cell.spread, fmt=style.marker, color=style.colour,
                mfc=style.face, mec=style.colour, ms=7, elinewidth=1.4, capsize=3,
            )  # fmt: skip
        sheet.text(2, 34, "test accuracy %", size=9, color=SOFT_INK)
        labels = [
            Label(cell.method, (cost, cell.mean), look[cell.method])
            for cell, cost in zip(cells, costs, strict=True)
        ]
        label_column(sheet, axes, labels)
        listed = "; ".join(f"{c.method} {c.accuracy} at {c.cost:.2f}x" for c in cells)
        return sheet.panel(
            f"accuracy-over-cost-{written(sparsity)}",
            f"Sparsity {written(sparsity)}",
            f"Test accuracy in percent over training cost relative to dense, at "
            f"sparsity {written(sparsity)}: {listed}.",
        )


def _side_by_side(axes, cells: list[Cell]) -> list[float]:
    """The costs, moved a little where one point would hide another."""
    pixels = [axes.transData.transform((cell.cost, cell.mean))[0] for cell in cells]
    apart = spread_out(pixels, min(9.0, 120 / len(cells)))
    return [axes.transData.inverted().transform((x, 0))[0] for x in apart]


def _cost_axis(axes, cells: list[Cell]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    lowest, highest = min(c.cost for c in cells), max(c.cost for c in cells)
    if lowest > 0 and highest / lowest > 6:
        axes.set_xscale("log")
        axes.set_xlim(lowest / 1.3, highest * 1.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, 1.1 * max(highest, 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{plain_number(x)}x"))
    axes.set_xlabel("images seen, relative to dense")
