"""A drawing of the width of a phone, and how methods are told apart in it.

The colours are Okabe and Ito's, which colour-blind readers can tell apart, without the
yellow that paper swallows. No two methods share a marker until there are thirteen.
"""

import base64
import io
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlth_tf.experiment.results.comparison import method_place

INK, SOFT_INK, RULE, BAND, PAPER = "#1b1b1f", "#5c5c66", "#d9d9de", "#ececf0", "#ffffff"
KEPT, REMOVED = "#0072b2", "#d55e00"
COLOURS = ("#d55e00", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#cc79a7")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))
Style = dict[str, Any]
"""How a method is drawn, as arguments of matplotlib."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">", "*", "d")
_FAMILIAR = ("rst", "scratch", "l1", "lth")


class Panel(NamedTuple):
    """A finished drawing; `name` is its file's, `alt` for those who can't see it."""

    name: str
    title: str
    alt: str
    svg: bytes

    @property
    def address(self) -> str:
        """The drawing itself as a URL."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method; the familiar ones look the same in every report."""
    others = sorted(set(methods) - {"dense", *_FAMILIAR}, key=method_place)
    look = {"dense": style(INK, "_", (0, (4, 2)))}
    for place, name in enumerate((*_FAMILIAR, *others)):
        row, column = divmod(place, len(COLOURS))
        marker = _MARKERS[place % len(_MARKERS)]
        look[name] = style(COLOURS[column], marker, LINES[row % 4], row % 2 == 1)
    return look


def style(colour: str, marker: str, line: Any, hollow: bool = False) -> Style:
    face = PAPER if hollow else colour
    return {"color": colour, "marker": marker, "ls": line, "mfc": face, "ms": 7}


def sheet(height: float, rows: int = 1) -> tuple[Figure, Any]:
    """A figure so many pixels high, and its axes: one, or several one above the other."""
    figure = Figure((5, height / 72))
    return figure, figure.subplots(rows, sharex=True)


def legend(axes: Axes, **options: Any) -> None:
    """Names what is drawn, to the right of the axes."""
    right = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0}
    axes.legend(**right | options)


def panel(figure: Figure, name: str, title: str, alt: str) -> Panel:
    """The figure as a file, with its title and its description."""
    figure.suptitle(title, x=0.005, ha="left", size=11.5, weight="bold")
    file = io.BytesIO()
    described = {"Title": title, "Description": alt, "Date": None}
    figure.savefig(file, format="svg", metadata=described)
    return Panel(re.sub(r"[^\w.-]+", "-", name), title, alt, file.getvalue())
