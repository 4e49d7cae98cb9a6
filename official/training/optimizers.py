"""A recipe's optimizer: Keras's own, or SGD as the papers' programs compute it."""

from typing import Any

import keras
from keras import ops
from keras.optimizers import schedules

from official.private_keras import slot_of
from official.training.recipe import Descent, Recipe


def optimizer(descent: Descent, rate: Any, momentum: float) -> keras.optimizers.Optimizer:
    """Returns a fresh optimizer with a rate or schedule; `momentum` is that of SGD."""
    clip_norm = descent.clip_norm or None
    if descent.optimizer == "sgd":
        decay = descent.weight_decay or None
        made = SGD(rate, momentum, weight_decay=decay, global_clipnorm=clip_norm)
    else:
        classes = {name.lower(): kind for name, kind in vars(keras.optimizers).items()}
        # AdamW has a decay of its own where it is given none.
        made = classes[descent.optimizer](
            rate, weight_decay=descent.weight_decay, global_clipnorm=clip_norm
        )
    made.exclude_from_weight_decay(var_names=["^(?!.*kernel)"])
    return made


def schedule(
    recipe: Recipe, steps_per_epoch: int, first_step: int = 0
) -> float | schedules.LearningRateSchedule:
    """Returns a recipe's rate by optimizer step: a schedule, or a number if constant.

    An optimizer's first step has the rate of the recipe's `first_step`.
    """
    values = [value for _, value in recipe.learning_rate]
    if recipe.schedule == "cosine":
        found = _cosine(values[0], recipe, steps_per_epoch)
    elif len(values) == 1:
        return values[0]
    else:
        # Keras keeps the earlier value at a boundary itself.
        later = recipe.learning_rate[1:]
        boundaries = [epoch * steps_per_epoch - 1 for epoch, _ in later]
        found = schedules.PiecewiseConstantDecay(boundaries, values)
    return _From(found, first_step) if first_step else found


def _cosine(
    rate: float, recipe: Recipe, steps_per_epoch: int
) -> schedules.LearningRateSchedule:
    warmup = recipe.warmup_epochs * steps_per_epoch
    falling = recipe.epochs * steps_per_epoch - warmup
    if not warmup:
        return schedules.CosineDecay(rate, falling)
    return schedules.CosineDecay(0.0, falling, warmup_target=rate, warmup_steps=warmup)


class _From(schedules.LearningRateSchedule):
    """A schedule from one of its steps on.

    What an optimizer remembers begins anew there, and Adam corrects for that by the
    number of its own steps, which therefore begins at 0.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule, first_step: int):
        self._schedule, self._first_step = schedule, first_step

    def __call__(self, step: Any) -> Any:
        return self._schedule(step + self._first_step)


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
