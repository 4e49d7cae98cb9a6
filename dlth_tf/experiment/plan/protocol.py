"""What all runs of an experiment have in common. Each setting is told by its flag."""

import dataclasses
import math
import re

from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from official.training.recipe import Recipe

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class TrainingPoint:
    """So many epochs and steps after the beginning of a training."""

    epochs: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epochs}" if self.epochs else f"step {self.steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epochs * steps_per_epoch + self.steps

    @classmethod
    def parse(cls, text: str) -> "TrainingPoint":
        """Reads `"500"` (steps) or `"2ep"` (epochs).

        Raises:
            ValueError: the text has another form.
        """
        found = re.fullmatch(r"(\d+)(ep)?", text.strip())
        if not found:
            raise ValueError(
                "A moment must be a number of steps such as 500, or of epochs such as "
                f"2ep. Received: {text!r}"
            )
        number, unit = int(found[1]), found[2]
        return cls(epochs=number) if unit else cls(steps=number)


BEGINNING = TrainingPoint()


@dataclasses.dataclass(frozen=True)
class Interval:
    """So many steps, or so many seconds; one of the two is infinite."""

    steps: float = math.inf
    seconds: float = math.inf

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether it has passed, so many steps and seconds after it began."""
        return steps >= self.steps or seconds >= self.seconds

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads `"500"` (steps), `"30s"`, `"10min"` or `"2h"`.

        Raises:
            ValueError: the text has another form, or is nothing.
        """
        found = re.fullmatch(r"(\d+)(s|min|h)?", text.strip())
        number = int(found[1]) if found else 0
        if found is None or not number:
            raise ValueError(
                "--checkpoint_every must be a number of steps such as 500, or a time "
                f"such as 30s, 10min or 2h. Received: {text!r}"
            )
        unit = found[2]
        return cls(seconds=number * _SECONDS[unit]) if unit else cls(steps=number)


@dataclasses.dataclass(frozen=True)
class Task:
    """The network and the data."""

    network: str
    dataset: str
    train_examples: int | None = None
    validation_fraction: float = 0.0
    mixed_precision: str | None = None
    sync_batch_norm: bool = False


@dataclasses.dataclass(frozen=True)
class TransformationRecipe:
    """How a network is trained while it is transformed; its length is the growth's."""

    growth: PenaltyGrowth
    batch_size: int
    learning_rate: float
    momentum: float
    l2: float

    @property
    def steps(self) -> int:
        """Optimizer steps of one transformation."""
        steps = self.growth.steps
        assert steps is not None, "the flags say how long the last penalty is held"
        return steps

    @property
    def images(self) -> int:
        """Training images one transformation sees."""
        return self.steps * self.batch_size


@dataclasses.dataclass(frozen=True)
class Cycles:
    """How the iterative methods go about it."""

    count: int
    transformation: TransformationRecipe
    zero_between: bool = False


@dataclasses.dataclass(frozen=True)
class MaskChanges:
    """When a mask changes during a training, and how much."""

    every: int = 100
    until: float = 0.75
    drop_fraction: float = 0.3

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"--mask_every must be 1 or more. Received: {self.every}")
        if not 0 < self.until <= 1:
            raise ValueError(f"--mask_until must be in (0, 1]. Received: {self.until}")
        if not 0 < self.drop_fraction <= 1:
            raise ValueError(
                f"--drop_fraction must be in (0, 1]. Received: {self.drop_fraction}"
            )

    def last_step(self, steps: int) -> int:
        """The step of a training of so many after which the mask stays.

        Raises:
            ValueError: no change comes before it.
        """
        last = int(self.until * steps)
        if last < self.every:
            raise ValueError(
                f"--mask_every must be at most {last} here: the masks change during "
                f"{self.until:g} of {steps} steps. Received: {self.every}"
            )
        return last


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is the same for all methods, sparsities and seeds of an experiment."""

    task: Task
    recipe: Recipe
    transformation: TransformationRecipe
    cycles: Cycles
    rewind_to: TrainingPoint
    placement: SparsityPlacement
    mask_changes: MaskChanges = MaskChanges()
    shrink: bool = False

    def __post_init__(self) -> None:
        if self.shrink and self.placement.unit != "filter":
            raise ValueError(
                "--shrink leaves whole filters out and needs --unit=filter. Received: "
                f"--unit={self.placement.unit}"
            )
