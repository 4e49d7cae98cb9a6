"""Where the sparsity lies: how much of each layer is removed."""

from collections.abc import Mapping

from dlth_tf.experiment.methods import written
from dlth_tf.reporting.canvas import Panel, canvas
from dlth_tf.reporting.comparison import Comparison
from dlth_tf.reporting.styles import INK, Style

_TICKS_AT_MOST = 24


def sparsity_per_layer(
    comparison: Comparison, look: dict[str, Style], sparsity: float
) -> Panel | None:
    """A row for each layer; methods that remove the same from each share a mark."""
    groups = _alike(comparison, sparsity)
    if not groups:
        return None
    layers = list(groups[0][1])
    row = 19 if len(layers) <= _TICKS_AT_MOST else 19 * _TICKS_AT_MOST / len(layers)
    left = 14 + 6.0 * min(max(map(len, layers)), 22)
    key = 16 * len(groups)
    with canvas(height=72 + key + row * len(layers)) as sheet:
        axes = sheet.axes(left=left, top=28 + key, right=20, bottom=38)
        axes.grid(axis="x")
        for place, (methods, shares) in enumerate(groups):
            style = look[methods[0]] if len(groups) > 1 else Style(INK, "o", "-")
            rows = [layers.index(name) for name in shares if name in layers]
            values = [share for name, share in shares.items() if name in layers]
            offset = 0.5 * ((place + 0.5) / len(groups) - 0.5)
            if len(groups) == 1:
                axes.hlines(rows, 0, values, color=style.colour, lw=1.6)
            axes.plot(
                values, [r + offset for r in rows], style.marker, color=style.colour,
                mfc=style.face, mec=style.colour, ms=max(3.0, min(6.5, 0.45 * row)),
                clip_on=False,
            )  # fmt: skip
            _key(sheet, place, ", ".join(methods), style)
        every = -(-len(layers) // _TICKS_AT_MOST)
        shown = range(0, len(layers), every)
        axes.set_yticks(shown, [layers[place][-22:] for place in shown])
        axes.tick_params(axis="y", labelcolor=INK, pad=8)
        axes.set_ylim(len(layers) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel("fraction of the weights removed")
        return sheet.panel(
            f"sparsity-per-layer-{written(sparsity)}",
            f"Sparsity {written(sparsity)}",
            _alt(groups),
        )


def _key(sheet, place: int, text: str, style: Style) -> None:
    from matplotlib.lines import Line2D

    y = 1 - (31 + 16 * place) / sheet.height
    mark = Line2D(
        [8 / 360], [y], marker=style.marker, color=style.colour, mfc=style.face,
        mec=style.colour, ms=6,
    )  # fmt: skip
    sheet.figure.add_artist(mark)
    shown = text if len(text) < 56 else f"{text[:54]}…"
    sheet.text(18, 31 + 16 * place, shown, va="center_baseline", size=10)


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


def _alt(groups: list[tuple[list[str], Mapping[str, float]]]) -> str:
    listed = []
    for methods, shares in groups:
        values = ", ".join(f"{name} {share:.3g}" for name, share in shares.items())
        listed.append(f"{', '.join(methods)}: {values}")
    return f"Fraction of the weights removed from each layer. {'; '.join(listed)}."
