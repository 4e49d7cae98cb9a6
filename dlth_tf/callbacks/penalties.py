"""Penalties by their gradient: they pull at weights and leave the reported loss alone."""

from collections.abc import Callable

from keras import ops


class Pull:
    """A regularizer that adds a given gradient and contributes zero to the loss.

    Penalties on the weights act through their gradient only. Their value would cost
    a pass over all weights at every step, and would hide the data's loss in what `fit`
    reports: lambda / 2 * ||W||^2 over a whole network dwarfs it.

    Args:
        gradient: what is added to dL/dW, a function of W.

    Example: the gradient of 0.01 / 2 * ||W||^2.

    >>> dense = keras.layers.Dense(4, kernel_regularizer=Pull(lambda w: 0.01 * w))
    """

    def __init__(self, gradient: Callable):
        self.gradient = gradient

    def __call__(self, weights):
        @ops.custom_gradient
        def pull(weights):
            def gradient(upstream):
                # The loss may be scaled: mixed precision, several replicas.
                return upstream * self.gradient(weights)

            return ops.zeros(()), gradient

        return pull(ops.convert_to_tensor(weights))
