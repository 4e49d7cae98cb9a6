"""From a trained network to one that infers faster, its BatchNorm folded away."""

import collections
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from dlth_tf.keras_internals import functional_graph
from dlth_tf.network.graph import copy_layer, rebuild, require_graph, run_graph
from dlth_tf.network.kernels import CONVOLUTIONS, DEPTHWISE


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A model for inference with BatchNorm folded into the layers before it.

    In inference BatchNorm multiplies each channel by a constant and adds another; a
    convolution or Dense layer right before it does both for nothing, by a scaled kernel
    and a bias. Zeros of the kernel stay zeros. BatchNorm that follows anything else, a
    layer with an activation or one that is used more than once is left as it is. In the
    place of a folded BatchNorm stands an `Identity` of its name. `model` itself is not
    changed. Subclasses of Keras's `BatchNormalization` are taken to infer as it does.

    Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference" (2018), section 3.2, has the equations.

    Args:
        model: a functional or Sequential model, nested at will.

    Returns:
        A new model, not compiled, whose outputs are `model`'s in inference, to rounding.
        It is not meant to be trained.

    Raises:
        ValueError: the model has no graph (it is subclassed).

    Example:

    >>> fast = dlth.fold_batch_norm(dlth.shrink(model, ticket))
    >>> probabilities = fast.predict(images)
    """
    folds = _folds(model)
    folded = {id(norm) for norm in folds.values()}

    def counterpart(layer: layers.Layer) -> layers.Layer:
        if id(layer) in folded:
            return layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
        return copy_layer(layer, {"use_bias": True} if id(layer) in folds else {})

    fast, pairs = rebuild(model, counterpart)
    for layer, copy in pairs:
        if id(layer) in folds:
            _assign_folded(layer, folds[id(layer)], copy)
        elif id(layer) not in folded:
            copy.set_weights(layer.get_weights())
    return fast


def _assign_folded(
    layer: layers.Layer, norm: layers.BatchNormalization, copy: layers.Layer
) -> None:
    kernel, mean, variance = (
        keras.ops.convert_to_numpy(variable).astype(np.float64)
        for variable in (layer.kernel, norm.moving_mean, norm.moving_variance)
    )
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * keras.ops.convert_to_numpy(norm.gamma)
    shift = -mean * scale
    if norm.center:
        shift = shift + keras.ops.convert_to_numpy(norm.beta)
    if layer.use_bias:
        shift = shift + keras.ops.convert_to_numpy(layer.bias) * scale
    if isinstance(layer, DEPTHWISE):
        scale = scale.reshape(kernel.shape[-2:])
    copy.kernel.assign((kernel * scale).astype(layer.kernel.dtype))
    copy.bias.assign(shift.astype(copy.bias.dtype))


class _Tensor:
    """An output in the graph: what made it, and what takes it."""

    def __init__(self, producer: Any, rank: int):
        self.producer = producer
        self.rank = rank
        self.consumers: list = []


def _folds(model: keras.Model) -> dict[int, layers.BatchNormalization]:
    """For the id of a layer, the BatchNorm that can be folded into it."""
    calls: collections.Counter = collections.Counter()
    tensors: list[_Tensor] = []
    _follow(require_graph(model), calls, tensors)
    return {
        id(tensor.producer): tensor.consumers[0]
        for tensor in tensors
        if len(tensor.consumers) == 1
        and calls[id(tensor.producer)] == calls[id(tensor.consumers[0])] == 1
        and _is_foldable(tensor.producer, tensor.consumers[0], tensor.rank)
    }


def _follow(graph: Any, calls: collections.Counter, tensors: list[_Tensor]) -> None:
    """Notes all tensors of a graph and of those nested in it, and counts the calls."""

    def visit(operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        calls[id(operation)] += 1
        nested = functional_graph(operation)
        if nested is not None and calls[id(operation)] == 1:
            _follow(nested, calls, tensors)
        special = any(kwargs.get(name) is not None for name in ("training", "mask"))
        for tensor in tree.flatten([args, kwargs]):
            if isinstance(tensor, _Tensor):
                tensor.consumers.append(None if special else operation)
        made = [_Tensor(operation, len(output.shape)) for output in outputs]
        tensors.extend(made)
        return made

    inputs = [_Tensor(None, len(tensor.shape)) for tensor in graph.inputs]
    for output in run_graph(graph, inputs, visit):
        output.consumers.append(None)


def _is_foldable(layer: Any, norm: Any, rank: int) -> bool:
    first = getattr(layer, "data_format", None) == "channels_first"
    return (
        isinstance(norm, layers.BatchNormalization)
        and type(layer) in (layers.Dense, *CONVOLUTIONS, *DEPTHWISE)
        and layer.activation is keras.activations.linear
        and norm.axis % rank == (1 if first else rank - 1)
    )
