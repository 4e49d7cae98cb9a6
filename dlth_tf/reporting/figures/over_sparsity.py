"""Accuracy over sparsity, a line for each method."""

import itertools
from collections.abc import Sequence

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.canvas import (
    Panel,
    canvas,
    left_position,
    padded,
    sparsity_axis,
)
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.figures.labels import Label, label_column, label_width
from dlth_tf.reporting.styles import BAND, RULE, SOFT_INK, Style

_TOGETHER = 6


def groups(comparison: Comparison) -> list[tuple[str, ...]]:
    """The methods that have a sparsity, no more together than a reader can follow."""
    sparse = {cell.method for cell in comparison.sparse}
    methods = tuple(method for method in comparison.methods if method in sparse)
    return [methods[i : i + _TOGETHER] for i in range(0, len(methods), _TOGETHER)]


def over_sparsity(
    comparison: Comparison, look: dict[str, Style], group: Sequence[str]
) -> Panel:
    """A line for each method of a group, those of other groups in the background."""
    others = [m for m in comparison.methods if m not in group and m != "dense"]
    with canvas(height=270) as sheet:
        right = label_width([*group, "dense"])
        axes = sheet.axes(left=36, top=30, right=right, bottom=40)
        axes.grid(axis="y")
        _dense_band(axes, comparison.dense)
        for method in others:
            cells = comparison.of_method(method)
            axes.plot(_positions(cells), [c.mean for c in cells], color=RULE, lw=1.2)
        for rank, method in enumerate(group):
            shift = _shift(comparison.sparsities, rank, len(group))
            _method(axes, comparison.of_method(method), look[method], shift)
        _limits(axes, comparison)
        labels = _line_labels(comparison, look, group)
        label_column(sheet, axes, labels)
        part = groups(comparison).index(group) + 1 if others else None
        return sheet.panel(
            "accuracy-over-sparsity" + (f"-{part}" if part else ""),
            "Accuracy over sparsity" + (f", part {part}" if part else ""),
            _alt(comparison, group),
        )


def _method(axes, cells: Sequence[Cell], style: Style, shift: float) -> None:
    places = [position + shift for position in _positions(cells)]
    axes.plot(places, [c.mean for c in cells], color=style.colour, ls=style.line, lw=1.6)
    for place, cell in zip(places, cells, strict=True):
        axes.errorbar(
            place, cell.mean, yerr=cell.spread, fmt=style.marker, color=style.colour,
            mfc=style.face, mec=style.colour, ms=6.5, elinewidth=1.4, capsize=3,
        )  # fmt: skip


def _dense_band(axes, dense: Cell | None) -> None:
    if dense:
        reach = dense.spread or 0.0
        axes.axhspan(dense.mean - reach, dense.mean + reach, color=BAND, lw=0, zorder=0)
        axes.axhline(dense.mean, color=SOFT_INK, lw=1.2, ls=(0, (4, 2)), zorder=1)


def _positions(cells: Sequence[Cell]) -> list[float]:
    return [left_position(cell.sparsity) for cell in cells]


def _shift(sparsities: Sequence[float], rank: int, count: int) -> float:
    """Beside one another, so that no error bar hides another."""
    width = 0.5 * _least_gap(sparsities)
    return width * ((rank + 0.5) / count - 0.5)


def _least_gap(sparsities: Sequence[float]) -> float:
    places = [left_position(s) for s in sparsities]
    return min((b - a for a, b in itertools.pairwise(places)), default=1.0)


def _limits(axes, comparison: Comparison) -> None:
    places = [left_position(s) for s in comparison.sparsities]
    room = 0.4 * _least_gap(comparison.sparsities)
    axes.set_xlim(places[0] - room, places[-1] + room)
    axes.set_ylim(*padded(*comparison.range()))
    sparsity_axis(axes, comparison.sparsities)
    axes.set_title("test accuracy %", loc="left", size=9, color=SOFT_INK, pad=2, x=-0.12)


def _line_labels(
    comparison: Comparison, look: dict[str, Style], group: Sequence[str]
) -> list[Label]:
    labels = []
    for rank, method in enumerate(group):
        last = comparison.of_method(method)[-1]
        shift = _shift(comparison.sparsities, rank, len(group))
        point = (left_position(last.sparsity) + shift, last.mean)
        labels.append(Label(method, point, look[method]))
    if comparison.dense:
        labels.append(Label("dense", (None, comparison.dense.mean), look["dense"]))
    return labels


def _alt(comparison: Comparison, group: Sequence[str]) -> str:
    lines = []
    for method in group:
        cells = comparison.of_method(method)
        points = ", ".join(f"{c.accuracy} at {written(c.sparsity)}" for c in cells)
        lines.append(f"{method}: {points}")
    return f"Test accuracy in percent over sparsity. {'; '.join(lines)}."
