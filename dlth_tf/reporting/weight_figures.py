"""The weights: what a transformation does to them, where they lie, which are removed."""

import math
import textwrap
from typing import NamedTuple

import numpy as np

from dlth_tf.experiment.plan.methods import written
from dlth_tf.experiment.results.comparison import Cell, Comparison
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting import drawing
from dlth_tf.reporting.drawing import INK, KEPT, LINES, REMOVED, RULE, Panel, styles
from dlth_tf.reporting.records import Experiment

_BEFORE = "initial weights"
_COURSE = ("penalty", "kept_magnitude", "removed_magnitude")
_BINS = 61
_TICKS_AT_MOST = 24


class _Moment(NamedTuple):
    """The masked layers' weights at one moment of a run."""

    name: str
    kept: np.ndarray
    removed: np.ndarray


def extrusion(experiment: Experiment, cell: Cell) -> Panel | None:
    """Lambda over the mean magnitudes, a line per seed; None if nothing transforms."""
    courses = [_course(experiment, run) for run in cell.runs if run.transformations]
    if not courses:
        return None
    figure, (top, bottom) = drawing.sheet(320, rows=2)
    epochs, penalty, kept, removed = courses[0].T
    for course in courses:
        top.plot(course[:, 0], course[:, 1], color=INK, lw=1.3)
        bottom.plot(course[:, 0], course[:, 2], color=KEPT)
        bottom.plot(course[:, 0], course[:, 3], color=REMOVED, ls=LINES[1])
    for epoch in epochs[np.isnan(penalty)]:
        top.axvline(epoch, color=RULE, lw=0.8)
        bottom.axvline(epoch, color=RULE, lw=0.8)
    top.set(title="penalty λ", ylim=(0, None))
    bottom.set(title="mean magnitude of weights", ylim=(0, None))
    bottom.set(xlim=(0, epochs[-1]), xlabel="epochs of transformation")
    ends = [f"kept {kept[-1]:.2g}", f"removed {removed[-1]:.2g}"]
    drawing.legend(bottom, title="at the end", labels=ends)
    alt = (
        f"Transformation of {cell.title}, {len(cell.runs)} seeds. While lambda grows to "
        f"{penalty[-1]:.2g}, the mean magnitude of the weights to be removed goes from "
        f"{removed[0]:.2g} to {removed[-1]:.2g}, of those kept from {kept[0]:.2g} to "
        f"{kept[-1]:.2g}."
    )
    return drawing.panel(figure, f"extrusion-{cell.key}", cell.title, alt)


def weight_histograms(experiment: Experiment, cell: Cell) -> Panel | None:
    """One above the other on one scale, for the first seed whose weights are there."""
    found = ((run.seed, _moments(experiment, run)) for run in cell.runs)
    seed, moments = next(((s, m) for s, m in found if len(m) > 1), (0, []))
    if not moments:
        return None
    reach = max(_reach(part) for m in moments for part in (m.kept, m.removed)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)
    figure, rows = drawing.sheet(68 + 104 * len(moments), rows=len(moments))
    for axes, moment in zip(rows, moments, strict=True):
        for name, values, colour, line in (
            ("removed", moment.removed, REMOVED, LINES[1]),
            ("kept", moment.kept, KEPT, "-"),
        ):
            gone = not values.any()
            counts = np.zeros(_BINS) if gone else np.histogram(values, edges)[0]
            label = f"{name} {values.size:,}{', all 0' * gone}"
            axes.stairs(counts, edges, color=colour, lw=1.2, ls=line, label=label)
            axes.stairs(counts, edges, color=colour, fill=True, alpha=0.16)
        axes.set_yscale("symlog", linthresh=1, linscale=0.4)
        axes.set(title=moment.name, ylim=(0, None), xlim=(-reach, reach))
        axes.locator_params(axis="y", numticks=5)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        drawing.legend(axes, loc="lower right", ncols=2, columnspacing=1, handlelength=1)
    rows[-1].set_xlabel("weight")
    told = "; ".join(
        f"{m.name}: kept {_deviation(m.kept)}, removed {_deviation(m.removed)}"
        for m in moments
    )
    alt = f"Histograms of the weights of {cell.title}. Standard deviations: {told}."
    title = f"{cell.title} · seed {seed}"
    return drawing.panel(figure, f"weights-{cell.key}", title, alt)


def sparsity_per_layer(comparison: Comparison, sparsity: float) -> Panel | None:
    """A row for each layer; methods that remove the same from each share a mark."""
    groups, look = _alike(comparison.at(sparsity)), styles(comparison.methods)
    if not groups:
        return None
    layers = list(groups[0][1])
    rows = min(len(layers), _TICKS_AT_MOST)
    figure, axes = drawing.sheet(84 + 17 * len(groups) + 19 * rows)
    told = []
    for place, (methods, shares) in enumerate(groups):
        values = ", ".join(f"{name} {share:.3g}" for name, share in shares.items())
        told.append(f"{', '.join(methods)}: {values}")
        style = look[methods[0]] if len(groups) > 1 else drawing.style(INK, "o", "-")
        shares = {name: share for name, share in shares.items() if name in layers}
        shift = 0.5 * ((place + 0.5) / len(groups) - 0.5)
        heights = [layers.index(name) + shift for name in shares]
        if len(groups) == 1:
            axes.hlines(heights, 0, shares.values(), color=style["color"], lw=1.6)
        marks = style | {"ls": "", "ms": 6 if len(layers) <= _TICKS_AT_MOST else 4}
        label = textwrap.shorten(", ".join(methods), 52, placeholder=" …")
        axes.plot(shares.values(), heights, label=label, clip_on=False, **marks)
    shown = range(0, len(layers), -(-len(layers) // _TICKS_AT_MOST))
    axes.set_yticks(shown, [layers[place][-22:] for place in shown], color=INK)
    axes.tick_params(axis="y", pad=8)
    axes.set(ylim=(len(layers) - 0.5, -0.5), xlim=(0, 1))
    axes.set_xlabel("fraction of the weights removed")
    axes.grid(axis="x")
    drawing.legend(axes, loc="lower left", bbox_to_anchor=(0, 1))
    alt = f"Fraction of the weights removed from each layer. {'; '.join(told)}."
    at = written(sparsity)
    return drawing.panel(figure, f"sparsity-per-layer-{at}", f"Sparsity {at}", alt)


def _course(experiment: Experiment, run: Row) -> np.ndarray:
    """Epoch, penalty, magnitudes of kept and removed weights, row by row.

    It begins before the first step, where the initial weights are there; a row of NaN
    parts one transformation from the next.
    """
    rows: list[tuple[float | None, ...]] = []
    if len(run.transformations) == 1:
        for moment in _moments(experiment, run)[:1]:
            if moment.name == _BEFORE and moment.kept.size:
                sizes = np.abs(moment.kept).mean(), np.abs(moment.removed).mean()
                rows.append((0, 0.0, *sizes))
    done = 0
    for phase in run.transformations:
        if done:
            rows.append((done, math.nan, math.nan, math.nan))
        for epoch in phase:
            done += 1
            rows.append((done, *map(epoch.get, _COURSE)))
    return np.array(rows, float)


def _moments(experiment: Experiment, run: Row) -> list[_Moment]:
    """Before all training, before finetuning, and after it; those that can be read.

    Which weights were removed is seen from the last, where they are exactly zero.
    """
    stages = [stage for stage in run.stage_names if experiment.has_weights(stage)]
    last = _kernels(experiment, run, stages[-1]) if len(stages) > 1 else None
    if last is None or last.all():
        return []
    middle = "after transformation" if run.transformations else "after pretraining"
    names = {stages[-2]: middle, stages[0]: _BEFORE, stages[-1]: "after finetuning"}
    moments = []
    for stage in sorted(names, key=stages.index):
        kernels = _kernels(experiment, run, stage)
        if kernels is not None and kernels.shape == last.shape:
            moments.append(_Moment(names[stage], kernels[last != 0], kernels[last == 0]))
    return moments


def _kernels(experiment: Experiment, run: Row, stage: str) -> np.ndarray | None:
    """The weights of all masked layers in a row."""
    weights = experiment.weights(stage)
    masked = [name for name, share in run.sparsity_per_layer.items() if share > 0]
    named = [weights.get(f"{name}/kernel", weights.get(name)) for name in masked]
    parts = [part.ravel() for part in named if part is not None]
    return np.concatenate(parts) if parts else None


def _reach(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(np.quantile(finite, 0.99)) if finite.size else 0.0


def _deviation(values: np.ndarray) -> str:
    return f"{values.std():.2g}" if values.size else "none"


def _alike(cells: list[Cell]) -> list[tuple[list[str], dict[str, float]]]:
    """Methods with the fraction that they remove from each layer, as it is shown."""
    groups: list[tuple[list[str], dict[str, float]]] = []
    for cell in cells:
        shares = cell.runs[0].sparsity_per_layer
        for methods, known in groups:
            if known.keys() == shares.keys() and all(
                abs(known[name] - share) < 0.005 for name, share in shares.items()
            ):
                methods.append(cell.method)
                break
        else:
            groups += [([cell.method], shares)] if shares else []
    return groups
