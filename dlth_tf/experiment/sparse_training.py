"""Trainings whose mask changes on the way: they leave weights and a ticket."""

import dataclasses

from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.stages import TicketStage, WeightsStage
from dlth_tf.experiment.training_stages import FitStage
from official.training.recipe import Recipe


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

    def __post_init__(self):
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


USUAL_CHANGES = MaskChanges()


@dataclasses.dataclass(frozen=True)
class SparseTraining(FitStage):
    """Training by the recipe while a callback changes the mask."""

    weights: WeightsStage
    recipe: Recipe
    seed: int

    noun = "sparse weights"

    @property
    def _placement(self) -> Placement:
        return self.ticket.placement

    @property
    def masked_by(self):
        return self

    def check(self, bench):
        if self._placement.unit != "weight":
            raise ValueError(
                "The methods set, rigl and gradual move single weights. Received: "
                f"--unit={self._placement.unit}"
            )

    def conclude(self, bench, folder, callbacks, record):
        (changing,) = callbacks
        changing.ticket.save(folder / TicketStage.FILE)
        return {}


@dataclasses.dataclass(frozen=True)
class SetTraining(SparseTraining):
    """Sparse evolutionary training: the mask changes after every epoch but the last."""

    ticket: TicketStage
    drop_fraction: float

    @property
    def title(self):
        return f"train by SET from {self.ticket.title}"

    def callbacks(self, bench):
        from dlth_tf.callbacks.dynamic import SparseEvolutionaryTraining

        return [
            SparseEvolutionaryTraining(
                bench.ticket(self.ticket),
                every=self.steps_per_epoch(bench),
                fraction=self.drop_fraction,
                until=self.steps(bench),
                seed=self.seed,
            )
        ]


@dataclasses.dataclass(frozen=True)
class RigLTraining(SparseTraining):
    """Training by RigL."""

    ticket: TicketStage
    changes: MaskChanges

    @property
    def title(self):
        return f"train by RigL from {self.ticket.title}"

    def check(self, bench):
        super().check(bench)
        self.changes.last_step(self.steps(bench))

    def callbacks(self, bench):
        from dlth_tf.callbacks.dynamic import RigL

        return [
            RigL(
                bench.ticket(self.ticket),
                until=self.changes.last_step(self.steps(bench)),
                every=self.changes.every,
                fraction=self.changes.drop_fraction,
            )
        ]


@dataclasses.dataclass(frozen=True)
class GradualPruning(SparseTraining):
    """Training while TFMOT's polynomial schedule removes more and more weights."""

    sparsity: float
    placement: Placement
    changes: MaskChanges

    @property
    def _placement(self):
        return self.placement

    def multiply_adds(self, bench):
        # Its mask grows on the way.
        return self.cost(bench).multiply_adds

    @property
    def title(self):
        return f"train and prune gradually to {self.sparsity:.8g}, seed {self.seed}"

    def check(self, bench):
        import keras

        from dlth_tf.tfmot.engine import check_installed

        super().check(bench)
        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise ValueError(
                "The method gradual needs Keras on TensorFlow "
                f"(KERAS_BACKEND=tensorflow). The backend is {backend}."
            )
        check_installed()
        self.changes.last_step(self.steps(bench))
        bench.sparsity_by_kernel(bench.blueprint, self.sparsity, self.placement)

    def callbacks(self, bench):
        from dlth_tf.tfmot import MagnitudePruning
        from dlth_tf.tfmot.engine import gradual_schedule

        every = self.changes.every
        # TFMOT reaches the final sparsity only if a change falls on the last step.
        end = self.changes.last_step(self.steps(bench)) // every * every
        sparsities = bench.sparsity_by_kernel(
            bench.network_with(self.weights), self.sparsity, self.placement
        )
        schedules = {
            name: gradual_schedule(sparsity, end, every)
            for name, sparsity in sparsities.items()
            if sparsity
        }
        return [MagnitudePruning(schedules)]
