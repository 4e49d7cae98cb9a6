"""The course of the trainings: learning curves, and what a transformation does."""

import math
from collections.abc import Sequence

from dlth_tf.experiment.plan.methods import written
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.drawing import (
    BAND,
    COLOURS,
    INK,
    KEPT,
    LINES,
    REMOVED,
    RULE,
    Panel,
    legend,
    panel,
    sheet,
)
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.records import RunRecord
from dlth_tf.reporting.weights import WeightsOfRun

_SHADES = [COLOURS[place] for place in (3, 0, 2, 5, 1, 4)]


def learning_curves(comparison: Comparison, method: str) -> Panel | None:
    """Accuracy and loss over epochs, a line per sparsity: the mean over its seeds."""
    cells = comparison.of_method(method)
    cells = [cell for cell in cells if any(run.phases for run in cell.runs)]
    if not cells:
        return None
    figure, (upper, lower) = sheet(312, rows=2)
    for place, cell in enumerate(cells):
        colour = _SHADES[place % 6] if len(cells) > 1 else INK
        look = {"color": colour, "ls": LINES[place % 4]}
        _curve(upper, cell, "accuracy", 100, lw=1.4, label=written(cell.sparsity), **look)
        _curve(upper, cell, "val_accuracy", 100, lw=2.6, alpha=0.45, **look)
        _curve(lower, cell, "loss", 1, lw=1.4, **look)
    _name_phases(upper, lower, cells[-1].runs[0])
    upper.set_ylim(top=100.5)
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter("{x:g}")
    lower.locator_params(axis="y", subs=(1, 2, 5), numticks=6)
    lower.minorticks_off()
    lower.locator_params(axis="x", nbins=6, integer=True)
    upper.set_ylabel("accuracy %")
    lower.set(ylabel="loss", xlabel="epochs, all trainings in a row")
    for axes in (upper, lower):
        axes.grid(axis="y")
    if len(cells) > 1:
        legend(upper, title="sparsity")
    parts = []
    for cell in cells:
        accuracy = mean_course(cell.runs, "accuracy")
        loss = mean_course(cell.runs, "loss")
        parts.append(
            f"{cell.title}: after {len(loss)} epochs training loss {loss[-1]:.3g}, "
            f"training accuracy {100 * accuracy[-1]:.1f} percent"
        )
    alt = f"Learning curves of {method}. {'; '.join(parts)}."
    return panel(figure, f"learning-{method}", method, alt)


def mean_course(runs: Sequence[RunRecord], metric: str) -> list[float]:
    """A metric over all epochs of a run, averaged over the runs that got so far."""
    courses = [[v for p in run.phases for v in p.series(metric)] for run in runs]
    averaged = []
    for epoch in range(max(map(len, courses), default=0)):
        values = [c[epoch] for c in courses if epoch < len(c)]
        values = [value for value in values if math.isfinite(value)]
        averaged.append(sum(values) / len(values) if values else math.nan)
    return averaged


def extrusion(experiment: Experiment, cell: Cell) -> Panel | None:
    """Lambda over the mean magnitudes, a line per seed; None if nothing transforms."""
    courses = [_course(experiment, run) for run in cell.runs]
    courses = [course for course in courses if course]
    if not courses:
        return None
    figure, (top, bottom) = sheet(320, rows=2)
    for seed, course in enumerate(courses):
        epochs, penalty, kept, removed = zip(*course, strict=True)
        ends = {KEPT: f"kept {kept[-1]:.2g}", REMOVED: f"removed {removed[-1]:.2g}"}
        names = {} if seed else ends
        top.plot(epochs, penalty, color=INK, lw=1.3)
        bottom.plot(epochs, kept, color=KEPT, label=names.get(KEPT))
        bottom.plot(epochs, removed, color=REMOVED, ls=LINES[1], label=names.get(REMOVED))
    _, penalty, kept, removed = zip(*courses[0], strict=True)
    for epoch, *values in courses[0]:
        if math.isnan(values[0]):
            top.axvline(epoch, color=RULE, lw=0.8)
            bottom.axvline(epoch, color=RULE, lw=0.8)
    top.set(title="penalty λ", ylim=(0, None))
    bottom.set(title="mean magnitude of weights", ylim=(0, None))
    bottom.set(xlim=(0, courses[0][-1][0]), xlabel="epochs of transformation")
    legend(bottom, title="at the end")
    return panel(
        figure,
        f"extrusion-{cell.key}",
        cell.title,
        f"Transformation of {cell.title}, {len(cell.runs)} seeds. While lambda grows to "
        f"{penalty[-1]:.2g}, the mean magnitude of the weights to be removed goes from "
        f"{removed[0]:.2g} to {removed[-1]:.2g}, of those kept from {kept[0]:.2g} to "
        f"{kept[-1]:.2g}.",
    )


Point = tuple[float, float, float, float]


def _course(experiment: Experiment, run: RunRecord) -> list[Point]:
    """Epoch, penalty, magnitudes of kept and removed weights in all transformations.

    It begins before the first step, where the initial weights are there; a point that is
    not a number parts one transformation from the next.
    """
    points: list[Point] = []
    phases = [phase for phase in run.phases if phase.transforms]
    before = WeightsOfRun(experiment, run).mean_magnitudes() if len(phases) == 1 else None
    if before:
        points.append((0, 0.0, *before))
    done = 0
    for phase in phases:
        if done:
            points.append((done, math.nan, math.nan, math.nan))
        names = ("penalty", "kept_magnitude", "removed_magnitude")
        values = zip(*(phase.series(name) for name in names), strict=True)
        points += [(done + place, *value) for place, value in enumerate(values, 1)]
        done += len(phase.epochs)
    return points


def _curve(axes, cell: Cell, metric: str, scale: float, **look) -> None:
    values = [scale * value for value in mean_course(cell.runs, metric)]
    if any(map(math.isfinite, values)):
        axes.plot(range(1, len(values) + 1), values, **look)


def _name_phases(upper, lower, run: RunRecord) -> None:
    """Shades every second training and names them all."""
    begin = 0
    for place, phase in enumerate(run.phases):
        end = begin + len(phase.epochs)
        if place % 2:
            for axes in (upper, lower):
                axes.axvspan(begin + 0.5, end + 0.5, color=BAND, lw=0, zorder=0)
        if len(run.phases) <= 3:
            upper.annotate(
                _phase_name(run, place), ((begin + end + 1) / 2, 1), xytext=(0, 3),
                xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", size=9,
            )  # fmt: skip
        begin = end


def _phase_name(run: RunRecord, place: int) -> str:
    if run.phases[place].transforms:
        return "transformation"
    if place < len(run.phases) - 1:
        return "pretraining"
    return "finetuning" if run.sparsity else "training"
