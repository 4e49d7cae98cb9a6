"""Which layers lose how much: the table that a dry run prints."""

import math
from collections.abc import Iterable

from dlth_tf.experiment.plan import Run
from dlth_tf.experiment.table import aligned
from dlth_tf.experiment.workbench import Workbench

_HEAD = ("layer", "shape", "weights", "sparsity", "weights left")


def layer_tables(runs: Iterable[Run], bench: Workbench) -> str:
    """The network's layers, in a table for each sparsity and each way to place it."""
    methods: dict[tuple, list[str]] = {}
    for run in runs:
        placed = [s for s in run.stage.lineage() if hasattr(s, "sparsity")]
        if placed:
            key = (placed[-1].sparsity, placed[-1].placement)
            methods.setdefault(key, []).append(run.method)
    parts = []
    for (sparsity, placement), users in methods.items():
        words = f"sparsity {sparsity:g} {placement.title}".strip()
        note = ""
        if placement.distribution == "global":
            note = " Layers compete; so much a random ticket removes."
        parts.append(f"{words} ({', '.join(dict.fromkeys(users))}):{note}")
        parts.append(_table(bench.random_ticket(0, sparsity, placement)))
    return "\n".join(parts)


def _table(ticket) -> str:
    sparsities = ticket.sparsity_per_kernel()
    rows = [
        _row(name, "x".join(map(str, ticket.masks[name].shape)), size, sparsities[name])
        for name in sparsities
        if (size := math.prod(ticket.masks[name].shape))
    ]
    total = sum(math.prod(ticket.masks[name].shape) for name in sparsities)
    return aligned([_HEAD, *rows, _row("all", "", total, ticket.sparsity)])


def _row(name: str, shape: str, weights: int, sparsity: float) -> tuple[str, ...]:
    left = round(weights * (1 - sparsity))
    return name, shape, f"{weights:,}", f"{sparsity:.4f}", f"{left:,}"
