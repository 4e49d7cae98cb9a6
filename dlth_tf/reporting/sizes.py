"""How large a run's network is, and each of its layers."""

from collections.abc import Mapping

from dlth_tf.reporting.markup import paragraph, table, tag, text
from dlth_tf.reporting.records import RunRecord, number

_COUNTS = ("parameters", "parameters_left", "multiply_adds", "multiply_adds_left")


def sizes(run: RunRecord) -> str:
    """A sentence on the network, and a table of its layers to unfold."""
    found = run.size
    if len(found) < 4:
        return ""
    lead = (
        f"Seed {run.seed}, parameters left: {found['parameters_left']:,.0f} of "
        f"{found['dense_parameters']:,.0f}. Multiply-adds for one image, zeros skipped: "
        f"{found['multiply_adds_left']:,.0f} of {found['dense_multiply_adds']:,.0f}."
    )
    rows = [row for layer in run.layer_sizes if (row := _row(layer))]
    head = ["layer", "parameters", "left", "multiply-adds", "left"]
    layers = table(head, rows, "One image, layer by layer.", class_="numbers")
    unfolded = tag("details", tag("summary", "Layer by layer"), layers)
    return paragraph(lead) + (unfolded if rows else "")


def _row(layer: Mapping[str, object]) -> list[str]:
    counts = [number(layer.get(name)) for name in _COUNTS]
    if None in counts:
        return []
    return [text(layer.get("name", "")), *(f"{count:,.0f}" for count in counts)]
