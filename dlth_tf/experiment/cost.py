"""What a run costs: its network for one image, its trainings in all."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlth_tf.experiment.stages import Stage
from dlth_tf.experiment.training_stages import FitStage
from dlth_tf.experiment.workbench import Workbench

if TYPE_CHECKING:
    import keras

    from dlth_tf.tickets.ticket import Ticket

# A multiply-add is two operations; forward, then backward to inputs and to weights.
_FLOPS = 2 * 3


def training_flops(records: Mapping[Stage, Mapping], bench: Workbench) -> int:
    """Floating-point operations of all trainings, by what was recorded of the stages.

    Dense steps, as those of a transformation, are dense; steps of a fixed ticket are
    counted as on a machine that skips every zero.
    """
    dense = bench.dense_cost.multiply_adds
    total = 0
    for stage, record in records.items():
        trains = isinstance(stage, FitStage)
        multiply_adds = stage.multiply_adds(bench) if trains else dense
        total += _FLOPS * multiply_adds * record.get("images", 0)
    return total


def dense_training_flops(dense: FitStage, bench: Workbench) -> int:
    """Those of training the dense network once."""
    return _FLOPS * bench.dense_cost.multiply_adds * dense.images(bench)


def network_cost(network: "keras.Model", left: "Ticket", bench: Workbench) -> dict:
    """Weights, parameters and multiply-adds of a network, ready for JSON.

    Args:
        network: perhaps smaller than the dense one, with which it is compared.
        left: what counts as left of it.
        bench: has the dense network.
    """
    from dlth_tf.cost import layer_costs
    from dlth_tf.network.kernels import kernel_shapes

    cost = layer_costs(network, left)
    sizes = {n: math.prod(shape) for n, shape in kernel_shapes(bench.blueprint).items()}
    counts = {name: int(left.masks[name].sum()) for name in sizes}
    return {
        "weights_left": sum(counts.values()) / sum(sizes.values()),
        "sparsity_per_layer": {n: 1.0 - counts[n] / size for n, size in sizes.items()},
        "parameters_left": cost.kept_parameters,
        "multiply_adds_left": cost.kept_multiply_adds,
        "dense_parameters": bench.dense_cost.parameters,
        "dense_multiply_adds": bench.dense_cost.multiply_adds,
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
