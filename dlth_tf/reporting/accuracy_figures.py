"""Accuracy: over sparsity, at one sparsity, over what the training costs, over epochs."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from dlth_tf.experiment.plan.methods import written
from dlth_tf.experiment.results.comparison import Cell, Comparison, reached
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting import drawing
from dlth_tf.reporting.drawing import BAND, INK, SOFT_INK, Panel, Style, styles

_TOGETHER = 6
_BESIDE = 8.0
_DENSE: Style = {"color": SOFT_INK, "lw": 1.2, "ls": (0, (4, 2)), "zorder": 1}
_SHADES = [drawing.COLOURS[place] for place in (3, 0, 2, 5, 1, 4)]


def groups(comparison: Comparison) -> list[list[str]]:
    """The methods that have a sparsity, no more together than a reader can follow."""
    sparse = {cell.method for cell in comparison.sparse}
    methods = [method for method in comparison.methods if method in sparse]
    return [methods[i : i + _TOGETHER] for i in range(0, len(methods), _TOGETHER)]


def over_sparsity(comparison: Comparison, group: list[str]) -> Panel:
    """A line for each method of a group, those of other groups in the background."""
    figure, axes = drawing.sheet(270)
    look = styles(comparison.methods)
    lines = {method: comparison.of_method(method) for method in comparison.methods}
    places = [_position(s) for s in comparison.sparsities]
    others = [method for method in lines if method not in group and method != "dense"]
    for method in others:
        means = [cell.mean for cell in lines[method]]
        at = [_position(cell.sparsity) for cell in lines[method]]
        axes.plot(at, means, color=drawing.RULE, lw=1.2)
    by_height = sorted(group, key=lambda method: -lines[method][-1].mean)
    for rank, method in enumerate(by_height):
        at = [_position(cell.sparsity) for cell in lines[method]]
        shift = _BESIDE * (rank - (len(group) - 1) / 2)
        _marks(axes, at, lines[method], look[method], shift)
    if comparison.dense:
        axes.axhspan(*comparison.dense.reach, color=BAND, lw=0, zorder=0)
        axes.axhline(comparison.dense.mean, label="dense", **_DENSE)
    axes.set_xticks(places, [written(s) for s in comparison.sparsities])
    room = 0.15 * (places[-1] - places[0]) or 0.5
    axes.set(title="test accuracy %", xlabel="sparsity")
    axes.set(xlim=(places[0] - room, places[-1] + room), ylim=_ends(comparison.cells))
    axes.grid(axis="y")
    drawing.legend(axes)
    told = [
        f"{m}: " + ", ".join(f"{c.accuracy} at {written(c.sparsity)}" for c in lines[m])
        for m in group
    ]
    alt = f"Test accuracy in percent over sparsity. {'; '.join(told)}."
    name, title = "accuracy-over-sparsity", "Accuracy over sparsity"
    if others:
        part = groups(comparison).index(group) + 1
        name, title = f"{name}-{part}", f"{title}, part {part}"
    return drawing.panel(figure, name, title, alt)


def at_sparsity(comparison: Comparison, sparsity: float) -> Panel:
    """A row for each method: its mean, its spread, and a stroke for every seed."""
    cells, look = comparison.at(sparsity), styles(comparison.methods)
    figure, axes = drawing.sheet(84 + 19 * len(cells))
    for place, cell in enumerate(cells):
        seeds = [place] * len(cell.percents)
        axes.plot(cell.percents, seeds, "|", color=INK, ms=7, mew=0.8)
        marks = look[cell.method] | {"ls": "", "elinewidth": 2}
        axes.errorbar(cell.mean, place, xerr=cell.spread, **marks)
    rows = range(len(cells))
    axes.set_yticks(rows, [cell.method for cell in cells], color=INK)
    axes.set(xlim=_ends(cells), ylim=(len(cells) - 0.4, -0.6), xlabel="test accuracy %")
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x")
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(rows, [cell.accuracy for cell in cells], color=INK)
    for spine in (axes.spines["left"], numbers.spines["right"]):
        spine.set_visible(False)
    told = "; ".join(f"{c.method} {c.accuracy} (n={len(c.runs)})" for c in cells)
    alt = f"Test accuracy in percent at sparsity {written(sparsity)}: {told}."
    if comparison.dense:
        _beside_dense(axes, comparison.dense)
        alt += f" Dense: {comparison.dense.accuracy}."
    name = written(sparsity)
    return drawing.panel(figure, f"accuracy-at-{name}", f"Sparsity {name}", alt)


def over_cost(comparison: Comparison, sparsity: float) -> Panel | None:
    """A point for each method at one sparsity, and dense; None if no cost is known."""
    compared = [cell for cell in (*comparison.at(sparsity), comparison.dense) if cell]
    costs = {cell.method: cell.cost for cell in compared if cell.cost is not None}
    if not costs:
        return None
    cells = [cell for cell in compared if cell.method in costs]
    figure, axes = drawing.sheet(max(240, 70 + 15 * len(cells)))
    low, high = min(costs.values()), max(costs.values())
    if low > 0 and high / low > 6:
        axes.set(xscale="log", xlim=(low / 1.3, high * 1.3))
        axes.locator_params(axis="x", subs=(1, 2, 5))
        axes.minorticks_off()
    else:
        axes.set_xlim(0, 1.1 * max(high, 1.0))
    axes.xaxis.set_major_formatter("{x:g}x")
    alike = Counter(f"{cost:.1f}" for cost in costs.values())
    drawn: Counter[str] = Counter()
    for cell in sorted(cells, key=lambda cell: -cell.mean):
        cost = f"{costs[cell.method]:.1f}"
        shift = _BESIDE * (drawn[cost] - (alike[cost] - 1) / 2)
        drawn[cost] += 1
        marks = styles(comparison.methods)[cell.method] | {"ls": ""}
        _marks(axes, [costs[cell.method]], [cell], marks, shift)
    axes.set(title="test accuracy %", xlabel="images seen, relative to dense")
    axes.set_ylim(_ends(cells))
    axes.grid()
    drawing.legend(axes)
    told = "; ".join(f"{c.method} {c.accuracy} at {costs[c.method]:.2f}x" for c in cells)
    at = written(sparsity)
    alt = "Test accuracy in percent over training cost relative to dense, at sparsity "
    alt += f"{at}: {told}."
    return drawing.panel(figure, f"accuracy-over-cost-{at}", f"Sparsity {at}", alt)


def learning_curves(comparison: Comparison, method: str) -> Panel | None:
    """Accuracy and loss over epochs, a line per sparsity: the mean over its seeds."""
    known = comparison.of_method(method)
    cells = [cell for cell in known if any(run.phases for run in cell.runs)]
    if not cells:
        return None
    figure, (upper, lower) = drawing.sheet(312, rows=2)
    told = []
    for place, cell in enumerate(cells):
        metrics = ("accuracy", "loss", "val_accuracy")
        accuracy, loss, held_out = (_course(cell.runs, metric) for metric in metrics)
        epochs = range(1, len(loss) + 1)
        colour = _SHADES[place % 6] if len(cells) > 1 else INK
        look: Style = {"ls": drawing.LINES[place % 4], "color": colour}
        upper.plot(epochs, 100 * accuracy, lw=1.4, label=written(cell.sparsity), **look)
        upper.plot(epochs, 100 * held_out, lw=2.6, alpha=0.45, **look)
        lower.plot(epochs, loss, lw=1.4, **look)
        told.append(
            f"{cell.title}: after {len(loss)} epochs training loss {loss[-1]:.3g}, "
            f"training accuracy {100 * accuracy[-1]:.1f} percent"
        )
    _name_phases(upper, lower, cells[-1].runs[0])
    upper.set(ylabel="accuracy %", ylim=(None, 100.5))
    lower.set(yscale="log", ylabel="loss", xlabel="epochs, all trainings in a row")
    lower.yaxis.set_major_formatter("{x:g}")
    lower.locator_params(axis="y", subs=(1, 2, 5), numticks=6)
    lower.minorticks_off()
    lower.locator_params(axis="x", nbins=6, integer=True)
    for axes in (upper, lower):
        axes.grid(axis="y")
    if len(cells) > 1:
        drawing.legend(upper, title="sparsity")
    alt = f"Learning curves of {method}. {'; '.join(told)}."
    return drawing.panel(figure, f"learning-{method}", method, alt)


def _marks(
    axes: Axes, places: list[float], cells: list[Cell], style: Style, shift: float
) -> None:
    """Means and spreads, so many points aside that no error bar hides another."""
    aside = offset_copy(axes.transData, axes.get_figure(True), shift, 0, "points")
    means, spreads = [cell.mean for cell in cells], [cell.spread for cell in cells]
    axes.plot(places, means, label=cells[0].method, lw=1.6, transform=aside, **style)
    bars: Any = {"ecolor": style["color"], "elinewidth": 1.4, "capsize": 3}
    axes.errorbar(places, means, spreads, fmt="none", transform=aside, **bars)


def _position(sparsity: float) -> float:
    """Where a sparsity lies: each halving of the weights left is one step."""
    return -math.log2(max(1.0 - sparsity, 1e-9))


def _ends(cells: Sequence[Cell]) -> tuple[float, float]:
    """Of an axis that has room for all cells."""
    low, high = reached(cells)
    room = max(0.06 * (high - low), 0.05)
    return low - room, high + room


def _beside_dense(axes: Axes, dense: Cell) -> None:
    """A band where the dense network lies, or an arrow to where it lies outside."""
    low, high = axes.get_xlim()
    if low < dense.mean < high:
        axes.axvspan(*dense.reach, color=BAND, lw=0, zorder=0)
        axes.axvline(dense.mean, **_DENSE)
        axes.set_xlim(low, high)
        place = (dense.mean - low) / (high - low)
        axes.set_title("dense", loc="center", x=place)
    elif dense.mean >= high:
        axes.set_title(f"dense {dense.mean:.2f} →", loc="right")
    else:
        axes.set_title(f"← dense {dense.mean:.2f}", loc="left")


def _course(runs: Sequence[Row], metric: str) -> np.ndarray:
    """A metric over all epochs of a run, averaged over the runs that got so far."""
    courses = [[e.get(metric) for phase in r.phases for e in phase] for r in runs]
    epochs = np.array([*itertools.zip_longest(*courses)], float)
    return np.ma.masked_invalid(epochs).mean(axis=1).filled(math.nan)


def _name_phases(upper: Axes, lower: Axes, run: Row) -> None:
    """Shades every second training and names them all, if there are few."""
    end = 0
    for place, phase in enumerate(run.phases):
        begin, end = end, end + len(phase)
        if place % 2:
            for axes in (upper, lower):
                axes.axvspan(begin + 0.5, end + 0.5, color=BAND, lw=0, zorder=0)
        name = "finetuning" if run.sparsity else "training"
        if phase in run.transformations:
            name = "transformation"
        elif place < len(run.phases) - 1:
            name = "pretraining"
        if len(run.phases) <= 3:
            above = upper.get_xaxis_transform()
            middle = (begin + end + 1) / 2
            upper.text(middle, 1.03, name, transform=above, ha="center", size=9)
