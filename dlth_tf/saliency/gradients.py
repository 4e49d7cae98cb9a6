"""Derivatives of a scalar function on every backend, compiled where it compiles."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from unittest import mock

import keras
from keras import ops


def gradient(function: Callable) -> Callable:
    """The gradient of `function(tensors, *inputs)` by its list of tensors."""
    return _compiled(_derivative(function))


def hessian_product(function: Callable) -> Callable:
    """The Hessian of `function(tensors, *inputs)` times vectors, as a function.

    It is called with the tensors, one vector of the shape of each, and the inputs.
    """
    first = _derivative(function)

    def slope(tensors, vectors, *inputs):
        with _moments_differentiable_twice():
            gradients = first(tensors, *inputs)
        return sum(ops.sum(g * v) for g, v in zip(gradients, vectors, strict=True))

    return _compiled(_derivative(slope))


@contextlib.contextmanager
def float64_available() -> Iterator[None]:
    """Within it results may be float64, as Keras has it on TensorFlow alone."""
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as narrowing

    own = narrowing["float64"]
    narrowing["float64"] = "float64"
    try:
        with _wide_tensors():
            yield
    finally:
        narrowing["float64"] = own


def _wide_tensors() -> contextlib.AbstractContextManager:
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


@contextlib.contextmanager
def _moments_differentiable_twice() -> Iterator[None]:
    """TensorFlow's variance takes its mean for a constant, which is right only once."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    def moments(x, axes, keepdims=False):
        spread = tf.math.squared_difference(x, tf.reduce_mean(x, axes, keepdims=True))
        return tuple(tf.reduce_mean(values, axes, keepdims) for values in (x, spread))

    with mock.patch.object(tf.nn, "moments", moments):
        yield


def _derivative(function: Callable) -> Callable:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return functools.partial(_taped, function)
    if backend == "jax":
        import jax

        return jax.grad(function)
    if backend == "torch":
        import torch

        return torch.func.grad(function)
    raise RuntimeError(
        "Scores by gradients need Keras on TensorFlow, JAX or torch. "
        f"The backend is {backend}."
    )


def _compiled(function: Callable) -> Callable:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


def _taped(function, tensors, *inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(tensors, *inputs)
    found = tape.gradient(
        value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    # That of a table of embeddings comes as the rows that were looked up.
    return [tf.convert_to_tensor(part) for part in found]
