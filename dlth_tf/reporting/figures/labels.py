"""Names beside the points they belong to."""

import dataclasses
from collections.abc import Sequence

from dlth_tf.reporting.canvas import WIDTH, Canvas, spread_out
from dlth_tf.reporting.styles import RULE, Style

_LINE = 13.5
_GAP = 14


@dataclasses.dataclass(frozen=True)
class Label:
    """A name and the data point it stands for; without x, the axes' right edge."""

    text: str
    point: tuple[float | None, float]
    style: Style


def label_width(names: Sequence[str]) -> float:
    """Pixels that a column of labels takes, with its markers and leaders."""
    return _GAP + 18 + 6.3 * max(map(len, names))


def label_column(sheet: Canvas, axes, labels: Sequence[Label]) -> None:
    """Writes names to the right of the axes, each led to its point by a hairline."""
    points = [_pixels(axes, label.point) for label in labels]
    floor = axes.get_position().y0 * sheet.height
    heights = spread_out([y for _, y in points], _LINE, floor)
    edge = axes.get_position().x1 * WIDTH
    for label, (x, y), height in zip(labels, points, heights, strict=True):
        _leader(sheet, (x, y), (edge + _GAP - 3, height), edge)
        _marker(sheet, edge + _GAP + 4, height, label.style)
        sheet.text(
            edge + _GAP + 13, sheet.height - height, label.text, va="center_baseline",
            size=10.5,
        )  # fmt: skip


def _pixels(axes, point: tuple[float | None, float]) -> tuple[float, float]:
    x = axes.get_xlim()[1] if point[0] is None else point[0]
    return tuple(axes.transData.transform((x, point[1])))


def _leader(sheet: Canvas, start, end, edge: float) -> None:
    from matplotlib.lines import Line2D

    xs = [start[0] / WIDTH, edge / WIDTH, end[0] / WIDTH]
    ys = [part / sheet.height for part in (start[1], start[1], end[1])]
    sheet.figure.add_artist(Line2D(xs, ys, color=RULE, lw=0.8, zorder=0))


def _marker(sheet: Canvas, x: float, y: float, style: Style) -> None:
    from matplotlib.lines import Line2D

    mark = Line2D(
        [x / WIDTH], [y / sheet.height], marker=style.marker, color=style.colour,
        mfc=style.face, mec=style.colour, ms=6,
    )  # fmt: skip
    sheet.figure.add_artist(mark)
