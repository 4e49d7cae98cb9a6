"""Accuracy: over sparsity, at one sparsity, and over what the training costs."""

import math
from collections import Counter
from collections.abc import Sequence

from dlth_tf.experiment.plan.methods import written
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.drawing import (
    BAND,
    INK,
    RULE,
    SOFT_INK,
    Panel,
    Style,
    legend,
    padded,
    panel,
    sheet,
)

_TOGETHER = 6
_BESIDE = 8.0
_DENSE = {"color": SOFT_INK, "lw": 1.2, "ls": (0, (4, 2)), "zorder": 1}


def groups(comparison: Comparison) -> list[tuple[str, ...]]:
    """The methods that have a sparsity, no more together than a reader can follow."""
    sparse = {cell.method for cell in comparison.sparse}
    methods = tuple(method for method in comparison.methods if method in sparse)
    return [methods[i : i + _TOGETHER] for i in range(0, len(methods), _TOGETHER)]


def over_sparsity(
    comparison: Comparison, look: dict[str, Style], group: Sequence[str]
) -> Panel:
    """A line for each method of a group, those of other groups in the background."""
    figure, axes = sheet(270)
    others = [m for m in comparison.methods if m not in group and m != "dense"]
    for method in others:
        cells = comparison.of_method(method)
        axes.plot(_positions(cells), [c.mean for c in cells], color=RULE, lw=1.2)
    by_height = sorted(group, key=lambda m: -comparison.of_method(m)[-1].mean)
    for rank, method in enumerate(by_height):
        cells, style = comparison.of_method(method), look[method]
        shift = _BESIDE * (rank - (len(group) - 1) / 2)
        _marks(axes, _positions(cells), cells, style, shift, ls=style.line)
    if comparison.dense:
        low, high = _reach(comparison.dense)
        axes.axhspan(low, high, color=BAND, lw=0, zorder=0)
        axes.axhline(comparison.dense.mean, label="dense", **_DENSE)
    places = [_position(s) for s in comparison.sparsities]
    axes.set_xticks(places, [written(s) for s in comparison.sparsities])
    room = 0.15 * (places[-1] - places[0]) or 0.5
    axes.set_xlim(places[0] - room, places[-1] + room)
    axes.set_ylim(*padded(*comparison.range()))
    axes.grid(axis="y")
    axes.set(title="test accuracy %", xlabel="sparsity")
    legend(axes)
    part = groups(comparison).index(tuple(group)) + 1 if others else None
    return panel(
        figure,
        "accuracy-over-sparsity" + (f"-{part}" if part else ""),
        "Accuracy over sparsity" + (f", part {part}" if part else ""),
        _lines_alt(comparison, group),
    )


def at_sparsity(comparison: Comparison, look: dict[str, Style], sparsity: float) -> Panel:
    """A row for each method: its mean, its spread, and a stroke for every seed."""
    cells = comparison.at(sparsity)
    figure, axes = sheet(84 + 19 * len(cells))
    for place, cell in enumerate(cells):
        seeds = [place] * len(cell.percents)
        axes.plot(cell.percents, seeds, "|", color=INK, ms=7, mew=0.8)
        spread = {"xerr": cell.spread, "elinewidth": 2}
        axes.errorbar(cell.mean, place, ls="", **spread, **look[cell.method].marks)
    rows = range(len(cells))
    axes.set_yticks(rows, [cell.method for cell in cells], color=INK)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.set_xlim(*padded(*Comparison(tuple(cells)).range()))
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("test accuracy %")
    axes.grid(axis="x")
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(rows, [cell.accuracy for cell in cells], color=INK)
    for spine in (axes.spines["left"], numbers.spines["right"]):
        spine.set_visible(False)
    if comparison.dense:
        _beside_dense(axes, comparison.dense)
    name = f"Sparsity {written(sparsity)}"
    alt = "; ".join(f"{c.method} {c.accuracy} (n={len(c.runs)})" for c in cells)
    dense = f" Dense: {comparison.dense.accuracy}." if comparison.dense else ""
    alt = f"Test accuracy in percent at sparsity {written(sparsity)}: {alt}.{dense}"
    return panel(figure, f"accuracy-at-{written(sparsity)}", name, alt)


def over_cost(
    comparison: Comparison, look: dict[str, Style], sparsity: float
) -> Panel | None:
    """A point for each method at one sparsity, and dense; None if no cost is known."""
    cells = [*comparison.at(sparsity), comparison.dense]
    cells = [cell for cell in cells if cell and cell.cost is not None]
    if not cells:
        return None
    figure, axes = sheet(max(240, 70 + 15 * len(cells)))
    _cost_axis(axes, [cell.cost for cell in cells])
    alike = Counter(f"{cell.cost:.1f}" for cell in cells)
    drawn: Counter[str] = Counter()
    for cell in sorted(cells, key=lambda cell: -cell.mean):
        cost = f"{cell.cost:.1f}"
        shift = _BESIDE * (drawn[cost] - (alike[cost] - 1) / 2)
        drawn[cost] += 1
        _marks(axes, [cell.cost], [cell], look[cell.method], shift, ls="")
    axes.set_ylim(*padded(*Comparison(tuple(cells)).range()))
    axes.grid()
    axes.set(title="test accuracy %", xlabel="images seen, relative to dense")
    legend(axes)
    listed = "; ".join(f"{c.method} {c.accuracy} at {c.cost:.2f}x" for c in cells)
    return panel(
        figure,
        f"accuracy-over-cost-{written(sparsity)}",
        f"Sparsity {written(sparsity)}",
        f"Test accuracy in percent over training cost relative to dense, at "
        f"sparsity {written(sparsity)}: {listed}.",
    )


def _marks(axes, places, cells: Sequence[Cell], style: Style, shift: float, ls) -> None:
    """Means and spreads, so many points aside that no error bar hides another."""
    from matplotlib.transforms import offset_copy

    aside = offset_copy(axes.transData, axes.figure, x=shift, units="points")
    means, name = [cell.mean for cell in cells], cells[0].method
    spreads = [math.nan if cell.spread is None else cell.spread for cell in cells]
    look = {"ls": ls, "lw": 1.6, "transform": aside, **style.marks}
    axes.plot(places, means, label=name, **look)
    bars = {"ecolor": style.colour, "elinewidth": 1.4, "capsize": 3, "transform": aside}
    axes.errorbar(places, means, spreads, fmt="none", **bars)


def _position(sparsity: float) -> float:
    """Where a sparsity lies: each halving of the weights left is one step."""
    return -math.log2(max(1.0 - sparsity, 1e-9))


def _positions(cells: Sequence[Cell]) -> list[float]:
    return [_position(cell.sparsity) for cell in cells]


def _reach(cell: Cell) -> tuple[float, float]:
    return cell.mean - (cell.spread or 0.0), cell.mean + (cell.spread or 0.0)


def _beside_dense(axes, dense: Cell) -> None:
    """A band where the dense network lies, or an arrow to where it lies outside."""
    low, high = axes.get_xlim()
    if low < dense.mean < high:
        axes.axvspan(*_reach(dense), color=BAND, lw=0, zorder=0)
        axes.axvline(dense.mean, **_DENSE)
        axes.set_xlim(low, high)
        place = (dense.mean - low) / (high - low)
        axes.set_title("dense", loc="center", x=place)
    elif dense.mean >= high:
        axes.set_title(f"dense {dense.mean:.2f} →", loc="right")
    else:
        axes.set_title(f"← dense {dense.mean:.2f}", loc="left")


def _cost_axis(axes, costs: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    if min(costs) > 0 and max(costs) / min(costs) > 6:
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.3, max(costs) * 1.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, 1.1 * max(*costs, 1.0))
    axes.xaxis.set_major_formatter("{x:g}x")


def _lines_alt(comparison: Comparison, group: Sequence[str]) -> str:
    lines = []
    for method in group:
        cells = comparison.of_method(method)
        points = ", ".join(f"{c.accuracy} at {written(c.sparsity)}" for c in cells)
        lines.append(f"{method}: {points}")
    return f"Test accuracy in percent over sparsity. {'; '.join(lines)}."
