"""The verbs in which methods are written.

Nothing is computed here. Each verb returns a stage, a description of work and of what it
builds on; what two methods describe alike is the same stage, and is done once.
"""

import dataclasses

from dlth_tf.experiment.plan.protocol import (
    BEGINNING,
    Protocol,
    TrainingPoint,
    TransformationRecipe,
)
from dlth_tf.experiment.plan.stages import (
    InitialWeights,
    MagnitudeTicket,
    Pruned,
    RandomTicket,
    SaliencyTicket,
    TicketStage,
    WeightsStage,
)
from dlth_tf.experiment.plan.trainings import (
    EarlyBirdTraining,
    GradualPruning,
    RigLTraining,
    SetTraining,
    Training,
    Transformation,
)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A protocol at one sparsity with one seed, which all methods are tried on.

    They share the initial weights and the order of the data.
    """

    protocol: Protocol
    sparsity: float
    seed: int

    def initial_weights(self) -> WeightsStage:
        """The randomly initialised network."""
        return InitialWeights(self.protocol.task, self.seed)

    def rewound_weights(self) -> WeightsStage:
        """The weights of a moment early in dense training; usually the initial ones."""
        if self.protocol.rewind_to == BEGINNING:
            return self.initial_weights()
        return self.train(self.initial_weights(), end=self.protocol.rewind_to)

    def cycle_sparsities(self) -> list[float]:
        """The sparsity of each cycle: s_c = 1 - (1 - s) ** (c / n)."""
        count = self.protocol.cycles.count
        kept = 1.0 - self.sparsity
        earlier = [1.0 - kept ** (cycle / count) for cycle in range(1, count)]
        return [*earlier, self.sparsity]

    def random_ticket(
        self, sparsity: float | None = None, within: TicketStage | None = None
    ) -> TicketStage:
        """A ticket drawn uniformly at random, perhaps from what another one keeps."""
        protocol = self.protocol
        sparsity = self.sparsity if sparsity is None else sparsity
        return RandomTicket(
            protocol.task, sparsity, protocol.placement, self.seed, within
        )

    def magnitude_ticket(
        self, weights: WeightsStage, sparsity: float | None = None
    ) -> TicketStage:
        """The ticket of the largest magnitudes of trained weights."""
        protocol = self.protocol
        sparsity = self.sparsity if sparsity is None else sparsity
        return MagnitudeTicket(protocol.task, weights, sparsity, protocol.placement)

    def saliency_ticket(self, weights: WeightsStage, criterion: str) -> TicketStage:
        """The ticket of an untrained network's highest scores, by a criterion's name."""
        task, placement = self.protocol.task, self.protocol.placement
        return SaliencyTicket(
            task, weights, criterion, self.sparsity, placement, self.seed
        )

    def distributed(self, distribution: str) -> "Trial":
        """The same with its sparsity shared out among layers in another way."""
        placement = dataclasses.replace(
            self.protocol.placement, distribution=distribution
        )
        protocol = dataclasses.replace(self.protocol, placement=placement)
        return dataclasses.replace(self, protocol=protocol)

    def prune(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Sets what a ticket removes to zero."""
        return Pruned(self.protocol.task, weights, ticket)

    def train(
        self,
        weights: WeightsStage,
        ticket: TicketStage | None = None,
        *,
        begin: TrainingPoint = BEGINNING,
        end: TrainingPoint | None = None,
    ) -> WeightsStage:
        """Trains by the recipe: the dense network, or only what a ticket keeps.

        `begin` and `end` are points of the recipe between which to train.
        """
        task, recipe = self.protocol.task, self.protocol.recipe
        return Training(task, weights, ticket, recipe, self.seed, begin=begin, end=end)

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
        return Training(
            self.protocol.task,
            weights,
            ticket,
            self.protocol.recipe,
            self.seed,
            extra_images,
            begin,
            shrunk=self.protocol.shrink,
        )

    def train_until_settled(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network until its magnitude ticket has settled."""
        task, recipe = self.protocol.task, self.protocol.recipe
        return EarlyBirdTraining(
            task, weights, recipe, self.sparsity, self.protocol.placement, self.seed
        )

    def train_by_set(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows random ones."""
        task, recipe = self.protocol.task, self.protocol.recipe
        fraction = self.protocol.mask_changes.drop_fraction
        return SetTraining(task, weights, recipe, self.seed, ticket, fraction)

    def train_by_rigl(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows where gradients ask."""
        task, recipe = self.protocol.task, self.protocol.recipe
        changes = self.protocol.mask_changes
        return RigLTraining(task, weights, recipe, self.seed, ticket, changes)

    def prune_gradually(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network while more and more small weights are removed."""
        return GradualPruning(
            self.protocol.task,
            weights,
            self.protocol.recipe,
            self.seed,
            self.sparsity,
            self.protocol.placement,
            self.protocol.mask_changes,
        )

    def transform(
        self,
        weights: WeightsStage,
        ticket: TicketStage,
        recipe: TransformationRecipe | None = None,
    ) -> WeightsStage:
        """Extrudes what the ticket removes into what it keeps (RST)."""
        recipe = recipe or self.protocol.transformation
        return Transformation(self.protocol.task, weights, ticket, recipe, self.seed)
