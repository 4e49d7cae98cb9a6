"""The graph of a functional model: run node by node, and made anew."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import tree
from keras.layers import Layer

from dlth_tf.keras_internals import functional_graph, input_name, nodes
from dlth_tf.network.stated_couplings import graph_within
from dlth_tf.network.variables import walk_layers

Visit = Callable[[Any, tuple, dict, list], list]
"""From an operation, its arguments and its symbolic outputs to one value per output."""


def require_graph(model: keras.Model) -> Any:
    """The graph of a functional or Sequential model; refuses one that has none."""
    graph = functional_graph(model)
    if graph is None:
        raise ValueError(
            "`model` must be a functional model or a built Sequential one, whose graph "
            f"can be read. Received: '{model.name}', a {type(model).__name__}"
        )
    return graph


def run_graph(graph: Any, inputs: Sequence, visit: Visit) -> list:
    """Runs a graph on values of one's own; nested models are visited like layers."""
    values = {id(x): value for x, value in zip(graph.inputs, inputs, strict=True)}
    for node in nodes(graph):
        args, kwargs = node.arguments.fill_in(values)
        results = visit(node.operation, args, kwargs, node.outputs)
        for tensor, value in zip(node.outputs, results, strict=True):
            values[id(tensor)] = value
    return [values[id(tensor)] for tensor in graph.outputs]


def copy_layer(layer: Layer, changes: Mapping) -> Layer:
    """A layer like another one, not built, with some of its config changed."""
    # The function of a Lambda comes from this process, not from a file of somebody's.
    safe = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}
    try:
        config = layer.get_config()
    except (AttributeError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) can't be made anew: its "
            f"`get_config` fails with {type(error).__name__}: {error}"
        ) from error
    return type(layer).from_config(config | changes, **safe)


def rebuild(
    model: keras.Model, counterpart: Callable[[Layer], Layer]
) -> tuple[keras.Model, list[tuple[Layer, Layer]]]:
    """Makes a model anew of its layers' counterparts; returns it, and pairs of both.

    Unlike `keras.models.clone_model` it lets the shapes between the layers change, in
    nested models as well.
    """
    rebuilding = _Rebuilding(counterpart)
    shapes = [x.shape for x in require_graph(model).inputs]
    return rebuilding.counterpart(model, shapes), rebuilding.layers


class _Rebuilding:
    def __init__(self, counterpart: Callable[[Layer], Layer]):
        self._make = counterpart
        self._made: dict[int, Layer] = {}
        self.layers: list[tuple[Layer, Layer]] = []

    def _model(self, model: keras.Model, shapes: Sequence[tuple]) -> keras.Model:
        graph = require_graph(model)
        inputs = [
            keras.Input(batch_shape=shape, dtype=x.dtype, name=input_name(x))
            for x, shape in zip(graph.inputs, shapes, strict=True)
        ]
        if isinstance(model, keras.Sequential):
            made = keras.Sequential(inputs, name=model.name)
            for layer in model.layers:
                latest = made.outputs if made.layers else inputs
                made.add(self.counterpart(layer, [latest[0].shape]))
            return made
        outputs = run_graph(graph, inputs, self._visit)
        return keras.Model(
            tree.pack_sequence_as(model.input, inputs),
            tree.pack_sequence_as(model.output, outputs),
            name=model.name,
        )

    def _visit(self, operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        tensors = [x for x in tree.flatten([args, kwargs]) if hasattr(x, "shape")]
        made = self.counterpart(operation, [x.shape for x in tensors])
        # Keras notes a mask with each call; a counterpart need not take one.
        if kwargs.get("mask", tensors) is None:
            kwargs = {name: value for name, value in kwargs.items() if name != "mask"}
        return tree.flatten(made(*args, **kwargs))

    def counterpart(self, operation: Any, shapes: Sequence[tuple]) -> Any:
        """The counterpart of a layer or model, for inputs of the given shapes."""
        if not isinstance(operation, Layer):
            return operation
        if id(operation) not in self._made:
            graph = graph_within(operation)
            if graph is None:
                made = self._make(operation)
                self.layers.append((operation, made))
                if isinstance(operation, keras.Model):
                    # Its layers may be used outside it: a language model's embedding.
                    within = zip(walk_layers(operation), walk_layers(made), strict=True)
                    self._made |= {id(old): new for (_, old), (_, new) in within}
            else:
                # Sizes that are free in a nested model stay free.
                shapes = [
                    tuple(own and new for own, new in zip(x.shape, shape, strict=True))
                    for x, shape in zip(graph.inputs, shapes, strict=True)
                ]
                made = self._model(operation, shapes)
            self._made[id(operation)] = made
        return self._made[id(operation)]
