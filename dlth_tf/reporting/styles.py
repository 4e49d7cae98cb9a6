"""How methods are told apart: by colour, by marker and by line.

The colours are Okabe and Ito's, which colour-blind readers can tell apart, without the
yellow that paper swallows. No two methods share a marker until there are thirteen.
"""

import dataclasses
from collections.abc import Iterable

from dlth_tf.reporting.comparison import method_place

INK, SOFT_INK, RULE, BAND, PAPER = "#1b1b1f", "#5c5c66", "#d9d9de", "#ececf0", "#ffffff"
KEPT, REMOVED = "#0072b2", "#d55e00"
COLOURS = ("#d55e00", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#cc79a7")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">", "*", "d")
_LINES = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))
_FAMILIAR = ("rst", "scratch", "l1", "lth")


@dataclasses.dataclass(frozen=True)
class Style:
    colour: str
    marker: str
    line: object
    hollow: bool = False

    @property
    def face(self) -> str:
        return PAPER if self.hollow else self.colour


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method; the familiar ones look the same in every report."""
    others = sorted(set(methods) - {"dense", *_FAMILIAR}, key=method_place)
    given = {name: _style(place) for place, name in enumerate((*_FAMILIAR, *others))}
    return {"dense": Style(INK, "_", (0, (4, 2))), **given}


def _style(place: int) -> Style:
    return Style(
        COLOURS[place % len(COLOURS)],
        _MARKERS[place % len(_MARKERS)],
        _LINES[place // len(COLOURS) % len(_LINES)],
        hollow=place // len(COLOURS) % 2 == 1,
    )
