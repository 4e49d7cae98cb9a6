"""The stages that train: dense training, finetuning, Early-Bird, transformation."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.experiment.moment import BEGINNING, Moment
from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.stages import TicketStage, WeightsStage
from official.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from dlth_tf.experiment.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class TransformationRecipe:
    """How a network is trained while it is transformed; its length is the growth's."""

    growth: PenaltyGrowth
    batch_size: int
    learning_rate: float
    momentum: float
    l2: float

    @property
    def images(self) -> int:
        """Training images one transformation sees."""
        return self.growth.steps * self.batch_size

    def optimizer(self, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
        """Returns a fresh optimizer, whose rate is constant."""
        from official.training.optimizers import SGD

        return SGD(self.learning_rate, self.momentum)


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

    def callbacks(self, bench: "Workbench") -> list["keras.callbacks.Callback"]:
        """What distinguishes this training."""
        return []

    def conclude(
        self,
        bench: "Workbench",
        folder: Path,
        callbacks: Sequence["keras.callbacks.Callback"],
        record: dict,
    ) -> dict:
        """Keeps what the callbacks found; returns what to record, beside `record`."""
        return {}

    def first_step(self, bench: "Workbench") -> int:
        """Step of the data's order and the optimizer's schedule to begin at."""
        return 0

    def starting_network(self, bench: "Workbench") -> "keras.Model":
        """The network to train, with the weights it begins with."""
        return bench.network_with(self.weights)

    def optimizer(self, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
        return self.recipe.optimizer(steps_per_epoch)

    def multiply_adds(self, bench: "Workbench") -> int:
        """Of one image on its way forward, while this trains.

        A fixed ticket's are counted as on a machine that skips every zero.
        """
        return self.cost(bench).kept_multiply_adds

    def steps_per_epoch(self, bench: "Workbench") -> int:
        return bench.data.steps_per_epoch(self.recipe.batch_size)

    def steps(self, bench):
        return self.recipe.epochs * self.steps_per_epoch(bench)

    def images(self, bench):
        return self.steps(bench) * self.recipe.batch_size

    def compute(self, bench, folder):
        from dlth_tf.experiment.resumable_fit import ResumableFit

        return ResumableFit(self, bench, folder).run()


@dataclasses.dataclass(frozen=True)
class Training(FitStage):
    """Training by the recipe: all of it, or from one moment of it to another."""

    noun = "trained weights"

    weights: WeightsStage
    ticket: TicketStage | None
    recipe: Recipe
    seed: int
    extra_images: int = 0
    begin: Moment = BEGINNING
    end: Moment | None = None
    shrunk: bool = False

    @property
    def masked_by(self):
        return self.ticket

    @property
    def title(self):
        if self.ticket is None:
            what = f"train the dense network, seed {self.seed}"
        else:
            what = f"finetune {self.weights.noun} by {self.ticket.title}"
        longer = ", longer" if self.extra_images else ""
        begin = f", from {self.begin}" if self.begin != BEGINNING else ""
        end = f", until {self.end}" if self.end else ""
        shrunk = ", made smaller" if self.shrunk else ""
        return f"{what}{shrunk}{longer}{begin}{end}"

    def network(self, bench):
        return self._made_smaller(super().network(bench), bench)

    def starting_network(self, bench):
        return self._made_smaller(super().starting_network(bench), bench)

    def cost(self, bench):
        from dlth_tf.cost import layer_costs

        return layer_costs(self.network(bench)) if self.shrunk else super().cost(bench)

    def first_step(self, bench):
        return self.begin.in_steps(self.steps_per_epoch(bench))

    def steps(self, bench):
        per_epoch = self.steps_per_epoch(bench)
        end = self.end or Moment(epochs=self._stretched_recipe(per_epoch).epochs)
        return end.in_steps(per_epoch) - self.first_step(bench)

    def check(self, bench):
        if self.steps(bench) < 1:
            length = self._stretched_recipe(self.steps_per_epoch(bench)).epochs
            raise ValueError(
                f"--rewind_to must be below the {length} epochs of the training "
                f"({length * self.steps_per_epoch(bench)} steps). Received: {self.begin}"
            )

    def optimizer(self, steps_per_epoch):
        return self._stretched_recipe(steps_per_epoch).optimizer(steps_per_epoch)

    def callbacks(self, bench):
        from dlth_tf.callbacks.fixed_ticket import FixedTicket

        masked = self.ticket and not self.shrunk
        return [FixedTicket(bench.ticket(self.ticket))] if masked else []

    def _made_smaller(self, network, bench):
        from dlth_tf.shrinking import shrink

        return shrink(network, bench.ticket(self.ticket)) if self.shrunk else network

    def _stretched_recipe(self, steps_per_epoch):
        images_per_epoch = steps_per_epoch * self.recipe.batch_size
        extra_epochs = math.ceil(self.extra_images / images_per_epoch)
        return self.recipe.stretched(self.recipe.epochs + extra_epochs)


@dataclasses.dataclass(frozen=True)
class EarlyBirdTraining(FitStage):
    """Dense training until the magnitude ticket of a sparsity has settled."""

    noun = "early-bird weights"
    may_end_early = True

    weights: WeightsStage
    recipe: Recipe
    sparsity: float
    placement: Placement
    seed: int

    @property
    def title(self):
        return f"train until ticket {self.sparsity:.8g} has settled, seed {self.seed}"

    def callbacks(self, bench):
        from dlth_tf.callbacks.early_bird import EarlyBird

        model = bench.network_with(self.weights)
        sparsity = bench.sparsity(model, self.sparsity, self.placement)
        return [EarlyBird(sparsity, unit=self.placement.unit)]

    def conclude(self, bench, folder, callbacks, record):
        epochs = len(record["history"])
        bench.reporter.line(f"    ticket settled after {epochs} epochs")
        return {"settled_after_epochs": epochs}


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
    def title(self):
        return f"transform {self.weights.noun} for {self.ticket.title}"

    def steps(self, bench):
        return self.recipe.growth.steps

    def callbacks(self, bench):
        from dlth_tf.callbacks.transformation import RandomSparseTransformation

        growth = dataclasses.asdict(self.recipe.growth)
        ticket = bench.ticket(self.ticket)
        return [RandomSparseTransformation(ticket, **growth)]
