"""The verbs in which methods are written.

Nothing is computed here. Each verb returns a stage, a description of work and of what it
builds on; what two methods describe alike is the same stage, and is done once.
"""

import dataclasses
from collections.abc import Callable

from dlth_tf.experiment.plan import stages
from dlth_tf.experiment.plan.own_code import OwnCode
from dlth_tf.experiment.plan.protocol import (
    BEGINNING,
    Protocol,
    SparsityPlacement,
    Task,
    TrainingPoint,
    TransformationRecipe,
)
from dlth_tf.experiment.plan.stages import TicketStage, WeightsStage
from official.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Trial:
    """A protocol at one sparsity with one seed, which all methods are tried on."""

    protocol: Protocol
    sparsity: float
    seed: int

    def initial_weights(self) -> WeightsStage:
        """The randomly initialised network."""
        return stages.InitialWeights(self.protocol.task, self.seed)

    def rewound_weights(self) -> WeightsStage:
        """The weights of a moment early in dense training; usually the initial ones."""
        if self.protocol.rewind_to == BEGINNING:
            return self.initial_weights()
        return self.train(self.initial_weights(), end=self.protocol.rewind_to)

    def cycles(self) -> list["Trial"]:
        """The same at the sparsity of each cycle: s_c = 1 - (1 - s) ** (c / n)."""
        count, kept = self.protocol.cycles.count, 1.0 - self.sparsity
        earlier = [1.0 - kept ** (cycle / count) for cycle in range(1, count)]
        return [dataclasses.replace(self, sparsity=s) for s in (*earlier, self.sparsity)]

    def distributed(self, distribution: str) -> "Trial":
        """The same with its sparsity shared out among layers in another way."""
        own = self.protocol
        placement = dataclasses.replace(own.placement, distribution=distribution)
        own = dataclasses.replace(own, placement=placement)
        return dataclasses.replace(self, protocol=own)

    def random_ticket(self, within: TicketStage | None = None) -> TicketStage:
        """A ticket drawn uniformly at random, perhaps from what another one keeps."""
        task = self.protocol.task
        return stages.RandomTicket(task, *self._placed, self.seed, within)

    def magnitude_ticket(self, weights: WeightsStage) -> TicketStage:
        """The ticket of the largest magnitudes of trained weights."""
        return stages.MagnitudeTicket(self.protocol.task, *self._placed, weights)

    def saliency_ticket(self, criterion: str) -> TicketStage:
        """The ticket of the initial weights' highest scores, by a criterion's name."""
        task, initial = self.protocol.task, self.initial_weights()
        return stages.SaliencyTicket(task, *self._placed, initial, criterion, self.seed)

    def own_ticket(self, find: Callable, weights: WeightsStage) -> TicketStage:
        """The ticket that `find(model, sparsity, seed)` returns.

        The model has these weights; `sparsity` is a sparsity for each layer, as all
        functions that make tickets take it.
        """
        task, code = self.protocol.task, OwnCode.of(find)
        return stages.OwnTicket(task, *self._placed, weights, code, self.seed)

    def prune(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Sets what a ticket removes to zero."""
        return stages.Pruned(self.protocol.task, weights, ticket)

    def train(
        self,
        weights: WeightsStage,
        ticket: TicketStage | None = None,
        *,
        begin: TrainingPoint = BEGINNING,
        end: TrainingPoint | None = None,
    ) -> WeightsStage:
        """Trains the dense network, or what a ticket keeps, by the recipe or a part."""
        return stages.Training(*self._fit(weights), ticket, begin=begin, end=end)

    def finetune(
        self,
        weights: WeightsStage,
        ticket: TicketStage | None,
        *,
        begin: TrainingPoint = BEGINNING,
        extra_images: int = 0,
    ) -> WeightsStage:
        """Trains what a ticket keeps, as the last stage of a method.

        With `extra_images` it lasts longer by so many, its schedule stretched. Where the
        experiment asks for it, the network is made physically smaller first.
        """
        fit, shrunk = self._fit(weights), self.protocol.shrink
        return stages.Training(*fit, ticket, extra_images, begin, shrunk=shrunk)

    def train_until_settled(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network until its magnitude ticket has settled."""
        return stages.EarlyBirdTraining(*self._fit(weights), *self._placed)

    def train_by_set(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows random ones."""
        fraction = self.protocol.mask_changes.drop_fraction
        return stages.SetTraining(*self._fit(weights), ticket, fraction)

    def train_by_rigl(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows where gradients ask."""
        changes = self.protocol.mask_changes
        return stages.RigLTraining(*self._fit(weights), ticket, changes)

    def prune_gradually(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network while more and more small weights are removed."""
        changes = self.protocol.mask_changes
        return stages.GradualPruning(*self._fit(weights), *self._placed, changes)

    def train_by(
        self, make: Callable, weights: WeightsStage, ticket: TicketStage | None = None
    ) -> WeightsStage:
        """Trains by the recipe, with the callback that `make(ticket, steps)` returns.

        With a ticket it is this callback that keeps the removed weights at zero, and has
        the last mask as its `ticket`, as `FixedTicket` and `RigL` do.
        """
        return stages.OwnTraining(*self._fit(weights), ticket, OwnCode.of(make))

    def transform(
        self,
        weights: WeightsStage,
        ticket: TicketStage,
        recipe: TransformationRecipe | None = None,
    ) -> WeightsStage:
        """Extrudes what the ticket removes into what it keeps (RST)."""
        task, recipe = self.protocol.task, recipe or self.protocol.transformation
        return stages.Transformation(task, weights, recipe, self.seed, ticket)

    @property
    def _placed(self) -> tuple[float, SparsityPlacement]:
        return self.sparsity, self.protocol.placement

    def _fit(self, weights: WeightsStage) -> tuple[Task, WeightsStage, Recipe, int]:
        """What every training by the recipe is defined by."""
        return self.protocol.task, weights, self.protocol.recipe, self.seed
