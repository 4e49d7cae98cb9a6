"""The course of a transformation: the penalty, and where the weights go under it."""

import math
from collections.abc import Sequence

from dlth_tf.reporting.canvas import Panel, canvas
from dlth_tf.reporting.comparison import Cell
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.records import Phase, RunRecord
from dlth_tf.reporting.styles import INK, KEPT, REMOVED, RULE, SOFT_INK
from dlth_tf.reporting.weights import WeightsOfRun

_LEFT, _RIGHT = 40, 100


def extrusion(experiment: Experiment, cell: Cell) -> Panel | None:
    """Lambda over the mean magnitudes, a line per seed; None if nothing transforms."""
    courses = [_Course(experiment, run) for run in cell.runs]
    courses = [course for course in courses if course.epochs]
    if not courses:
        return None
    with canvas(height=320) as sheet:
        top = sheet.axes(_LEFT, 40, _RIGHT, 220)
        bottom = sheet.axes(_LEFT, 128, _RIGHT, 40, sharex=top)
        for course in courses:
            top.plot(course.epochs, course.penalty, color=INK, lw=1.3)
            bottom.plot(course.epochs, course.kept, color=KEPT, lw=1.5)
            bottom.plot(
                course.epochs, course.removed, color=REMOVED, lw=1.5, ls=(0, (4, 1.5))
            )
        for boundary in courses[0].boundaries:
            top.axvline(boundary, color=RULE, lw=0.8)
            bottom.axvline(boundary, color=RULE, lw=0.8)
        _name_ends(bottom, courses[0])
        _name_end(top, courses[0].epochs[-1], courses[0].penalty[-1], "λ", INK)
        top.set_ylim(0)
        bottom.set_ylim(0)
        top.tick_params(axis="x", labelbottom=False)
        bottom.set_xlim(0, courses[0].epochs[-1])
        bottom.set_xlabel("epochs of transformation")
        sheet.text(2, 34, "penalty λ", size=9, color=SOFT_INK)
        sheet.text(2, 121, "mean magnitude of weights", size=9, color=SOFT_INK)
        return sheet.panel(f"extrusion-{cell.key}", cell.title, _alt(cell, courses[0]))


class _Course:
    """What one run's transformations recorded, one after the other."""

    def __init__(self, experiment: Experiment, run: RunRecord):
        phases = [phase for phase in run.phases if phase.transforms]
        self.epochs: list[float] = []
        self.penalty: list[float] = []
        self.kept: list[float] = []
        self.removed: list[float] = []
        self.boundaries: list[int] = []
        if len(phases) == 1:
            self._begin(experiment, run)
        for phase in phases:
            self._add(phase)
        self.boundaries = self.boundaries[:-1]

    def _begin(self, experiment: Experiment, run: RunRecord) -> None:
        """The magnitudes before the first step, where the initial weights are there."""
        before = WeightsOfRun(experiment, run).mean_magnitudes()
        if before:
            self._point(0, 0.0, *before)

    def _add(self, phase: Phase) -> None:
        done = self.boundaries[-1] if self.boundaries else 0
        if done:
            self._point(done, *[math.nan] * 3)
        series = zip(
            phase.series("penalty"),
            phase.series("kept_magnitude"),
            phase.series("removed_magnitude"),
            strict=True,
        )
        for place, values in enumerate(series, 1):
            self._point(done + place, *values)
        self.boundaries.append(done + len(phase.epochs))

    def _point(self, epoch, penalty, kept, removed) -> None:
        self.epochs.append(epoch)
        self.penalty.append(penalty)
        self.kept.append(kept)
        self.removed.append(removed)


def _name_ends(axes, course: _Course) -> None:
    from dlth_tf.reporting.canvas import spread_out

    ends = [course.kept[-1], course.removed[-1]]
    if not all(map(math.isfinite, ends)):
        return
    span = max(filter(math.isfinite, (*course.kept, *course.removed))) or 1.0
    heights = spread_out(ends, 0.17 * span)
    for name, end, height, colour in zip(
        ("kept", "removed"), ends, heights, (KEPT, REMOVED), strict=True
    ):
        _name_end(axes, course.epochs[-1], height, f"{name} {end:.2g}", colour)


def _name_end(axes, x: float, y: float, text: str, colour: str) -> None:
    axes.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center",
        color=colour, annotation_clip=False, size=10,
    )  # fmt: skip


def _alt(cell: Cell, course: _Course) -> str:
    return (
        f"Transformation of {cell.title}, {len(cell.runs)} seeds. While lambda grows to "
        f"{_last(course.penalty)}, the mean magnitude of the weights to be removed goes "
        f"from {course.removed[0]:.2g} to {_last(course.removed)}, of those kept from "
        f"{course.kept[0]:.2g} to {_last(course.kept)}."
    )


def _last(values: Sequence[float]) -> str:
    return f"{values[-1]:.2g}"
