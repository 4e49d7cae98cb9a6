"""What is done to channels by activations, by joining tensors, by `x + y`."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from dlth_tf.network.channels.couplings import Channels, Couplings, LeftWhole

_ELEMENTWISE = frozenset(
    getattr(keras.activations, name)
    for name in (
        *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid"),
        *("hard_silu", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish"),
        *("relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus"),
        *("softsign", "squareplus", "tanh", "tanh_shrink"),
    )
)
_ACTIVATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard_sigmoid",
    "Silu": "silu",
    "HardSilu": "hard_silu",
    "Gelu": "gelu",
    "Tanh": "tanh",
}


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of a layer, or of an operation that is none, in a graph."""

    layer: Any
    inputs: Sequence[Channels]
    output: keras.KerasTensor
    couplings: Couplings

    @property
    def x(self) -> Channels:
        """The only input."""
        if len(self.inputs) != 1:
            raise LeftWhole(f"it is called on {len(self.inputs)} tensors")
        return self.inputs[0]

    def along(self, axis: int) -> Channels:
        """The only input with an axis read as its channels."""
        return _along(self.x, axis, self.couplings)

    def along_data_format(self) -> Channels:
        """The only input with the axis read as its channels that the layer takes."""
        first = getattr(self.layer, "data_format", None) == "channels_first"
        return self.along(1 if first else len(self.x.shape) - 1)

    def variable(self, name: str) -> keras.Variable:
        variable = getattr(self.layer, name)
        if not isinstance(variable, keras.Variable):
            raise LeftWhole("its kernel is computed from other variables")
        return variable

    def use(self, name: str, axis: int, ids: np.ndarray, masked: bool = False) -> None:
        """Notes that channels lie along an axis of one of the layer's variables."""
        self.couplings.use(self.variable(name), axis, ids, masked)

    def size(self, ids: list[np.ndarray], resizing: Callable) -> list[np.ndarray]:
        """Notes rows of channels whose number shapes the layer; see `Couplings.size`."""
        return self.couplings.size(self.layer, ids, resizing)


def follow_operation(call: Call, arguments: Sequence) -> Channels:
    """The channels of the output of an operation that is no layer (`ops.relu`)."""
    name = type(call.layer).__name__
    unknown = LeftWhole(f"what a {name} does to channels is not known")
    numbers = [value for value in arguments if isinstance(value, int | float)]
    if len(call.inputs) + len(numbers) != len(arguments):
        raise unknown
    if name in ("Add", "Subtract"):
        if not numbers:
            return joined(call, np.logical_and)
        return replace(call.x, vanishes=call.x.vanishes & (math.fsum(numbers) == 0))
    if name == "Multiply":
        return call.x if numbers else joined(call, np.logical_or)
    if name not in _ACTIVATIONS or numbers:
        raise unknown
    return activated(call, call.x, getattr(keras.activations, _ACTIVATIONS[name]))


def activated(call: Call, x: Channels, activation: Callable | None = None) -> Channels:
    """The channels after an activation function, by default the layer's."""
    activation = activation or call.layer.activation
    if activation not in _ELEMENTWISE:
        name = getattr(activation, "__name__", type(activation).__name__)
        reason = f"the activation '{name}' may look at all its channels"
        call.couplings.keep(x.ids, reason)
        return x
    return replace(x, vanishes=x.vanishes & keeps_zero(activation))


def keeps_zero(activation: Callable) -> bool:
    """Whether an elementwise function or layer is zero at zero."""
    value = activation(keras.ops.zeros((1, 1)))
    return float(keras.ops.squeeze(value)) == 0.0


def joined(call: Call, vanishing: Callable) -> Channels:
    """The channels of tensors that are combined channel by channel, broadcast.

    `vanishing` is from what vanishes in two of them to what vanishes in the result.
    """
    shape, couplings = call.output.shape, call.couplings
    if any(len(x.shape) != len(shape) for x in call.inputs):
        raise LeftWhole("it combines tensors of different ranks")
    axis = max(call.inputs, key=lambda x: len(x.ids)).axis
    inputs = [_along(x, axis, couplings) for x in call.inputs]
    count = max(len(x.ids) for x in inputs)
    rows, zeros = [], []
    for x in inputs:
        if len(x.ids) == 1 < count:
            couplings.keep(x.ids, "it is spread over all channels of another tensor")
            zeros.append(np.zeros(count, bool))
        else:
            rows.append(x.ids)
            couplings.couple(rows[0], x.ids)
            zeros.append(x.vanishes)
    return Channels(rows[0], functools.reduce(vanishing, zeros), axis, shape)


def _along(x: Channels, axis: int, couplings: Couplings) -> Channels:
    """The tensor with another axis read as its channels: possible if none may go."""
    if axis == x.axis:
        return x
    reasons = {couplings.reason(channel) for channel in x.ids.tolist()}
    size = x.shape[axis]
    if None in reasons or size is None:
        raise LeftWhole("it takes another axis for that of the channels")
    ids = couplings.new(size)
    couplings.keep(ids, next(filter(None, reasons), "its size is not fixed"))
    return Channels(ids, np.zeros(len(ids), bool), axis, x.shape)
