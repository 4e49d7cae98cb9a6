"""Optimizers that Keras has too, as the papers' programs compute them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="official")
class SGD(keras.optimizers.SGD):
    """SGD whose momentum gathers gradients, as in PyTorch and the papers' recipes.

    Keras gathers steps: v <- momentum * v - rate * g, w <- w + v. Here it is
    v <- momentum * v + g, w <- w - rate * v. The two are the same while the learning
    rate is constant. After a drop Keras goes on for a while with steps of the earlier
    rate; this one takes the new rate at once.

    Example:

        >>> model.compile(optimizer=SGD(0.1, momentum=0.9), loss="mse")

    Source: the note on momentum in the documentation of `torch.optim.SGD`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, **kwargs):
        if kwargs.get("nesterov"):
            raise ValueError("`nesterov` is not supported. Received: nesterov=True")
        super().__init__(learning_rate, momentum, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        gathered = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        self.assign(gathered, momentum * gathered + gradient)
        self.assign_sub(variable, learning_rate * gathered)
