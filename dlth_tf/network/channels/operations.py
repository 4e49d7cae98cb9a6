"""What operations that are no layers (`x + y`, `ops.relu`) do to channels."""

import math

import keras
import numpy as np

from dlth_tf.network.channels.couplings import Channels, Couplings, LeftWhole
from dlth_tf.network.channels.rules import activated, joined


def follow_operation(operation, args, output, couplings: Couplings) -> Channels:
    """The channels of an operation's output.

    Raises:
        LeftWhole: as the rules do.
    """
    tensors = [value for value in args if isinstance(value, Channels)]
    numbers = [value for value in args if isinstance(value, int | float)]
    name = type(operation).__name__
    if len(tensors) + len(numbers) != len(args) or name not in _OPERATIONS:
        raise LeftWhole(f"what a {name} does to channels is not known")
    return _OPERATIONS[name](tensors, numbers, output, couplings)


def _sum(tensors, numbers, output, couplings):
    if not numbers:
        return joined(tensors, output, couplings, np.logical_and)
    (x,) = tensors
    return Channels(x.ids, x.vanishes & (math.fsum(numbers) == 0), x.axis, x.shape)


def _product(tensors, numbers, output, couplings):
    if not numbers:
        return joined(tensors, output, couplings, np.logical_or)
    return tensors[0]


def _function(name):
    def rule(tensors, numbers, output, couplings):
        if numbers:
            raise LeftWhole(f"what a {name} does to channels is not known")
        (x,) = tensors
        return activated(x, getattr(keras.activations, name), couplings)

    return rule


_OPERATIONS = {
    "Add": _sum,
    "Subtract": _sum,
    "Multiply": _product,
    **{
        operation: _function(name)
        for operation, name in {
            "Relu": "relu",
            "Relu6": "relu6",
            "Sigmoid": "sigmoid",
            "HardSigmoid": "hard_sigmoid",
            "Silu": "silu",
            "HardSilu": "hard_silu",
            "Gelu": "gelu",
            "Tanh": "tanh",
        }.items()
    },
}
