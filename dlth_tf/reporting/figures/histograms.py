"""How the weights are distributed before, between and after."""

import math

import numpy as np

from dlth_tf.reporting.canvas import WIDTH, Panel, canvas
from dlth_tf.reporting.comparison import Cell
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.styles import KEPT, REMOVED
from dlth_tf.reporting.weights import Moment, WeightsOfRun

_BINS = 61
_ROW = 104


def weight_histograms(experiment: Experiment, cell: Cell) -> Panel | None:
    """One above the other on one scale, for the first seed whose weights are there."""
    for run in cell.runs:
        moments = WeightsOfRun(experiment, run).moments()
        if len(moments) > 1:
            return _draw(cell, run.seed, moments)
    return None


def _draw(cell: Cell, seed: int, moments: list[Moment]) -> Panel:
    reach = max(_reach(part) for m in moments for part in (m.kept, m.removed)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)
    with canvas(height=68 + _ROW * len(moments)) as sheet:
        for place, moment in enumerate(moments):
            axes = sheet.axes(
                left=34, top=30 + _ROW * place + 18, right=8,
                bottom=46 + _ROW * (len(moments) - 1 - place),
            )  # fmt: skip
            _one(axes, moment, edges)
            _heading(sheet, 42 + _ROW * place, moment)
            axes.tick_params(labelbottom=place == len(moments) - 1)
        axes.set_xlabel("weight")
        title = f"{cell.title} · seed {seed}"
        return sheet.panel(f"weights-{cell.key}", title, _alt(cell, moments))


def _reach(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(np.quantile(finite, 0.99)) if finite.size else 0.0


def _one(axes, moment: Moment, edges: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    gone = not moment.removed.any()
    for values, colour, name, line in (
        (moment.removed, REMOVED, "removed", (0, (3, 1.2))),
        (moment.kept, KEPT, "kept", "-"),
    ):
        if name == "removed" and gone:
            continue
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts, edges, color=colour, lw=1.2, ls=line, label=name)
        axes.stairs(counts, edges, color=colour, fill=True, alpha=0.16)
    axes.set_yscale("symlog", linthresh=1, linscale=0.4)
    axes.set_ylim(0)
    axes.set_xlim(edges[0], edges[-1])
    highest = math.log10(max(axes.get_ylim()[1], 1))
    axes.set_yticks(
        [10**power for power in range(0, int(highest) + 1, 1 + (highest > 3))]
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
    axes.yaxis.set_minor_locator(MaxNLocator(1))
    axes.minorticks_off()


def _heading(sheet, y: float, moment: Moment) -> None:
    """What moment it is, and how many weights are behind each colour."""
    gone = ", all 0" if not moment.removed.any() else ""
    sheet.text(2, y, moment.name, size=10.5)
    sheet.text(
        WIDTH - 8,
        y,
        f"removed {moment.removed.size:,}{gone}",
        ha="right",
        color=REMOVED,
        size=10,
    )
    sheet.text(
        WIDTH - 132, y, f"kept {moment.kept.size:,}", ha="right", color=KEPT, size=10
    )


def _short(count: float) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"


def _alt(cell: Cell, moments: list[Moment]) -> str:
    parts = []
    for moment in moments:
        removed = _deviation(moment.removed)
        parts.append(f"{moment.name}: kept {_deviation(moment.kept)}, removed {removed}")
    return (
        f"Histograms of the weights of {cell.title}. Standard deviations: "
        f"{'; '.join(parts)}."
    )


def _deviation(values: np.ndarray) -> str:
    return f"{values.std():.2g}" if values.size else "none"
