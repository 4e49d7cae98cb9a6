"""All that is used of Keras and is not public, in one place; tested with Keras 3.15.

`tests/library/test_keras_internals.py` names what each of these relies on.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import keras
from keras.src.backend.common import dtypes
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that are attributes of a layer or model, in the order they became so."""
    return layer._layers


def is_of_applications(layer: Any) -> bool:
    """Whether a layer is one that networks of `keras.applications` alone are made of."""
    return type(layer).__module__.startswith("keras.src.applications.")


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """A layer's variables without those of the layers within it."""
    states = [generator.state for generator in layer._seed_generators]
    return layer._trainable_variables + layer._non_trainable_variables + states


def layout(variable: keras.Variable | None) -> Any:
    """How a variable is laid out over devices, if it is."""
    return getattr(variable, "_layout", None)


def functional_graph(operation: Any) -> Any | None:
    """The graph that functional models have, and Sequential ones once they are built."""
    functional = getattr(operation, "_functional", operation)
    return functional if hasattr(functional, "_nodes_by_depth") else None


def nodes(graph: Any) -> Iterator[Any]:
    """Each use of an operation in a graph, in an order in which its inputs are ready."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.operation and not node.is_input:
                yield node


def input_name(tensor: keras.KerasTensor) -> str:
    """The name of the layer that a model's symbolic input comes from."""
    return tensor._keras_history.operation.name


def float64_kept() -> contextlib.AbstractContextManager:
    """Within it Keras does not narrow float64 results to float32."""
    return mock.patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, float64="float64")


def innermost(optimizer: Any) -> keras.optimizers.Optimizer:
    """The optimizer that updates weights, within one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def optimizer_of(optimizer: Any, variable: keras.Variable) -> Any:
    """The one that updates a variable, of those that a `MultiOptimizer` is made of."""
    for part in getattr(optimizer, "optimizers", ()):
        if any(own is variable for own in part._trainable_variables):
            return part
    return optimizer


def trained_variables(optimizer: Any) -> list[keras.Variable]:
    """The variables an optimizer was built for."""
    return list(optimizer._trainable_variables)


def moving_average(optimizer: Any, variable: keras.Variable) -> keras.Variable | None:
    """The average of a variable that an optimizer keeps (`use_ema`)."""
    if not optimizer.use_ema:
        return None
    return optimizer._model_variables_moving_average[
        optimizer._get_variable_index(variable)
    ]


def gathered_gradient(optimizer: Any, variable: keras.Variable) -> keras.Variable | None:
    """The sum of a variable's gradients since the last step (with accumulation)."""
    if not optimizer.gradient_accumulation_steps:
        return None
    return optimizer._accumulated_gradients[optimizer._get_variable_index(variable)]


def pass_over_a_step(optimizer: Any) -> None:
    """Counts a step in which an optimizer does nothing."""
    for gathered in getattr(optimizer, "_accumulated_gradients", []):
        gathered.assign(keras.ops.zeros_like(gathered.value))
    optimizer._iterations.assign_add(1)


def batches_seen(optimizer: Any) -> keras.Variable:
    """How often gradients were applied: with accumulation more often than steps."""
    return optimizer._iterations


def slots(optimizer: Any, variable: keras.Variable) -> list[keras.Variable]:
    """What an optimizer remembers of a variable's weights: momentum and the like."""
    place = optimizer._get_variable_index(variable)
    own = {id(own) for own in optimizer._variables}
    return [
        held[place]
        for name, held in vars(optimizer).items()
        if isinstance(held, list)
        and len(held) == len(optimizer._trainable_variables)
        and name not in ("_model_variables_moving_average", "_accumulated_gradients")
        and id(held[place]) in own
        and held[place].shape == variable.shape
    ]


class CarriedVariables:
    """Variables that a compiled step of JAX is given and gives back.

    They are among the optimizer's until the end of a `fit`, which is
    `finalize_variable_values`, also if it raises; but not in what is saved as its own.
    """

    def __init__(self, optimizer: Any, variables: Sequence[keras.Variable]):
        self._optimizer = innermost(optimizer)
        self._variables = list(variables)
        self._hooked = {id(o): o for o in (optimizer, self._optimizer)}.values()
        self._enter()
        for hooked in self._hooked:
            for name in ("save_own_variables", "load_own_variables"):
                vars(hooked)[name] = self._without(getattr(hooked, name))
        vars(self._optimizer)["finalize_variable_values"] = self._finalize

    def leave(self) -> None:
        self._exit()
        for hooked in self._hooked:
            for name in ("save", "load"):
                vars(hooked).pop(f"{name}_own_variables", None)
        vars(self._optimizer).pop("finalize_variable_values", None)

    def _enter(self) -> None:
        self._optimizer._variables.extend(self._variables)

    def _exit(self) -> None:
        ours = {id(variable) for variable in self._variables}
        own = [v for v in self._optimizer._variables if id(v) not in ours]
        self._optimizer._variables[:] = own

    def _without(self, method: Callable) -> Callable:
        def call(store: Any) -> None:
            self._exit()
            try:
                method(store)
            finally:
                self._enter()

        return call

    def _finalize(self, variables: Any) -> None:
        self.leave()
        self._optimizer.finalize_variable_values(variables)
