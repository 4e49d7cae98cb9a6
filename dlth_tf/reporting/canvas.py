"""A drawing of the width of a phone, and what every figure needs of one."""

import dataclasses
import html
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.styles import INK, PAPER, RULE, SOFT_INK

WIDTH = 360
_FONT = 11.5
_SMALL = 10.0
_FAMILIES = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_LOOK = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dlth_tf",
    "font.family": "DejaVu Sans",
    "font.size": _SMALL,
    "text.color": INK,
    "axes.edgecolor": SOFT_INK,
    "axes.labelcolor": SOFT_INK,
    "axes.labelsize": _SMALL,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT_INK,
    "ytick.color": SOFT_INK,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
}


@dataclasses.dataclass(frozen=True)
class Panel:
    """A finished drawing.

    Attributes:
        name: of its file, without the ending.
        title: its heading, which is drawn too.
        alt: what it shows, for those who can't see it.
        svg: the whole file.
    """

    name: str
    title: str
    alt: str
    svg: str


class Canvas:
    """Space for axes, measured in pixels from the top left corner."""

    def __init__(self, height: float):
        from matplotlib.figure import Figure

        self.height = height
        self.figure = Figure((WIDTH / 72, height / 72), dpi=72, facecolor=PAPER)

    def axes(self, left: float, top: float, right: float, bottom: float, **options):
        """Axes whose frame keeps these distances from the canvas's edges."""
        box = (
            left / WIDTH,
            bottom / self.height,
            (WIDTH - left - right) / WIDTH,
            (self.height - top - bottom) / self.height,
        )
        return self.figure.add_axes(box, **{"facecolor": "none", **options})

    def text(self, x: float, y: float, text: str, **options) -> None:
        """Writes at so many pixels from the left and from the top."""
        self.figure.text(x / WIDTH, 1 - y / self.height, text, **options)

    def panel(self, name: str, title: str, alt: str) -> Panel:
        name = re.sub(r"[^\w.-]+", "-", name)
        self.text(2, 15, title, size=_FONT, weight="bold")
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.figure.savefig(file, format="svg", metadata=nothing)
        return Panel(name, title, alt, _finished(file.getvalue(), name, title, alt))


@contextmanager
def canvas(height: float) -> Iterator[Canvas]:
    """A canvas in the report's look."""
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        yield Canvas(height)


def _finished(svg: str, name: str, title: str, alt: str) -> str:
    """The drawing in the reader's own font, with its description, without comments.

    All its ids begin with its name, so that several drawings may stand on one page.
    """
    clutter = r"<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>"
    svg = re.sub(clutter, "", svg, flags=re.DOTALL)
    svg = re.sub(r"'DejaVu Sans'(, sans-serif)?", _FAMILIES, svg)
    svg = svg.replace(' id="', f' id="{name}.')
    svg = re.sub(r'(href="|url\()#', rf"\g<1>#{name}.", svg)
    described = (
        f'role="img" aria-labelledby="{name}.title {name}.desc">\n'
        f'<title id="{name}.title">{html.escape(title)}</title>\n'
        f'<desc id="{name}.desc">{html.escape(alt)}</desc>'
    )
    svg = re.sub(r"(<svg [^>]*)>", lambda tag: f"{tag[1]} {described}", svg, count=1)
    return re.sub(r"\n\s*", "\n", svg).strip() + "\n"


def plain_number(value: float, _place: object = None) -> str:
    """A tick's label: as short as it can be, without powers of ten."""
    return f"{value:.10g}"


def sparsity_axis(axes, sparsities: Sequence[float]) -> None:
    """Ticks at the sparsities studied, on an axis of the logarithm of what is left."""
    axes.set_xticks([left_position(s) for s in sparsities])
    axes.set_xticklabels([written(s) for s in sparsities])
    axes.set_xlabel("sparsity")


def left_position(sparsity: float) -> float:
    """Where a sparsity lies: each halving of the weights left is one step."""
    return -math.log2(max(1.0 - sparsity, 1e-9))


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with some room at both ends."""
    room = max(0.06 * (high - low), 0.05)
    return low - room, high + room


def spread_out(
    wanted: Sequence[float], gap: float, lowest: float = -math.inf
) -> list[float]:
    """The positions nearest to those wanted, at least `gap` apart and none too low.

    Neighbours that would touch are pooled around the mean of what they wanted, which is
    the least-squares solution.
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    pools: list[tuple[float, int]] = []
    for rank, place in enumerate(order):
        total, count = wanted[place] - rank * gap, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            earlier = pools.pop()
            total, count = total + earlier[0], count + earlier[1]
        pools.append((total, count))
    flat = [max(lowest, total / count) for total, count in pools for _ in range(count)]
    placed = [0.0] * len(wanted)
    for rank, place in enumerate(order):
        placed[place] = flat[rank] + rank * gap
    return placed
