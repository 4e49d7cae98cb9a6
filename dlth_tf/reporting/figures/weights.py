"""The weights: how they are distributed over time, and which layers lose how many."""

import textwrap
from collections.abc import Mapping

import numpy as np

from dlth_tf.experiment.plan.methods import written
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.drawing import (
    INK,
    KEPT,
    LINES,
    REMOVED,
    Panel,
    Style,
    legend,
    panel,
    sheet,
)
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.weights import Moment, WeightsOfRun

_BINS = 61
_TICKS_AT_MOST = 24


def weight_histograms(experiment: Experiment, cell: Cell) -> Panel | None:
    """One above the other on one scale, for the first seed whose weights are there."""
    for run in cell.runs:
        moments = WeightsOfRun(experiment, run).moments()
        if len(moments) > 1:
            return _histograms(cell, run.seed, moments)
    return None


def _histograms(cell: Cell, seed: int, moments: list[Moment]) -> Panel:
    reach = max(_reach(part) for m in moments for part in (m.kept, m.removed)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)
    figure, rows = sheet(68 + 104 * len(moments), rows=len(moments))
    for axes, moment in zip(rows, moments, strict=True):
        _histogram(axes, moment.removed, edges, "removed", REMOVED, LINES[1])
        _histogram(axes, moment.kept, edges, "kept", KEPT, "-")
        axes.set_yscale("symlog", linthresh=1, linscale=0.4)
        axes.set(title=moment.name, ylim=(0, None), xlim=(-reach, reach))
        axes.locator_params(axis="y", numticks=5)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        legend(axes, loc="lower right", ncols=2, columnspacing=1, handlelength=1)
    rows[-1].set_xlabel("weight")
    deviations = "; ".join(
        f"{m.name}: kept {_deviation(m.kept)}, removed {_deviation(m.removed)}"
        for m in moments
    )
    return panel(
        figure,
        f"weights-{cell.key}",
        f"{cell.title} · seed {seed}",
        f"Histograms of the weights of {cell.title}. Standard deviations: {deviations}.",
    )


def _histogram(axes, values: np.ndarray, edges, name: str, colour: str, line) -> None:
    """Counts of the values, unless all of them are zero; their number in any case."""
    gone = not values.any()
    counts = np.zeros(_BINS) if gone else np.histogram(values, edges)[0]
    label = f"{name} {values.size:,}{', all 0' * gone}"
    axes.stairs(counts, edges, color=colour, lw=1.2, ls=line, label=label)
    axes.stairs(counts, edges, color=colour, fill=True, alpha=0.16)


def _reach(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(np.quantile(finite, 0.99)) if finite.size else 0.0


def _deviation(values: np.ndarray) -> str:
    return f"{values.std():.2g}" if values.size else "none"


def sparsity_per_layer(
    comparison: Comparison, look: dict[str, Style], sparsity: float
) -> Panel | None:
    """A row for each layer; methods that remove the same from each share a mark."""
    groups = _alike(comparison, sparsity)
    if not groups:
        return None
    layers = list(groups[0][1])
    rows = min(len(layers), _TICKS_AT_MOST)
    figure, axes = sheet(84 + 17 * len(groups) + 19 * rows)
    for place, (methods, shares) in enumerate(groups):
        style = look[methods[0]] if len(groups) > 1 else Style(INK, "o", "-")
        shares = {name: share for name, share in shares.items() if name in layers}
        shift = 0.5 * ((place + 0.5) / len(groups) - 0.5)
        heights = [layers.index(name) + shift for name in shares]
        if len(groups) == 1:
            axes.hlines(heights, 0, shares.values(), color=style.colour, lw=1.6)
        marks = style.marks | {"ms": 6 if len(layers) <= _TICKS_AT_MOST else 4}
        label = textwrap.shorten(", ".join(methods), 52, placeholder=" …")
        axes.plot(shares.values(), heights, ls="", label=label, clip_on=False, **marks)
    shown = range(0, len(layers), -(-len(layers) // _TICKS_AT_MOST))
    axes.set_yticks(shown, [layers[place][-22:] for place in shown], color=INK)
    axes.tick_params(axis="y", pad=8)
    axes.set(ylim=(len(layers) - 0.5, -0.5), xlim=(0, 1))
    axes.set_xlabel("fraction of the weights removed")
    axes.grid(axis="x")
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1))
    listed = []
    for methods, shares in groups:
        values = ", ".join(f"{name} {share:.3g}" for name, share in shares.items())
        listed.append(f"{', '.join(methods)}: {values}")
    return panel(
        figure,
        f"sparsity-per-layer-{written(sparsity)}",
        f"Sparsity {written(sparsity)}",
        f"Fraction of the weights removed from each layer. {'; '.join(listed)}.",
    )


def _alike(
    comparison: Comparison, sparsity: float
) -> list[tuple[list[str], Mapping[str, float]]]:
    groups: list[tuple[list[str], Mapping[str, float]]] = []
    for cell in comparison.at(sparsity):
        shares = cell.runs[0].layers
        same = next((names for names, known in groups if _same(known, shares)), None)
        if same is not None:
            same.append(cell.method)
        elif shares:
            groups.append(([cell.method], shares))
    return groups


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[name] - b[name]) < 0.005 for name in a)
