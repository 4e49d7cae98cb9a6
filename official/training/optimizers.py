"""Optimizers that Keras has too, as the papers' programs compute them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from official.private_keras import slot_of


def schedule(
    learning_rate: Sequence[tuple[int, float]], steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns a recipe's rate by optimizer step: a schedule, or a number if constant."""
    values = [value for _, value in learning_rate]
    if len(values) == 1:
        return values[0]
    # Keras keeps the earlier value at a boundary itself.
    boundaries = [epoch * steps_per_epoch - 1 for epoch, _ in learning_rate[1:]]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


@keras.saving.register_keras_serializable(package="official")
class SGD(keras.optimizers.SGD):
    """SGD whose momentum gathers gradients, as in PyTorch and the papers' recipes.

    Keras gathers steps: v <- momentum * v - rate * g, w <- w + v. Here it is
    v <- momentum * v + g, w <- w - rate * v. The two are the same while the learning
    rate is constant. After a drop Keras goes on for a while with steps of the earlier
    rate; this one takes the new rate at once.

    Example:

        >>> from official.training.optimizers import SGD
        >>> model.compile(optimizer=SGD(0.1, momentum=0.9), loss="mse")

    Source: the note on momentum in the documentation of `torch.optim.SGD`.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, **kwargs: Any
    ) -> None:
        if kwargs.get("nesterov"):
            raise ValueError("`nesterov` is not supported. Received: nesterov=True")
        super().__init__(learning_rate, momentum, **kwargs)

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        gathered = slot_of(variable, self.momentums, self)
        gradient = ops.cast(gradient, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        self.assign(gathered, momentum * gathered + gradient)
        self.assign_sub(variable, learning_rate * gathered)
