"""What the criteria differentiate: a model's output or loss as a function of weights.

The model is run on other values than its own, which it never sees, so that its weights
and its moving statistics stay what they are.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.saliency import gradients

Batches = Iterable[tuple[np.ndarray, np.ndarray]]
"""Inputs and targets, some at a time, the same whenever they are gone through."""


class TrainingLoss:
    """The mean loss of a model on some examples, as a function of its kernels.

    The model runs as it does in training: batch normalization by the batch's own
    statistics, dropout active. Half-precision models are computed in float32.

    Args:
        model: a built model.
        x: inputs, `[examples, ...]`; or batches of inputs and targets, gone through anew
            for every derivative.
        y: targets, `[examples, ...]`; None with batches.
        loss: a Keras loss, or its name.
        batch_size: examples looked at at a time; batches are as they are.
        temperature: what the model's outputs are divided by.
        tables: name patterns of the embeddings whose tables count as kernels.
    """

    def __init__(
        self,
        model: keras.Model,
        x: np.ndarray | Batches,
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
        self._kernels = maskable_kernels(model, tables)
        self._loss = keras.losses.get(loss)
        self._temperature = temperature
        self._batches = x
        if y is not None:
            self._batches = [
                (x[start : start + batch_size], y[start : start + batch_size])
                for start in range(0, len(x), batch_size)
            ]

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The point at which derivatives are taken: the kernels as they are."""
        return {
            name: ops.convert_to_numpy(kernel).astype(np.float32)
            for name, kernel in self._kernels.items()
        }

    def gradient(self) -> dict[str, np.ndarray]:
        """dL/dW for each kernel W."""
        return self._mean(gradients.gradient(self._value))

    def hessian_product(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """H v for each kernel, H being the Hessian of the loss by all kernels."""
        in_order = [ops.convert_to_tensor(vectors[name]) for name in self._kernels]
        return self._mean(gradients.hessian_product(self._value), in_order)

    def _value(self, tensors, x, y):
        outputs = outputs_with(
            self._model, list(self._kernels.values()), tensors, x, training=True
        )
        return ops.mean(self._loss(y, outputs / self._temperature))

    def _mean(self, derivative, *vectors) -> dict[str, np.ndarray]:
        tensors = [ops.convert_to_tensor(kernel) for kernel in self.kernels.values()]
        sums = [np.zeros(tensor.shape, np.float64) for tensor in tensors]
        examples = 0
        with computing_in(self._model, "float32"):
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
        return dict(zip(self._kernels, means, strict=True))


def outputs_with(
    model: keras.Model,
    variables: Sequence[keras.Variable],
    values: Sequence,
    x,
    training: bool,
):
    """What a model returns for `x` if some of its variables had other values."""
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        return model(x, training=training)


@contextlib.contextmanager
def computing_in(model: keras.Model, dtype: str) -> Iterator[None]:
    """Within it all layers compute in one precision; variables keep theirs."""
    layers = [model, *model._flatten_layers(include_self=False)]
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
    def variable_dtype(self):
        return self._of_variables
