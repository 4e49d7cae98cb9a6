"""The laboratory: the verbs in which methods are written.

Nothing is computed here. Each verb returns a stage, a description of work and of what it
builds on; what two methods describe alike is the same stage, and is done once.
"""

import dataclasses

from dlth_tf.experiment.moment import BEGINNING, Moment
from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.saliency import SaliencyTicket
from dlth_tf.experiment.sparse_training import (
    USUAL_CHANGES,
    GradualPruning,
    MaskChanges,
    RigLTraining,
    SetTraining,
)
from dlth_tf.experiment.stages import (
    InitialWeights,
    MagnitudeTicket,
    Pruned,
    RandomTicket,
    Task,
    TicketStage,
    WeightsStage,
)
from dlth_tf.experiment.training_stages import (
    EarlyBirdTraining,
    Training,
    Transformation,
    TransformationRecipe,
)
from official.training.recipe import Recipe


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
class Lab:
    """One comparison's setting for one sparsity and one seed.

    All methods of a seed share the initial weights and the order of the data.
    """

    task: Task
    recipe: Recipe
    transformation: TransformationRecipe
    cycles: Cycles
    rewind_to: Moment
    placement: Placement
    sparsity: float
    seed: int
    mask_changes: MaskChanges = USUAL_CHANGES
    shrink: bool = False

    def initial_weights(self) -> WeightsStage:
        """The randomly initialised network."""
        return InitialWeights(self.task, self.seed)

    def rewound_weights(self) -> WeightsStage:
        """The weights of a moment early in dense training; usually the initial ones."""
        if self.rewind_to == BEGINNING:
            return self.initial_weights()
        return self.train(self.initial_weights(), end=self.rewind_to)

    def cycle_sparsities(self) -> list[float]:
        """The sparsity of each cycle: s_c = 1 - (1 - s) ** (c / n)."""
        count = self.cycles.count
        kept = 1.0 - self.sparsity
        earlier = [1.0 - kept ** (cycle / count) for cycle in range(1, count)]
        return [*earlier, self.sparsity]

    def random_ticket(
        self, sparsity: float | None = None, within: TicketStage | None = None
    ) -> TicketStage:
        """A ticket drawn uniformly at random, perhaps from what another one keeps."""
        sparsity = self.sparsity if sparsity is None else sparsity
        return RandomTicket(self.task, sparsity, self.placement, self.seed, within)

    def magnitude_ticket(
        self, weights: WeightsStage, sparsity: float | None = None
    ) -> TicketStage:
        """The ticket of the largest magnitudes of trained weights."""
        sparsity = self.sparsity if sparsity is None else sparsity
        return MagnitudeTicket(self.task, weights, sparsity, self.placement)

    def saliency_ticket(self, weights: WeightsStage, criterion: str) -> TicketStage:
        """The ticket of an untrained network's highest scores, by a criterion's name."""
        return SaliencyTicket(
            self.task, weights, criterion, self.sparsity, self.placement, self.seed
        )

    def distributed(self, distribution: str) -> "Lab":
        """The same setting with its sparsity shared out among layers in another way."""
        placement = dataclasses.replace(self.placement, distribution=distribution)
        return dataclasses.replace(self, placement=placement)

    def prune(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Sets what a ticket removes to zero."""
        return Pruned(self.task, weights, ticket)

    def train(
        self,
        weights: WeightsStage,
        ticket: TicketStage | None = None,
        *,
        begin: Moment = BEGINNING,
        end: Moment | None = None,
    ) -> WeightsStage:
        """Trains by the recipe: the dense network, or only what a ticket keeps.

        `begin` and `end` are moments of the recipe between which to train.
        """
        recipe, seed = self.recipe, self.seed
        return Training(self.task, weights, ticket, recipe, seed, begin=begin, end=end)

    def finetune(
        self,
        weights: WeightsStage,
        ticket: TicketStage,
        *,
        begin: Moment = BEGINNING,
        extra_images: int = 0,
    ) -> WeightsStage:
        """Trains what a ticket keeps, as the last stage of a method.

        With `extra_images` it lasts longer by so many, its schedule stretched. Where the
        experiment asks for it, the network is made physically smaller first.
        """
        return Training(
            self.task,
            weights,
            ticket,
            self.recipe,
            self.seed,
            extra_images,
            begin,
            shrunk=self.shrink,
        )

    def train_until_settled(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network until its magnitude ticket has settled."""
        return EarlyBirdTraining(
            self.task, weights, self.recipe, self.sparsity, self.placement, self.seed
        )

    def train_by_set(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows random ones."""
        return SetTraining(
            self.task,
            weights,
            self.recipe,
            self.seed,
            ticket,
            self.mask_changes.drop_fraction,
        )

    def train_by_rigl(self, weights: WeightsStage, ticket: TicketStage) -> WeightsStage:
        """Trains while the ticket drops small weights and grows where gradients ask."""
        return RigLTraining(
            self.task, weights, self.recipe, self.seed, ticket, self.mask_changes
        )

    def prune_gradually(self, weights: WeightsStage) -> WeightsStage:
        """Trains the dense network while more and more small weights are removed."""
        return GradualPruning(
            self.task,
            weights,
            self.recipe,
            self.seed,
            self.sparsity,
            self.placement,
            self.mask_changes,
        )

    def transform(
        self,
        weights: WeightsStage,
        ticket: TicketStage,
        recipe: TransformationRecipe | None = None,
    ) -> WeightsStage:
        """Extrudes what the ticket removes into what it keeps (RST)."""
        recipe = recipe or self.transformation
        return Transformation(self.task, weights, ticket, recipe, self.seed)
