"""Making the rows of runs: what was audited, measured and counted."""

import math
import os
from collections.abc import Mapping
from typing import Any

import keras

from dlth_tf.cost import layer_costs
from dlth_tf.experiment.engine.context import Context, evaluate
from dlth_tf.experiment.plan.runs import Run
from dlth_tf.experiment.plan.stages import FitStage, Stage, StageFailed
from dlth_tf.experiment.results import audit
from dlth_tf.experiment.results.row import Row
from dlth_tf.network.kernels import kernel_shapes
from dlth_tf.tickets.ticket import Ticket

# A multiply-add is two operations; forward, then backward to inputs and to weights.
_FLOPS = 2 * 3
_SETTLED = "settled_after_epochs"

Records = Mapping[Stage, Mapping[str, Any]]


def finished_row(run: Run, context: Context) -> Row:
    """Looks at a run whose stages are done, and measures it on the test set.

    Raises:
        StageFailed: its numbers would be no evidence.
    """
    stage, folder = run.stage, context.folder
    records = {needed: folder.record(needed) for needed in stage.lineage()}
    ticket = context.mask_of(stage)
    network = context.network_with(stage)
    audit.check_steps(records, context)
    audit.check_weights(stage, network, ticket)
    measured = evaluate(network, context.data, "test", context.hardware.workers)
    audit.check_measured(stage, measured, context.data.split_size("test"))
    return Row(
        **_identity(run),
        test_accuracy=measured.accuracy,
        test_top5=measured.top5,
        test_loss=measured.loss,
        test_images=measured.images,
        **_training_costs(run, records, context),
        **_network_costs(network, audit.weights_left(network, ticket), context),
        history={
            folder.stage(needed).name: record["history"]
            for needed, record in records.items()
            if "history" in record
        },
        shrunk_by=os.fspath(folder.stage(stage.shrunk_by)) if stage.shrunk_by else None,
        stages=[os.fspath(folder.stage(needed)) for needed in records],
    )


def failed_row(run: Run, context: Context, failure: StageFailed) -> Row:
    """Says why a run has no numbers; its last stage is the one to try again."""
    lineage = run.stage.lineage()
    made = lineage[: lineage.index(failure.stage) + 1]
    return Row(
        **_identity(run),
        failed=str(failure),
        stages=[os.fspath(context.folder.stage(stage)) for stage in made],
    )


def _identity(run: Run) -> dict[str, Any]:
    trial = run.trial
    return {
        "key": run.stage.key,
        "method": run.method,
        "sparsity": trial.sparsity,
        "seed": trial.seed,
    }


def _training_costs(run: Run, records: Records, context: Context) -> dict[str, Any]:
    """What its trainings took, by what was recorded of them.

    Dense steps, as those of a transformation, are dense; steps of a fixed ticket are
    counted as on a machine that skips every zero.
    """
    dense = context.dense_cost.multiply_adds
    seen = {stage: record.get("images", 0) for stage, record in records.items()}
    flops = sum(
        (context.multiply_adds(stage) if isinstance(stage, FitStage) else dense) * images
        for stage, images in seen.items()
    )
    dense_images = run.dense_stage.images(context.data)
    settled = [r[_SETTLED] for r in records.values() if _SETTLED in r]
    return {
        "train_images": sum(seen.values()),
        "train_cost": sum(seen.values()) / dense_images,
        "train_flops": _FLOPS * flops,
        "train_flops_cost": flops / (dense * dense_images),
        "seconds": sum(record.get("seconds", 0.0) for record in records.values()),
        _SETTLED: settled[0] if settled else None,
    }


def _network_costs(network: keras.Model, left: Ticket, context: Context) -> dict:
    """Weights, parameters and multiply-adds of a network, relative to the dense one.

    Args:
        network: perhaps smaller than the dense one.
        left: what counts as left of it.
        context: has the dense network.
    """
    cost, dense = layer_costs(network, left), context.dense_cost
    shapes = kernel_shapes(context.blueprint)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    counts = {name: int(left.masks[name].sum()) for name in sizes}
    return {
        "weights_left": sum(counts.values()) / sum(sizes.values()),
        "sparsity_per_layer": {n: 1.0 - counts[n] / size for n, size in sizes.items()},
        "parameters_left": cost.kept_parameters,
        "multiply_adds_left": cost.kept_multiply_adds,
        "dense_parameters": dense.parameters,
        "dense_multiply_adds": dense.multiply_adds,
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "parameters": layer.parameters,
                "parameters_left": layer.kept_parameters,
                "multiply_adds": layer.multiply_adds,
                "multiply_adds_left": layer.kept_multiply_adds,
            }
            for layer in cost.layers
            if layer.parameters
        ],
    }
