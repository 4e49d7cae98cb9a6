"""What a run must show before its row is written: weights, steps and outputs."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from dlth_tf.experiment.engine.context import Context, Measured
from dlth_tf.experiment.plan.stages import FitStage, Stage, StageFailed, WeightsStage
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import get_weights
from dlth_tf.tickets.ticket import Ticket


def check_steps(records: Mapping[Stage, Mapping[str, Any]], context: Context) -> None:
    """Makes sure that every training took the optimizer steps of the plan.

    In float16 it may take fewer: loss scaling skips those that overflow.

    Raises:
        StageFailed: one did not, or took none.
    """
    overflows = context.task.mixed_precision == "float16"
    for stage, record in records.items():
        if not isinstance(stage, FitStage):
            continue
        planned, taken = stage.steps(context.data), record["steps"]
        as_planned = taken == planned or (stage.may_end_early or overflows)
        if not (as_planned and 0 < taken <= planned):
            raise StageFailed(
                stage, f"failed: it took {taken} of {planned} optimizer steps"
            )


def check_weights(
    stage: WeightsStage, network: keras.Model, ticket: Ticket | None
) -> None:
    """Makes sure that weights are finite, and zero wherever they are removed.

    Args:
        stage: whose weights the network has.
        network: the trained network.
        ticket: its masks; None: none of its weights are removed.

    Raises:
        StageFailed: they are not.
    """
    for name, value in get_weights(network).items():
        if not np.isfinite(value).all():
            raise StageFailed(stage, f"failed: weights of '{name}' are not finite")
    for name, variable, mask in ticket.pairs(network) if ticket else ():
        left = np.count_nonzero(keras.ops.convert_to_numpy(variable)[~mask])
        if left:
            raise StageFailed(
                stage, f"failed: {left} removed weights of '{name}' are not zero"
            )


def check_measured(stage: WeightsStage, measured: Measured, test_size: int) -> None:
    """Makes sure that all test images were measured, and none without a finite output.

    Raises:
        StageFailed: it is not so.
    """
    if measured.not_finite:
        raise StageFailed(
            stage,
            f"failed: the outputs of {measured.not_finite} of {measured.images} test "
            "images are not finite",
        )
    if measured.images != test_size:
        raise StageFailed(
            stage, f"failed: {measured.images} of {test_size} test images were measured"
        )


def weights_left(network: keras.Model, ticket: Ticket | None) -> Ticket:
    """What is left of a network, counted in its weights.

    A kernel's weight is left unless it is exactly zero. One that is kept and zero all the
    same, because its unit died or nothing ever reached it after it was grown, multiplies
    nothing and does not count: whoever gets the weights alone finds as many. Biases and
    normalisation parameters may well be zero and at work; of those a ticket of whole
    filters says which are left.
    """
    kernels = maskable_kernels(network)
    left = {n: keras.ops.convert_to_numpy(k) != 0 for n, k in kernels.items()}
    return Ticket({**(ticket.masks if ticket else {}), **left})
