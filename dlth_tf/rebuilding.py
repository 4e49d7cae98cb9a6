"""A trained network made anew: smaller, without what a ticket removes, or faster."""

import collections
import math
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from dlth_tf.keras_internals import functional_graph
from dlth_tf.network.channel_groups import Analysis
from dlth_tf.network.graph import copy_layer, rebuild, require_graph, run_graph
from dlth_tf.network.kernels import CONVOLUTIONS, DEPTHWISE
from dlth_tf.tickets.ticket import Ticket


def shrink(model: keras.Model, ticket: Ticket) -> keras.Model:
    """A smaller dense model that computes what the masked model does.

    Channels that the ticket removes from all layers coupled in them are left out, with
    the weights that only took them in; the other weights are copied, the ticket's masks
    applied. Layers are of the same types and have the same names, inputs and outputs
    keep their shapes, and what can't be analysed keeps its size
    (`dlth_tf.channel_groups(model).whole` says why). `model` itself is not changed.

    Args:
        model: a functional or Sequential model, nested at will.
        ticket: must fit the model; `random_ticket` and `magnitude_ticket` with
            `unit="filter"` make such that shrink. Another one is applied, and the model
            keeps its size.

    Returns:
        A new model, not compiled.

    Raises:
        ValueError: the model has no graph (it is subclassed), or the ticket does not fit.

    Example: transform, shrink, finetune the small network.

    >>> ticket = dlth.random_ticket(model, sparsity=0.5, seed=0, unit="filter")
    >>> model.fit(train, epochs=30, callbacks=[dlth.RandomSparseTransformation(ticket)])
    >>> small = dlth.shrink(model, ticket)
    >>> small.compile("sgd", "sparse_categorical_crossentropy")
    >>> small.fit(train, epochs=60)
    """
    require_graph(model)
    masks = {id(variable): mask for _, variable, mask in ticket.pairs(model)}
    kept = _KeptChannels(model, ticket)
    smaller, pairs = rebuild(
        model, lambda layer: copy_layer(layer, kept.resized_config(layer))
    )
    for layer, counterpart in pairs:
        for source, target in zip(layer.variables, counterpart.variables, strict=True):
            value = keras.ops.convert_to_numpy(source)
            if id(source) in masks:
                value = np.where(masks[id(source)], value, np.zeros((), value.dtype))
            target.assign(kept.part_of(source, value))
    return smaller


class _KeptChannels:
    """Which channels of a model are left when a ticket is applied."""

    def __init__(self, model: keras.Model, ticket: Ticket):
        analysis = Analysis(model)
        self._couplings = analysis.couplings
        self._roots = analysis.couplings.roots()
        self._kept = np.ones(len(self._roots), np.bool_)
        masks, axes = ticket.masks, analysis.axes
        places, _ = analysis.removable_places()
        for root, of_channel in places.items():
            self._kept[root] = any(
                name not in masks or masks[name].take(positions, axes[name]).any()
                for name, positions in of_channel.items()
            )
        for use in self._couplings.uses.values():
            # A ticket made elsewhere may remove all filters of a layer.
            if not self._of(use.ids).any():
                self._kept[self._roots[use.ids[0]]] = True
        for rows in self._couplings.alike:
            # One number counts them all: each keeps what the fullest one does of its own.
            parts = math.gcd(*map(len, rows))
            kept = [np.count_nonzero(self._of(row)) for row in rows]
            most = max(
                -(-n * parts // len(row)) for n, row in zip(kept, rows, strict=True)
            )
            for n, row in zip(kept, rows, strict=True):
                removed = self._roots[row[~self._of(row)]]
                self._kept[removed[: most * len(row) // parts - n]] = True

    def _of(self, ids: np.ndarray) -> np.ndarray:
        return self._kept[self._roots[ids]]

    def part_of(self, variable: keras.Variable, value: np.ndarray) -> np.ndarray:
        """What is left of a variable's value."""
        for axis in range(value.ndim):
            use = self._couplings.uses.get((id(variable), axis))
            if use is not None:
                value = np.compress(self._of(use.ids), value, axis)
        return value

    def resized_config(self, layer: layers.Layer) -> dict:
        """What changes in a layer's config for the channels that are left."""
        rows, resizing = self._couplings.sized(layer)
        return resizing(*(int(self._of(ids).sum()) for ids in rows)) if resizing else {}


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


def _folds(model: keras.Model) -> dict[int, layers.BatchNormalization]:
    """For the id of a layer, the BatchNorm that can be folded into it."""
    calls: collections.Counter = collections.Counter()
    made: list[tuple[Any, Any]] = []
    consumers: collections.defaultdict = collections.defaultdict(list)

    def visit(operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        calls[id(operation)] += 1
        nested = functional_graph(operation)
        if nested is not None and calls[id(operation)] == 1:
            graphs.append(nested)
        special = any(kwargs.get(name) is not None for name in ("training", "mask"))
        for tensor in tree.flatten([args, kwargs]):
            if isinstance(tensor, keras.KerasTensor):
                consumers[id(tensor)].append(None if special else operation)
        made.extend((operation, output) for output in outputs)
        return outputs

    graphs = [require_graph(model)]
    for graph in graphs:  # Those nested in it are added on the way.
        for output in run_graph(graph, graph.inputs, visit):
            consumers[id(output)].append(None)
    return {
        id(layer): norm
        for layer, output in made
        for norm in consumers[id(output)]
        if len(consumers[id(output)]) == calls[id(layer)] == calls[id(norm)] == 1
        and _is_foldable(layer, norm, len(output.shape))
    }


def _is_foldable(layer: Any, norm: Any, rank: int) -> bool:
    first = getattr(layer, "data_format", None) == "channels_first"
    return (
        isinstance(norm, layers.BatchNormalization)
        and type(layer) in (layers.Dense, *CONVOLUTIONS, *DEPTHWISE)
        and layer.activation is keras.activations.linear
        and norm.axis % rank == (1 if first else rank - 1)
    )
