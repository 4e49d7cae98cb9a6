"""How far apart the methods lie at one sparsity."""

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.canvas import Panel, canvas, padded
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.styles import BAND, INK, SOFT_INK, Style

_ROW = 19


def at_sparsity(comparison: Comparison, look: dict[str, Style], sparsity: float) -> Panel:
    """A row for each method: its mean, its spread, and a stroke for every seed."""
    cells = comparison.at(sparsity)
    left = 16 + 6.4 * max(5, *(len(cell.method) for cell in cells))
    with canvas(height=80 + _ROW * len(cells)) as sheet:
        axes = sheet.axes(left=left, top=30, right=92, bottom=40)
        axes.grid(axis="x")
        for place, cell in enumerate(cells):
            _row(axes, place, cell, look[cell.method])
        axes.set_yticks(range(len(cells)), [cell.method for cell in cells])
        axes.tick_params(axis="y", labelcolor=INK, labelsize=10.5)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.set_xlim(*padded(*Comparison(tuple(cells)).range()))
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("test accuracy %")
        if comparison.dense:
            _dense(axes, comparison.dense)
        return sheet.panel(
            f"accuracy-at-{written(sparsity)}",
            f"Sparsity {written(sparsity)}",
            _alt(comparison, sparsity),
        )


def _row(axes, place: int, cell: Cell, style: Style) -> None:
    axes.plot(cell.percents, [place] * len(cell.percents), "|", color=INK, ms=7, mew=0.8)
    axes.errorbar(
        cell.mean, place, xerr=cell.spread, fmt=style.marker, color=style.colour,
        mfc=style.face, mec=style.colour, ms=7.5, elinewidth=2, capsize=0,
    )  # fmt: skip
    axes.annotate(
        cell.accuracy, (1, place), xycoords=("axes fraction", "data"), xytext=(8, 0),
        textcoords="offset points", va="center",
    )  # fmt: skip


def _dense(axes, dense: Cell) -> None:
    """A band where the dense network lies, or an arrow to where it lies outside."""
    low, high = axes.get_xlim()
    if low < dense.mean < high:
        reach = dense.spread or 0.0
        axes.axvspan(dense.mean - reach, dense.mean + reach, color=BAND, lw=0, zorder=0)
        axes.axvline(dense.mean, color=SOFT_INK, lw=1.2, ls=(0, (4, 2)), zorder=1)
        axes.set_xlim(low, high)
        text, place, side = "dense", (dense.mean, 1), "center"
    elif dense.mean >= high:
        text, place, side = f"dense {dense.mean:.2f} →", (high, 1), "right"
    else:
        text, place, side = f"← dense {dense.mean:.2f}", (low, 1), "left"
    axes.annotate(
        text, place, xycoords=("data", "axes fraction"), xytext=(0, 2), ha=side,
        textcoords="offset points", color=SOFT_INK, size=9,
    )  # fmt: skip


def _alt(comparison: Comparison, sparsity: float) -> str:
    cells = comparison.at(sparsity)
    listed = "; ".join(f"{c.method} {c.accuracy} (n={len(c.runs)})" for c in cells)
    dense = f" Dense: {comparison.dense.accuracy}." if comparison.dense else ""
    return f"Test accuracy in percent at sparsity {written(sparsity)}: {listed}.{dense}"
