"""Derivatives of a scalar function, on TensorFlow and on JAX, compiled once."""

import contextlib
from collections.abc import Callable, Iterator

import keras


def gradient(function: Callable) -> Callable:
    """The gradient of `function(tensors, *inputs)` by its list of tensors.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow or JAX.
    """
    if _backend() == "jax":
        import jax

        return jax.jit(jax.grad(function))
    import tensorflow as tf

    return tf.function(lambda tensors, *inputs: _taped(function, tensors, *inputs))


def hessian_product(function: Callable) -> Callable:
    """The Hessian of `function(tensors, *inputs)` times vectors, as a function.

    It is called with the tensors, one vector of the shape of each, and the inputs.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow or JAX.
    """
    if _backend() == "jax":
        import jax

        def product(tensors, vectors, *inputs):
            along = jax.grad(lambda moved: function(moved, *inputs))
            return jax.jvp(along, (tensors,), (vectors,))[1]

        return jax.jit(product)
    import tensorflow as tf

    def slope(tensors, vectors, *inputs):
        gradients = _taped(function, tensors, *inputs)
        return tf.add_n(
            [tf.reduce_sum(g * v) for g, v in zip(gradients, vectors, strict=True)]
        )

    return tf.function(lambda tensors, *inputs: _taped(slope, tensors, *inputs))


@contextlib.contextmanager
def float64_available() -> Iterator[None]:
    """Within it tensors may be of type float64, which JAX and Keras on it prevent."""
    if _backend() != "jax":
        yield
        return
    import jax
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as narrowing

    own = narrowing["float64"]
    narrowing["float64"] = "float64"
    try:
        with jax.enable_x64(True):
            yield
    finally:
        narrowing["float64"] = own


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


def _backend() -> str:
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise RuntimeError(
            "Scores by gradients need Keras on TensorFlow or JAX. "
            f"The backend is {backend}."
        )
    return backend
