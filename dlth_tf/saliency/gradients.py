"""What the criteria differentiate, and how: a model's output or loss by its weights.

The model is run on other values than its own, which it never sees, so that its weights
and its moving statistics stay what they are.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import ops

from dlth_tf import keras_internals
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import walk_layers
from dlth_tf.tickets.masks import Masks

_BACKEND = keras.backend.backend()
if _BACKEND == "tensorflow":
    import tensorflow as tf
elif _BACKEND == "jax":
    import jax
elif _BACKEND == "torch":
    import torch

_LEAST_FLOW = 1e-3

Batches = Iterable[tuple[np.ndarray, np.ndarray]]
"""Inputs and targets, some at a time, the same whenever they are gone through."""


class TrainingLoss:
    """The mean loss of a model in training, in float32, as a function of its kernels.

    Without targets `y`, `x` is batches of both, gone through for every derivative.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: np.ndarray | None,
        loss: str | Callable,
        batch_size: int,
        temperature: float = 1.0,
        tables: Iterable[str] = (),
    ):
        if y is not None and not 0 < len(x) == len(y):
            raise ValueError(
                "`x` and `y` must hold equally many examples, at least one. Received: "
                f"{len(x)} and {len(y)}"
            )
        self._model = model
        self._variables = maskable_kernels(model, tables)
        self.kernels = {
            name: ops.convert_to_numpy(kernel).astype(np.float32)
            for name, kernel in self._variables.items()
        }
        self._loss = keras.losses.get(loss)
        self._temperature = temperature
        self._batches: Batches = x
        if y is not None:
            batches = (slice(i, i + batch_size) for i in range(0, len(x), batch_size))
            self._batches = [(x[batch], y[batch]) for batch in batches]

    def gradient(self) -> dict[str, np.ndarray]:
        """dL/dW for each kernel W."""
        return self._mean(_gradient(self._value))

    def hessian_product(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """H v for each kernel, H being the Hessian of the loss by all kernels."""
        in_order = [ops.convert_to_tensor(vectors[name]) for name in self.kernels]
        first = _derivative(self._value)

        def slope(tensors: list, vectors: list, *inputs: Any) -> Any:
            with _moments_differentiable_twice():
                gradients = first(tensors, *inputs)
            return sum(ops.sum(g * v) for g, v in zip(gradients, vectors, strict=True))

        return self._mean(_gradient(slope), in_order)

    def _value(self, tensors: list, x: Any, y: Any) -> Any:
        variables = self._variables.values()
        with keras.StatelessScope(list(zip(variables, tensors, strict=True))):
            outputs = self._model(x, training=True)
        return ops.mean(self._loss(y, outputs / self._temperature))

    def _mean(self, derivative: Callable, *vectors: list) -> dict[str, np.ndarray]:
        tensors = [ops.convert_to_tensor(kernel) for kernel in self.kernels.values()]
        sums = [np.zeros(tensor.shape, np.float64) for tensor in tensors]
        examples = 0
        with _computing_in(self._model, "float32"):
            for x, y in self._batches:
                examples += len(x)
                inputs = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
                found = derivative(tensors, *vectors, *inputs)
                for total, part in zip(sums, found, strict=True):
                    total += ops.convert_to_numpy(part).astype(np.float64) * len(x)
        if not examples:
            raise ValueError(
                "`x` must give its batches each time it is gone through, as a list does. "
                "It gave none."
            )
        means = ((total / examples).astype(np.float32) for total in sums)
        return dict(zip(self.kernels, means, strict=True))


class SynapticFlow:
    """The synaptic flow of a model as a function of its kernels' magnitudes.

    R would leave float32 in a deep network: so float64, and the gradient of log R.
    """

    def __init__(self, model: keras.Model, input_shape: Sequence[int] | None):
        self._model = model
        self._ones = np.ones((1, *_input_shape(model, input_shape)), np.float64)
        kernels = maskable_kernels(model)
        self.magnitudes = {
            name: np.abs(ops.convert_to_numpy(kernel)) for name, kernel in kernels.items()
        }
        ids = {id(kernel) for kernel in kernels.values()}
        others = [v for v in model.trainable_variables if id(v) not in ids]
        self._variables = [*kernels.values(), *others]
        self._others = [np.abs(ops.convert_to_numpy(v)) for v in others]
        self._slopes = _gradient(self._log_flow)

    def scores(self, masks: Masks) -> dict[str, np.ndarray]:
        """|w| * d(log R)/d|w| for each kernel, its removed weights at zero."""
        kept = {name: self.magnitudes[name] * masks[name] for name in self.magnitudes}
        wide = jax.enable_x64(True) if _BACKEND == "jax" else contextlib.nullcontext()
        with keras_internals.float64_kept(), wide, _computing_in(self._model, "float64"):
            tensors = [ops.convert_to_tensor(values) for values in kept.values()]
            found = self._slopes(tensors, ops.convert_to_tensor(self._ones))
        scores = {
            name: values * ops.convert_to_numpy(slope)
            for (name, values), slope in zip(kept.items(), found, strict=True)
        }
        total = sum(float(values.sum()) for values in scores.values())
        if not math.isfinite(total) or total < _LEAST_FLOW:
            raise ValueError(
                f"Nothing flows through model '{self._model.name}' that SynFlow could "
                "measure: its outputs, for ones and with magnitudes for weights, must be "
                "positive and grow with the weights. Give it logits, without a softmax."
            )
        return scores

    def _log_flow(self, tensors: list, ones: Any) -> Any:
        values = [*tensors, *self._others]
        with keras.StatelessScope(list(zip(self._variables, values, strict=True))):
            return ops.log(ops.sum(self._model(ones, training=False)))


def _input_shape(model: keras.Model, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        raise ValueError(
            f"`input_shape` must be given for model '{model.name}', which has not one "
            f"input of a fixed shape. Its own: {shape}"
        )
    return shape[1:]


@contextlib.contextmanager
def _computing_in(model: keras.Model, dtype: str) -> Iterator[None]:
    """Within it all layers compute in one precision; variables keep theirs."""
    layers = [model, *(layer for _, layer in walk_layers(model))]
    own = [layer.dtype_policy for layer in layers]
    try:
        for layer, policy in zip(layers, own, strict=True):
            layer.dtype_policy = _Precision(dtype, policy.variable_dtype)
        yield
    finally:
        for layer, policy in zip(layers, own, strict=True):
            layer.dtype_policy = policy


class _Precision(keras.dtype_policies.DTypePolicy):
    """A policy under which a layer casts its variables, whatever they are, to a type."""

    def __init__(self, dtype: str, variable_dtype: str):
        super().__init__(dtype)
        self._of_variables = variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self._of_variables


def _gradient(function: Callable) -> Callable:
    """The gradient of `function(tensors, *inputs)` by its list of tensors."""
    return _compiled(_derivative(function))


@contextlib.contextmanager
def _moments_differentiable_twice() -> Iterator[None]:
    """TensorFlow's variance takes its mean for a constant, which is right only once."""
    if _BACKEND != "tensorflow":
        yield
        return

    def moments(x: Any, axes: Any, keepdims: bool = False) -> tuple:
        spread = tf.math.squared_difference(x, tf.reduce_mean(x, axes, keepdims=True))
        return tuple(tf.reduce_mean(values, axes, keepdims) for values in (x, spread))

    with mock.patch.object(tf.nn, "moments", moments):
        yield


def _derivative(function: Callable) -> Callable:
    if _BACKEND == "tensorflow":
        return functools.partial(_taped, function)
    if _BACKEND == "jax":
        return jax.grad(function)
    if _BACKEND == "torch":
        return torch.func.grad(function)
    raise RuntimeError(
        "Scores by gradients need Keras on TensorFlow, JAX or torch. "
        f"The backend is {_BACKEND}."
    )


def _compiled(function: Callable) -> Callable:
    if _BACKEND == "tensorflow":
        return tf.function(function)
    if _BACKEND == "jax":
        return jax.jit(function)
    return function


def _taped(function: Callable, tensors: list, *inputs: Any) -> list:
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(tensors, *inputs)
    found = tape.gradient(
        value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    # That of a table of embeddings comes as the rows that were looked up.
    return [tf.convert_to_tensor(part) for part in found]
