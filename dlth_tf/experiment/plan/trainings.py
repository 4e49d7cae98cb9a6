"""The stages that train: by the recipe, under a ticket that stays or moves, for RST."""

import dataclasses
import math
from typing import ClassVar

from dlth_tf.experiment.plan.protocol import (
    BEGINNING,
    MaskChanges,
    TrainingPoint,
    TransformationRecipe,
)
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from dlth_tf.experiment.plan.stages import Images, Stage, TicketStage, WeightsStage
from official.training.recipe import Recipe


class FitStage(WeightsStage):
    """A stage that trains.

    Attributes:
        weights: what it begins with.
        recipe: how long and how fast it trains.
        seed: of the order and augmentation of the images.
    """

    by_all_workers = True
    batch_flag: ClassVar[str] = "batch_size"
    may_end_early: ClassVar[bool] = False
    """Whether its steps are those at the most."""

    weights: WeightsStage
    recipe: Recipe | TransformationRecipe
    seed: int

    def first_step(self, data: Images) -> int:
        """Step of the data's order and the optimizer's schedule to begin at."""
        return 0

    def steps_per_epoch(self, data: Images) -> int:
        return data.steps_per_epoch(self.recipe.batch_size)

    def epochs(self, data: Images) -> int:
        """Epochs that it takes; the last may be a part of one."""
        return math.ceil(self.steps(data) / self.steps_per_epoch(data))

    def images(self, data: Images) -> int:
        return self.steps(data) * self.recipe.batch_size


class RecipeTraining(FitStage):
    """A training by all of the recipe."""

    recipe: Recipe

    def steps(self, data: Images) -> int:
        return self.recipe.epochs * self.steps_per_epoch(data)


@dataclasses.dataclass(frozen=True)
class Training(RecipeTraining):
    """Training by the recipe: all of it, or from one point of it to another."""

    noun = "trained weights"

    weights: WeightsStage
    ticket: TicketStage | None
    recipe: Recipe
    seed: int
    extra_images: int = 0
    begin: TrainingPoint = BEGINNING
    end: TrainingPoint | None = None
    shrunk: bool = False

    @property
    def masked_by(self) -> TicketStage | None:
        return self.ticket

    @property
    def shrunk_by(self) -> TicketStage | None:
        return self.ticket if self.shrunk else None

    @property
    def title(self) -> str:
        if self.ticket is None:
            what = f"train the dense network, seed {self.seed}"
        else:
            what = f"finetune {self.weights.noun} by {self.ticket.title}"
        longer = ", longer" if self.extra_images else ""
        begin = f", from {self.begin}" if self.begin != BEGINNING else ""
        end = f", until {self.end}" if self.end else ""
        shrunk = ", made smaller" if self.shrunk else ""
        return f"{what}{shrunk}{longer}{begin}{end}"

    def first_step(self, data: Images) -> int:
        return self.begin.in_steps(self.steps_per_epoch(data))

    def steps(self, data: Images) -> int:
        per_epoch = self.steps_per_epoch(data)
        end = self.end or TrainingPoint(epochs=self.stretched_recipe(per_epoch).epochs)
        return end.in_steps(per_epoch) - self.first_step(data)

    def stretched_recipe(self, steps_per_epoch: int) -> Recipe:
        """The recipe, made longer by the extra images."""
        images_per_epoch = steps_per_epoch * self.recipe.batch_size
        extra_epochs = math.ceil(self.extra_images / images_per_epoch)
        return self.recipe.stretched(self.recipe.epochs + extra_epochs)


@dataclasses.dataclass(frozen=True)
class EarlyBirdTraining(RecipeTraining):
    """Dense training until the magnitude ticket of a sparsity has settled."""

    noun = "early-bird weights"
    may_end_early = True

    weights: WeightsStage
    recipe: Recipe
    sparsity: float
    placement: SparsityPlacement
    seed: int

    @property
    def title(self) -> str:
        return f"train until ticket {self.sparsity:.8g} has settled, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Transformation(FitStage):
    """Dense training under the penalty that extrudes what a ticket removes (RST)."""

    noun = "transformed weights"
    batch_flag = "transform_batch_size"

    weights: WeightsStage
    ticket: TicketStage
    recipe: TransformationRecipe
    seed: int

    @property
    def title(self) -> str:
        return f"transform {self.weights.noun} for {self.ticket.title}"

    def steps(self, data: Images) -> int:
        return self.recipe.steps


@dataclasses.dataclass(frozen=True)
class MovingMaskTraining(RecipeTraining):
    """Training while the mask changes: it leaves weights and a ticket."""

    weights: WeightsStage
    recipe: Recipe
    seed: int

    noun = "sparse weights"

    @property
    def masked_by(self) -> Stage:
        return self


@dataclasses.dataclass(frozen=True)
class SetTraining(MovingMaskTraining):
    """Sparse evolutionary training: the mask changes after every epoch but the last."""

    ticket: TicketStage
    drop_fraction: float

    @property
    def title(self) -> str:
        return f"train by SET from {self.ticket.title}"


@dataclasses.dataclass(frozen=True)
class RigLTraining(MovingMaskTraining):
    """Training by RigL."""

    ticket: TicketStage
    changes: MaskChanges

    @property
    def title(self) -> str:
        return f"train by RigL from {self.ticket.title}"


@dataclasses.dataclass(frozen=True)
class GradualPruning(MovingMaskTraining):
    """Training while TFMOT's polynomial schedule removes more and more weights."""

    sparsity: float
    placement: SparsityPlacement
    changes: MaskChanges

    @property
    def title(self) -> str:
        return f"train and prune gradually to {self.sparsity:.8g}, seed {self.seed}"
