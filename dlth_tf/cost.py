"""Parameters and multiply-adds of a network, layer by layer, counted from its graph."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
from keras import layers, tree

from dlth_tf.keras_internals import functional_graph
from dlth_tf.network.graph import require_graph, run_graph
from dlth_tf.network.kernels import CELLS, CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from dlth_tf.network.variables import walk_layers
from dlth_tf.tickets.ticket import Ticket

_CONVOLUTIONS = (*CONVOLUTIONS, *SEPARABLE, *DEPTHWISE, *TRANSPOSED)
_RECURRENT = (layers.RNN, layers.Bidirectional)
_NUMBERS = ("parameters", "multiply_adds", "kept_parameters", "kept_multiply_adds")
_CONVOLUTIONAL_RECURRENT = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one example.

    Attributes:
        name: stable path of the layer.
        type: its class.
        output_shape: without the batch.
        parameters: numbers in its variables, moving statistics included.
        multiply_adds: of its kernels; half as many FLOPs as usually counted.
        kept_parameters: parameters that a ticket's masks leave.
        kept_multiply_adds: multiply-adds with weights that the masks leave.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    kept_parameters: int
    kept_multiply_adds: int


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """What a network costs for one example: its layers, and their sums."""

    layers: tuple[LayerCost, ...]
    parameters: int
    multiply_adds: int
    kept_parameters: int
    kept_multiply_adds: int


def layer_costs(model: keras.Model, ticket: Ticket | None = None) -> ModelCost:
    """Counts a model's parameters and multiply-adds for one example, exactly.

    Multiply-adds are those with the weights of convolutions and dense layers, at every
    position of the output, padding included: a 3x3 convolution from c to d channels on a
    h x w output takes 9 * c * d * h * w. A recurrent layer takes those of its kernels at
    every time step; an embedding looks up, and multiplies only where it is called in
    reverse. Biases, normalisation, activations and pooling multiply by no kernel and
    count as none, like an attention's products of queries, keys and values. A layer that
    is used twice costs twice; its parameters count once.

    What the masks leave is what a machine that skips every zero would compute. How much
    a ticket of whole filters saves on any machine: `layer_costs(dlth.shrink(...))`.

    Args:
        model: a functional or Sequential model whose inputs have fixed sizes, nested at
            will. Layers inside of other layers, as in `MultiHeadAttention` and KerasHub's
            encoders, are counted one by one.
        ticket: whose masks to count; None: everything is kept.

    Raises:
        ValueError: the model has no graph, a size is not fixed, or the ticket does not
            fit.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> dlth.layer_costs(model).multiply_adds
    32
    """
    graph = require_graph(model)
    pairs = [] if ticket is None else ticket.pairs(model)
    count = _Count(model, {id(variable): int(mask.sum()) for _, variable, mask in pairs})
    run_graph(graph, graph.inputs, count.visit)
    costs = tuple(count.costs.values())
    sums = {name: sum(getattr(cost, name) for cost in costs) for name in _NUMBERS}
    return ModelCost(costs, **sums)


def _has_layers(layer: layers.Layer) -> bool:
    whole = isinstance(layer, _RECURRENT)
    return not whole and any(True for _ in walk_layers(layer))


def _call_on_symbols(
    layer: layers.Layer, args: tuple, kwargs: dict, visit: Callable
) -> None:
    """Visits each call of a layer inside of one, with its inputs and its output."""
    own_call, within = layers.Layer.__call__, [layer]

    def one(tensor: Any) -> Any:
        symbolic = isinstance(tensor, keras.KerasTensor)
        return (
            keras.KerasTensor((1, *tensor.shape[1:]), tensor.dtype)
            if symbolic
            else tensor
        )

    def call(inner: layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if not _has_layers(within[-1]):
            return own_call(inner, *args, **kwargs)
        within.append(inner)
        try:
            outputs = own_call(inner, *args, **kwargs)
        finally:
            within.pop()
        inputs = [x for x in tree.flatten([args, kwargs]) if hasattr(x, "shape")]
        if not _has_layers(inner):
            # Of one example; but windows of an image may be examples to their attention.
            output = tree.flatten(outputs)[0]
            visit(inner, inputs, output, times=output.shape[0])
        return outputs

    args, kwargs = tree.map_structure(one, (args, kwargs))
    with mock.patch.object(layers.Layer, "__call__", call):
        # Not the layer's own, which may know its output without its layers.
        keras.Operation.compute_output_spec(layer, *args, **kwargs)


class _Count:
    def __init__(self, model: keras.Model, kept: dict[int, int]):
        self._kept = kept
        self._paths = {id(layer): path for path, layer in walk_layers(model)}
        self.costs: dict[int, LayerCost] = {}
        self._counted: set[int] = set()

    def visit(self, operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        graph = functional_graph(operation)
        inputs = [x for x in tree.flatten([args, kwargs]) if hasattr(x, "shape")]
        if graph is not None:
            return run_graph(graph, inputs, self.visit)
        if any(None in x.shape[1:] for x in outputs):
            outputs = tree.flatten(operation.compute_output_spec(*args, **kwargs))
        if isinstance(operation, layers.Layer):
            if _has_layers(operation):
                _call_on_symbols(operation, args, kwargs, self._add)
            self._add(operation, inputs, outputs[0])
        return outputs

    def _add(
        self, layer: layers.Layer, inputs: list, output: Any, times: int = 1
    ) -> None:
        path = self._paths[id(layer)]
        steps = inputs[0].shape[1:2] if isinstance(layer, _RECURRENT) else ()
        if None in (*steps, *output.shape[1:]):
            raise ValueError(
                f"The multiply-adds of layer '{path}' depend on the size of the input. "
                "Build the model for a fixed one. Received: input "
                f"{inputs[0].shape}, output {output.shape}"
            )
        if id(layer) not in self.costs:
            new = [v for v in layer.weights if id(v) not in self._counted]
            self._counted.update(map(id, new))
            size, kept = self._sizes(new)
            shape = tuple(output.shape[1:])
            cost = LayerCost(path, type(layer).__name__, shape, size, 0, kept, 0)
            self.costs[id(layer)] = cost
        cost = self.costs[id(layer)]
        positions = times * _positions(layer, inputs, output)
        size, kept = self._sizes(_multiplied(layer)) if positions else (0, 0)
        self.costs[id(layer)] = dataclasses.replace(
            cost,
            multiply_adds=cost.multiply_adds + positions * size,
            kept_multiply_adds=cost.kept_multiply_adds + positions * kept,
        )

    def _sizes(self, variables: list[keras.Variable]) -> tuple[int, int]:
        """How many weights variables have, and how many of them the masks leave."""
        sizes = [math.prod(variable.shape) for variable in variables]
        pairs = zip(variables, sizes, strict=True)
        return sum(sizes), sum(self._kept.get(id(v), size) for v, size in pairs)


def _multiplied(layer: layers.Layer) -> list[keras.Variable]:
    """The kernels of a layer."""
    if isinstance(layer, _RECURRENT):
        cells = [cell for _, cell in walk_layers(layer) if isinstance(cell, CELLS)]
        return [kernel for x in cells for kernel in (x.kernel, x.recurrent_kernel)]
    if isinstance(layer, layers.ReversibleEmbedding):
        return layer.weights[-1:]  # Of two, the second one is for the way back.
    return [v for v in layer.weights if v is not getattr(layer, "bias", None)]


def _positions(layer: layers.Layer, inputs: list, output: Any) -> int:
    """How many times a layer multiplies by each weight of its kernels."""
    if isinstance(layer, layers.Dense):
        return math.prod(output.shape[1:-1])
    if isinstance(layer, _CONVOLUTIONS):
        # A transposed convolution spreads each position of its input.
        shape = (inputs[0] if isinstance(layer, TRANSPOSED) else output).shape
        first = layer.data_format == "channels_first"
        return math.prod(shape[2:] if first else shape[1:-1])
    if isinstance(layer, _RECURRENT):
        return inputs[0].shape[1] * _positions_of_a_step(layer, output)
    if isinstance(layer, layers.ReversibleEmbedding):
        reverse = len(inputs[0].shape) == len(output.shape)
        return math.prod(output.shape[1:-1]) if reverse else 0
    if isinstance(layer, layers.EinsumDense):
        _, labels, outputs = re.split(",|->", layer.equation)
        sizes = zip(labels, layer.kernel.shape, strict=True)
        of_kernel = math.prod(size for label, size in sizes if label in outputs)
        return math.prod(output.shape[1:]) // of_kernel
    return 0


def _positions_of_a_step(layer: layers.Layer, output: Any) -> int:
    recurrent = getattr(layer, "forward_layer", layer)
    if not isinstance(recurrent, _CONVOLUTIONAL_RECURRENT):
        return 1
    shape = output.shape[2:] if recurrent.return_sequences else output.shape[1:]
    first = recurrent.data_format == "channels_first"
    return math.prod(shape[1:] if first else shape[:-1])
