"""Which layers lose how much: the table that a dry run prints."""

import math
from collections.abc import Iterable

from dlth_tf.experiment.methods import written
from dlth_tf.experiment.plan import Run
from dlth_tf.experiment.table import aligned
from dlth_tf.experiment.workbench import Workbench

_HEAD = (
    *("layer", "shape", "weights", "sparsity", "weights left"),
    *("multiply-adds", "multiply-adds left"),
)


def layer_tables(runs: Iterable[Run], bench: Workbench) -> str:
    """The network's layers, in a table for each sparsity and each way to place it."""
    from dlth_tf.cost import layer_costs

    methods: dict[tuple, list[str]] = {}
    for run in runs:
        placed = [s for s in run.stage.lineage() if hasattr(s, "sparsity")]
        if placed:
            key = (placed[-1].sparsity, placed[-1].placement)
            methods.setdefault(key, []).append(run.method)
    parts = []
    for (sparsity, placement), users in methods.items():
        words = f"sparsity {written(sparsity)} {placement.title}".strip()
        note = ""
        if placement.distribution == "global":
            note = " Layers compete; so much a random ticket removes."
        parts.append(f"{words} ({', '.join(dict.fromkeys(users))}):{note}")
        ticket = bench.random_ticket(0, sparsity, placement)
        parts.append(_table(ticket, layer_costs(bench.blueprint, ticket)))
    return "\n".join(parts)


def _table(ticket, cost) -> str:
    costs = {layer.name: layer for layer in cost.layers}
    sparsities = ticket.sparsity_per_kernel()
    rows = []
    for name, sparsity in sparsities.items():
        shape = ticket.masks[name].shape
        # A layer with several kernels, like a separable convolution, is counted as one.
        row = "x".join(map(str, shape)), math.prod(shape), sparsity, costs.get(name)
        rows.append(_row(name, *row))
    total = sum(math.prod(ticket.masks[name].shape) for name in sparsities)
    return aligned([_HEAD, *rows, _row("all", "", total, ticket.sparsity, cost)])


def _row(name: str, shape: str, weights: int, sparsity: float, cost) -> tuple[str, ...]:
    left = round(weights * (1 - sparsity))
    work = [cost.multiply_adds, cost.kept_multiply_adds] if cost else []
    words = [f"{number:,}" for number in work] or ["", ""]
    return name, shape, f"{weights:,}", f"{sparsity:.4f}", f"{left:,}", *words
