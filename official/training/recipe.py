"""How long, how fast and with what decay a network is trained."""

import dataclasses
import math
from typing import Any

from official.common import choose

LearningRate = tuple[tuple[int, float], ...]

OPTIMIZERS = (
    *("sgd", "adam", "adamw", "adamax", "nadam", "adadelta", "adafactor", "adagrad"),
    *("ftrl", "lamb", "lion", "muon", "rmsprop"),
)
"""`sgd` is `official.training.optimizers.SGD`, the others are Keras's own."""

SCHEDULES = ("constant", "cosine")


def _require(condition: bool, argument: str, rule: str, value: object) -> None:
    if not condition:
        raise ValueError(f"`{argument}` must {rule}. Received: {argument}={value}")


@dataclasses.dataclass(frozen=True)
class Descent:
    """What a step does, whatever its rate.

    Attributes:
        optimizer: one of `OPTIMIZERS`; all but `sgd` have Keras's own defaults.
        weight_decay: decoupled: with each step a kernel loses `rate * weight_decay`
            of itself. Biases, normalisation and embeddings lose nothing.
        clip_norm: length that the gradient of all weights together is cut to. Whatever
            joins the gradient, as `l2` does, is cut with it. 0: none.
        label_smoothing: part of each label that all classes share, in [0, 1).

    Raises:
        ValueError: a setting is out of range.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019;
    Szegedy et al., CVPR 2016, section 7 (label smoothing).
    """

    optimizer: str = "sgd"
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("weight_decay", "clip_norm"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, name, "be at least 0", value)
        smoothing = self.label_smoothing
        _require(0 <= smoothing < 1, "label_smoothing", "be in [0, 1)", smoothing)


PLAIN_SGD = Descent()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of one training run.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: pairs of an epoch and the rate in force from its first step
            on. The first epoch is 0, and epochs increase.
        momentum: of SGD, in [0, 1).
        l2: coupled weight decay: `l2 * w` joins the gradient of each weight w, and
            so goes through the momentum. The optimizer made here knows nothing of
            it; add `keras.regularizers.L2(l2 / 2)` to the variables. For SGD alone: an
            adaptive optimizer would normalise it away with the rest of the gradient.
        descent: optimizer, decoupled weight decay and the like.
        schedule: `constant`: each rate is until the next; `cosine`: the only one falls
            to 0 at the end of the last epoch, along half a cosine.
        warmup_epochs: epochs in which a cosine's rate rises from 0, step by step, before
            it falls.

    Raises:
        ValueError: a setting is out of range, or some do not go together.

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
    descent: Descent = PLAIN_SGD
    schedule: str = "constant"
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        _require(self.epochs >= 0, "epochs", "be at least 0", self.epochs)
        _require(self.batch_size >= 1, "batch_size", "be at least 1", self.batch_size)
        _require(0 <= self.momentum < 1, "momentum", "be in [0, 1)", self.momentum)
        _require(0 <= self.l2 < math.inf, "l2", "be at least 0", self.l2)
        name = self.descent.optimizer
        coupled = f"be 0 with optimizer={name}, whose decay is `weight_decay`"
        _require(name == "sgd" or not self.l2, "l2", coupled, self.l2)
        self._check_rates()

    def _check_rates(self) -> None:
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
        choose("schedule", self.schedule, SCHEDULES)
        cosine = self.schedule == "cosine"
        _require(
            not cosine or len(epochs) == 1,
            "learning_rate",
            "be one number, such as 0.001, with schedule=cosine",
            self.learning_rate,
        )
        _require(
            0 <= self.warmup_epochs < (max(self.epochs, 1) if cosine else 1),
            "warmup_epochs",
            "be from 0 to less than epochs, and 0 without schedule=cosine",
            self.warmup_epochs,
        )

    def optimizer(self, steps_per_epoch: int, first_step: int = 0) -> Any:
        """Returns a fresh optimizer that follows the recipe, its rate by the step.

        The first step that it takes has the rate of the recipe's `first_step`.
        """
        # Flags are read without Keras.
        from official.training.optimizers import optimizer, schedule

        rate = schedule(self, steps_per_epoch, first_step)
        return optimizer(self.descent, rate, self.momentum)

    def stretched(self, epochs: int) -> "Recipe":
        """Returns the recipe made so long, its rates changing in proportion."""
        _require(epochs >= self.epochs, "epochs", f"be at least {self.epochs}", epochs)
        if epochs == self.epochs:
            return self

        def later(epoch: int) -> int:
            return round(epoch * epochs / self.epochs)

        rates = tuple((later(epoch), rate) for epoch, rate in self.learning_rate)
        warmup = later(self.warmup_epochs)
        return dataclasses.replace(
            self, epochs=epochs, learning_rate=rates, warmup_epochs=warmup
        )

    @property
    def title(self) -> str:
        """Its settings in a line, but for those that are off."""
        rates = ", ".join(f"{rate:g} from epoch {at}" for at, rate in self.learning_rate)
        if self.schedule == "cosine":
            rates = f"{self.learning_rate[0][1]:g} along a cosine"
        amounts = {
            "warm-up epochs": self.warmup_epochs,
            "L2": self.l2,
            "weight decay": self.descent.weight_decay,
            "gradient clipped to": self.descent.clip_norm,
            "labels smoothed by": self.descent.label_smoothing,
        }
        others = [f"{name} {value:g}" for name, value in amounts.items() if value]
        length = f"{self.epochs} epochs of batches of {self.batch_size}"
        return "; ".join((length, f"{self.descent.optimizer} at {rates}", *others))


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
