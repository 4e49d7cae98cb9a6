"""Learning curves: a method's trainings, one after the other."""

import math
from collections.abc import Sequence

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.canvas import Panel, canvas, plain_number
from dlth_tf.reporting.comparison import Cell
from dlth_tf.reporting.records import RunRecord
from dlth_tf.reporting.styles import BAND, INK, SOFT_INK

_SHADES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINES = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))
_LEFT, _RIGHT = 40, 62


def learning_curves(method: str, cells: Sequence[Cell]) -> Panel | None:
    """Accuracy and loss over epochs, a line per sparsity: the mean over its seeds."""
    cells = [cell for cell in cells if any(run.phases for run in cell.runs)]
    if not cells:
        return None
    with canvas(height=312) as sheet:
        upper = sheet.axes(_LEFT, 46, _RIGHT, 170)
        lower = sheet.axes(_LEFT, 172, _RIGHT, 40, sharex=upper)
        for place, cell in enumerate(cells):
            look = {
                "color": _SHADES[place % 6] if len(cells) > 1 else INK,
                "ls": _LINES[place % 4],
            }
            _curve(upper, cell, "accuracy", 100, lw=1.4, **look)
            _curve(upper, cell, "val_accuracy", 100, lw=2.6, alpha=0.45, **look)
            _curve(lower, cell, "loss", 1, lw=1.4, **look)
        _phases(upper, lower, cells[-1].runs[0])
        _axes(upper, lower)
        _names(upper, cells)
        sheet.text(2, 34, "accuracy %", size=9, color=SOFT_INK)
        sheet.text(2, 166, "loss", size=9, color=SOFT_INK)
        return sheet.panel(f"learning-{method}", method, _alt(method, cells))


def mean_course(runs: Sequence[RunRecord], metric: str) -> list[float]:
    """A metric over all epochs of a run, averaged over the runs that got so far."""
    courses = [[v for p in run.phases for v in p.series(metric)] for run in runs]
    length = max(map(len, courses), default=0)
    averaged = []
    for epoch in range(length):
        values = [c[epoch] for c in courses if epoch < len(c)]
        values = [value for value in values if math.isfinite(value)]
        averaged.append(sum(values) / len(values) if values else math.nan)
    return averaged


def _curve(axes, cell: Cell, metric: str, scale: float, **look) -> None:
    values = [scale * value for value in mean_course(cell.runs, metric)]
    if any(map(math.isfinite, values)):
        axes.plot(range(1, len(values) + 1), values, **look)


def _phases(upper, lower, run: RunRecord) -> None:
    """Shades every second training and names them all."""
    begin = 0
    for place, phase in enumerate(run.phases):
        end = begin + len(phase.epochs)
        if place % 2:
            for axes in (upper, lower):
                axes.axvspan(begin + 0.5, end + 0.5, color=BAND, lw=0, zorder=0)
        if len(run.phases) <= 3:
            upper.annotate(
                _name(run, place), ((begin + end + 1) / 2, 1), ha="center", size=9,
                xycoords=("data", "axes fraction"), xytext=(0, 3), color=SOFT_INK,
                textcoords="offset points",
            )  # fmt: skip
        begin = end


def _name(run: RunRecord, place: int) -> str:
    if run.phases[place].transforms:
        return "transformation"
    if place < len(run.phases) - 1:
        return "pretraining"
    return "finetuning" if run.sparsity else "training"


def _axes(upper, lower) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    lower.set_yscale("log")
    lower.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
    lower.yaxis.set_major_formatter(FuncFormatter(plain_number))
    lower.minorticks_off()
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    lower.set_xlabel("epochs, all trainings in a row")
    upper.tick_params(labelbottom=False)
    for axes in (upper, lower):
        axes.grid(axis="y")
    upper.set_ylim(top=100.5)
    upper.margins(x=0.01)


def _names(axes, cells: Sequence[Cell]) -> None:
    if len(cells) > 1:
        axes.legend(
            axes.get_lines()[: len(cells)], [written(cell.sparsity) for cell in cells],
            title="sparsity", title_fontsize=9, fontsize=9, frameon=False,
            loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1.8,
            borderaxespad=0.2,
        )  # fmt: skip


def _alt(method: str, cells: Sequence[Cell]) -> str:
    parts = []
    for cell in cells:
        accuracy = mean_course(cell.runs, "accuracy")
        loss = mean_course(cell.runs, "loss")
        parts.append(
            f"{cell.title}: after {len(loss)} epochs training loss {loss[-1]:.3g}, "
            f"training accuracy {100 * accuracy[-1]:.1f} percent"
        )
    return f"Learning curves of {method}. {'; '.join(parts)}."
