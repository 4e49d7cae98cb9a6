"""How long, how fast and with what decay a network is trained."""

import dataclasses
import math
from typing import Any

LearningRate = tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of one training run with stochastic gradient descent.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: pairs of an epoch and the rate in force from its first step
            on. The first epoch is 0, and epochs increase.
        momentum: of SGD, in [0, 1).
        l2: coupled weight decay: `l2 * w` joins the gradient of each weight w, and
            so goes through the momentum. The optimizer made here knows nothing of
            it; add `keras.regularizers.L2(l2 / 2)` to the variables.

    Raises:
        ValueError: a setting is out of range.

    Example:

        >>> from official.training.recipe import Recipe
        >>> recipe = Recipe(200, 128, ((0, 0.1), (100, 0.01)), momentum=0.9, l2=5e-4)
        >>> optimizer = recipe.optimizer(steps_per_epoch=390)
    """

    epochs: int
    batch_size: int
    learning_rate: LearningRate
    momentum: float
    l2: float

    def __post_init__(self) -> None:
        _require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        _require(self.batch_size >= 1, "batch_size", "be at least 1", self.batch_size)
        _require(0 <= self.momentum < 1, "momentum", "be in [0, 1)", self.momentum)
        _require(0 <= self.l2 < math.inf, "l2", "be at least 0", self.l2)
        epochs = [epoch for epoch, _ in self.learning_rate]
        _require(
            epochs[:1] == [0] and epochs == sorted(set(epochs)),
            "learning_rate",
            "start at epoch 0 and name later epochs in increasing order",
            self.learning_rate,
        )
        _require(
            all(0 < value < math.inf for _, value in self.learning_rate),
            "learning_rate",
            "have positive, finite rates",
            self.learning_rate,
        )

    def optimizer(self, steps_per_epoch: int) -> Any:
        """Returns a fresh optimizer that follows the recipe, its rate by the step."""
        # Flags are read without Keras.
        from official.training.optimizers import SGD, schedule

        return SGD(schedule(self.learning_rate, steps_per_epoch), self.momentum)

    def stretched(self, epochs: int) -> "Recipe":
        """Returns the recipe made so long, its rates changing in proportion."""
        _require(epochs >= self.epochs, "epochs", f"be at least {self.epochs}", epochs)
        if epochs == self.epochs:
            return self
        rates = [
            (round(at * epochs / self.epochs), rate) for at, rate in self.learning_rate
        ]
        return dataclasses.replace(self, epochs=epochs, learning_rate=tuple(rates))


def parse_learning_rate(text: str) -> LearningRate:
    """Reads a rate such as `"0:0.1,100:0.01"` (epoch:value) or `"0.001"`."""
    parts = text.split(",")
    if len(parts) == 1 and ":" not in text:
        parts = [f"0:{text}"]
    try:
        pairs = [part.split(":") for part in parts]
        return tuple((int(epoch), float(value)) for epoch, value in pairs)
    except ValueError:
        raise ValueError(
            "A learning rate must be a number, or pairs of epoch:value separated by "
            f"commas such as '0:0.1,100:0.01'. Received: {text!r}"
        ) from None


def _require(condition: bool, argument: str, rule: str, value: object) -> None:
    if not condition:
        raise ValueError(f"`{argument}` must {rule}. Received: {argument}={value}")
