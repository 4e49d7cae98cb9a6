"""What a dry run prints: the runs, their trainings, and the layers that are masked."""

import math
from collections.abc import Iterable, Sequence

from dlth_tf.cost import LayerCost, ModelCost, layer_costs
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.plan import stages as kinds
from dlth_tf.experiment.plan.methods import written
from dlth_tf.experiment.plan.runs import Run, images_of, stages_of
from dlth_tf.experiment.results.comparison import aligned
from dlth_tf.tickets.ticket import Ticket

_PLACED = kinds.TicketStage | kinds.EarlyBirdTraining | kinds.GradualPruning
_SIZES = ("layer", "shape", "weights", "sparsity", "weights left")
_LAYER_HEAD = (*_SIZES, "multiply-adds", "multiply-adds left")


def layer_tables(runs: Iterable[Run], context: Context) -> str:
    """The network's layers, in a table for each sparsity and each way to place it."""
    methods: dict[tuple, list[str]] = {}
    for run in runs:
        placed = [s for s in run.stage.lineage() if isinstance(s, _PLACED)]
        if placed:
            key = placed[-1].sparsity, placed[-1].placement
            methods.setdefault(key, []).append(run.method)
    parts = []
    for (sparsity, placement), users in methods.items():
        words = f"sparsity {written(sparsity)} {placement.title}".strip()
        compete = placement.distribution == "global"
        note = " Layers compete; so much a random ticket removes." * compete
        parts.append(f"{words} ({', '.join(dict.fromkeys(users))}):{note}")
        ticket = context.random_ticket(0, sparsity, placement)
        parts.append(_table(ticket, layer_costs(context.blueprint, ticket)))
    return "\n".join(parts)


def _table(ticket: Ticket, cost: ModelCost) -> str:
    costs = {layer.name: layer for layer in cost.layers}
    rows, total = [], 0
    for name, sparsity in ticket.sparsity_per_kernel().items():
        shape = ticket.masks[name].shape
        total += math.prod(shape)
        # A layer with several kernels, like a separable convolution, is counted as one.
        row = "x".join(map(str, shape)), math.prod(shape), sparsity, costs.get(name)
        rows.append(_row(name, *row))
    return aligned([_LAYER_HEAD, *rows, _row("all", "", total, ticket.sparsity, cost)])


def _row(
    name: str, shape: str, size: int, sparsity: float, cost: ModelCost | LayerCost | None
) -> tuple[str, ...]:
    left = round(size * (1 - sparsity))
    work = [cost.multiply_adds, cost.kept_multiply_adds] if cost else []
    words = [f"{number:,}" for number in work] or ["", ""]
    return name, shape, f"{size:,}", f"{sparsity:.4f}", f"{left:,}", *words


def describe(runs: Sequence[Run], context: Context) -> str:
    """The plan: runs, the trainings that they share, images, and time once measured."""
    sizes = context.sizes
    stages = [stage for stage in stages_of(runs) if stage.images(sizes)]
    needed = [{stage.key for stage in run.stage.lineage()} for run in runs]
    status = {stage.key: _status(stage, context) for stage in stages}
    done = [stage for stage in stages if status[stage.key] == "done"]
    left = sum(stage.images(sizes) for stage in stages if not status[stage.key])
    lines = [f"{len(runs)} runs:"]
    for run in runs:
        images = images_of([run], sizes)
        cost = images / run.dense_stage.images(sizes)
        lines.append(f"  {run.name:<28} {images:>14,} images  {cost:5.2f} x dense")
    lines.append(f"{len(stages)} trainings, {len(done)} of them done:")
    for stage in stages:
        shared = sum(stage.key in keys for keys in needed)
        note = f"  shared by {shared} runs" * (shared > 1)
        note += "  at most" * (isinstance(stage, kinds.FitStage) and stage.may_end_early)
        note += f"  {status[stage.key]}" * bool(status[stage.key])
        steps, images = stage.steps(sizes), stage.images(sizes)
        lines.append(f"  {stage.title:<58} {steps:>9,} steps {images:>14,} images{note}")
    total = f"{images_of(runs, sizes):,} images, {left:,} of them to be trained on"
    return "\n".join([*lines, f"Total: {total}.", _estimate(done, left, context)])


def _status(stage: kinds.Stage, context: Context) -> str:
    """Whether it is done, or failed with what it builds on; nothing if it is to come."""
    done = [needed for needed in stage.lineage() if context.folder.is_done(needed)]
    if any(map(context.folder.failure, done)):
        return "failed"
    return "done" if stage in done else ""


def _estimate(done: Sequence[kinds.Stage], images_left: int, context: Context) -> str:
    records = [context.folder.record(stage) for stage in done]
    seconds = sum(record["seconds"] for record in records)
    if not images_left:
        return "Nothing is left to train."
    if not seconds:
        return "Time: unknown until a training of this experiment has been measured."
    rate = sum(record["images"] for record in records) / seconds
    minutes = math.ceil(images_left / rate / 60)
    return f"Time: about {minutes:,} min at the {rate:,.0f} images/s measured so far."
