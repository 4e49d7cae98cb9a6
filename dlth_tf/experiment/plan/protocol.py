"""What all runs of an experiment have in common: data, recipes, where sparsity goes."""

import dataclasses

from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from dlth_tf.experiment.plan.times import TrainingPoint
from official.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Task:
    """The network and the data.

    Attributes:
        network: its name.
        dataset: its name.
        train_examples: how many of the training images are used; None: all.
        validation_fraction: part of these that is held out.
        mixed_precision: what trainings compute in, float16 or bfloat16; None: float32.
            Weights are float32, and they are measured in float32.
        sync_batch_norm: whether BatchNorm normalizes by the batches of all replicas.
    """

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
    """How the iterative methods go about it.

    Attributes:
        count: cycles of pruning.
        transformation: of one cycle of rst_iter.
        zero_between: rst_iter sets removed weights to zero after every cycle.
    """

    count: int
    transformation: TransformationRecipe
    zero_between: bool = False


@dataclasses.dataclass(frozen=True)
class MaskChanges:
    """When a mask changes during a training, and how much.

    Attributes:
        every: optimizer steps from one change to the next.
        until: part of the training after which the mask stays.
        drop_fraction: of the kept weights that changes places at a time.

    Raises:
        ValueError: a value out of its range.
    """

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
