"""The graph of a functional model, node by node.

Keras keeps it in private attributes; this module is the only place that reads them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

Visit = Callable[[Any, tuple, dict, list], list]
"""From an operation, its arguments and its symbolic outputs to one value per output."""


def functional_graph(operation) -> Any | None:
    """What `run_graph` can run of a model or layer; None if it has no graph.

    Functional models have one, and Sequential models once they are built.
    """
    functional = getattr(operation, "_functional", operation)
    return functional if hasattr(functional, "_nodes_by_depth") else None


def require_graph(model: keras.Model):
    """The graph of a functional or Sequential model.

    Raises:
        ValueError: the model has none.
    """
    graph = functional_graph(model)
    if graph is None:
        raise ValueError(
            "`model` must be a functional model or a built Sequential one, whose graph "
            f"can be read. Received: '{model.name}', a {type(model).__name__}"
        )
    return graph


def input_name(tensor: keras.KerasTensor) -> str:
    """The name of the layer that a model's symbolic input comes from."""
    return tensor._keras_history.operation.name


def run_graph(graph, inputs: Sequence, visit: Visit) -> list:
    """Runs a graph on values of one's own instead of tensors.

    Args:
        graph: from `functional_graph`. Models nested in it are visited like layers.
        inputs: one value per input of the model.
        visit: called for each use of an operation, in an order in which its inputs are
            ready. It gets the operation, its arguments with values in place of tensors,
            and the list of its symbolic outputs, and returns one value per output.

    Returns:
        One value per output of the model.
    """
    values = {
        id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)
    }
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input or not node.operation:
                continue
            args, kwargs = node.arguments.fill_in(values)
            results = visit(node.operation, args, kwargs, node.outputs)
            for tensor, value in zip(node.outputs, results, strict=True):
                values[id(tensor)] = value
    return [values[id(tensor)] for tensor in graph.outputs]
