"""A run's row: weights, steps and outputs are audited before any number is told."""

import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import keras
import numpy as np

from dlth_tf.cost import layer_costs
from dlth_tf.experiment.engine.context import Context, evaluate
from dlth_tf.experiment.plan.runs import Run
from dlth_tf.experiment.plan.stages import FitStage, Stage, StageFailed
from dlth_tf.experiment.results.row import Row
from dlth_tf.network.kernels import kernel_shapes, maskable_kernels
from dlth_tf.network.variables import get_weights
from dlth_tf.tickets.ticket import Ticket

# A multiply-add is two operations; forward, then backward to inputs and to weights.
_FLOPS = 2 * 3
_TOLD = ("settled_after_epochs", "penalty_form")

Records = Mapping[Stage, Mapping[str, Any]]


def finished_row(run: Run, context: Context) -> Row:
    """Measures a run on the test set; StageFailed if its numbers were no evidence."""
    stage, folder = run.stage, context.folder
    records = {needed: folder.record(needed) for needed in stage.lineage()}
    ticket = context.mask_of(stage)
    network = context.network_with(stage)
    _check_steps(records, context)
    _check_weights(stage, network, ticket)
    measured = evaluate(network, context.data, "test", context.hardware.workers)
    if measured.not_finite:
        some = f"{measured.not_finite} of {measured.images} test images"
        _fail(stage, f"the outputs of {some} are not finite")
    if measured.images != (size := context.data.split_size("test")):
        _fail(stage, f"{measured.images} of {size} test images were measured")
    return Row(
        **_identity(run),
        test_accuracy=measured.accuracy,
        test_top5=measured.top5,
        test_loss=measured.loss,
        test_images=measured.images,
        **_training_costs(run, records, context),
        **_network_costs(network, weights_left(network, ticket), context),
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
    stages = [os.fspath(context.folder.stage(stage)) for stage in made]
    return Row(**_identity(run), failed=str(failure), stages=stages)


def _identity(run: Run) -> dict[str, Any]:
    cell = {"method": run.method, "sparsity": run.trial.sparsity, "seed": run.trial.seed}
    return cell | {"key": run.stage.key}


def _check_steps(records: Records, context: Context) -> None:
    """Makes sure that every training took the optimizer steps of the plan.

    In float16 it may take fewer: loss scaling skips those that overflow.
    """
    overflows = context.task.mixed_precision == "float16"
    for stage, record in records.items():
        if isinstance(stage, FitStage):
            planned, taken = stage.steps(context.data), record["steps"]
            least = 1 if stage.may_end_early or overflows else planned
            if not 0 < least <= taken <= planned:
                _fail(stage, f"it took {taken} of {planned} optimizer steps")


def _check_weights(stage: Stage, network: keras.Model, ticket: Ticket | None) -> None:
    """Makes sure that weights are finite, and zero wherever a ticket removes them."""
    for name, value in get_weights(network).items():
        if not np.isfinite(value).all():
            _fail(stage, f"weights of '{name}' are not finite")
    for name, variable, mask in ticket.pairs(network) if ticket else ():
        left = np.count_nonzero(keras.ops.convert_to_numpy(variable)[~mask])
        if left:
            _fail(stage, f"{left} removed weights of '{name}' are not zero")


def _fail(stage: Stage, why: str) -> NoReturn:
    raise StageFailed(stage, f"failed: {why}")


def weights_left(network: keras.Model, ticket: Ticket | None) -> Ticket:
    """What is left of a network, counted in its weights.

    A kernel's weight is left unless it is exactly zero. One that is kept and zero all the
    same, because its unit died or nothing ever reached it, multiplies nothing and does
    not count: whoever gets the weights alone finds as many. Biases and normalisation
    parameters may well be zero and at work; a ticket of filters says which are left.
    """
    kernels = maskable_kernels(network)
    left = {n: keras.ops.convert_to_numpy(k) != 0 for n, k in kernels.items()}
    return Ticket({**(ticket.masks if ticket else {}), **left})


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
    told = {n: record[n] for record in records.values() for n in _TOLD if n in record}
    return {
        "train_images": sum(seen.values()),
        "train_cost": sum(seen.values()) / dense_images,
        "train_flops": _FLOPS * flops,
        "train_flops_cost": flops / (dense * dense_images),
        "seconds": sum(record.get("seconds", 0.0) for record in records.values()),
        **told,
    }


def _network_costs(network: keras.Model, left: Ticket, context: Context) -> dict:
    """Weights, parameters and multiply-adds left, also of one that was made smaller."""
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
