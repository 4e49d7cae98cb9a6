"""The stages of an experiment: what each is defined by, and how much it trains.

A stage is a value. Two stages with the same definition (network, data, recipe, seed,
and the stages they build on) are the same stage and are computed once.
"""

import dataclasses
import functools
import hashlib
import json
import math
from typing import Any, ClassVar

from dlth_tf.experiment.plan import protocol
from dlth_tf.experiment.plan.own_code import SOURCES, OwnCode
from official.data import Description, ImageData
from official.training.recipe import Recipe

Images = Description | ImageData


class StageFailed(RuntimeError):
    """What a stage came to is no evidence; the message says why."""

    def __init__(self, stage: "Stage", reason: str):
        super().__init__(reason)
        self.stage = stage


@dataclasses.dataclass(frozen=True)
class Stage:
    """A piece of work that is computed once and kept."""

    by_all_workers: ClassVar[bool] = False
    """Whether several workers compute it together; the chief does the others alone."""

    words: ClassVar[str]
    """Its title as a format string."""

    task: protocol.Task

    @property
    def title(self) -> str:
        """What a person calls it, for progress and folder names."""
        return self.words.format(self=self)

    def steps(self, data: Images) -> int:
        """Optimizer steps it takes."""
        return 0

    def images(self, data: Images) -> int:
        """Training images it sees."""
        return 0

    @property
    def parents(self) -> tuple["Stage", ...]:
        """The stages it builds on."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return tuple(value for value in values if isinstance(value, Stage))

    @property
    def definition(self) -> dict[str, Any]:
        """All that its result depends on, ready for JSON.

        What has its default value is left out, so that an option added later changes
        the definition only of the stages that use it. A plugin's network or data set is
        known by its source, too.
        """
        used = {"network": self.task.network, "dataset": self.task.dataset}
        own = {k: SOURCES[k, name] for k, name in used.items() if (k, name) in SOURCES}
        return {
            "stage": type(self).__name__,
            **_definition(self),
            **({"own": own} if own else {}),
        }

    @functools.cached_property
    def key(self) -> str:
        """A name that two stages share exactly if their definitions are equal."""
        text = json.dumps(self.definition, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def lineage(self) -> list["Stage"]:
        """This stage and all it builds on, each once, parents first."""
        earlier = (stage for parent in self.parents for stage in parent.lineage())
        return list({stage.key: stage for stage in (*earlier, self)}.values())


def _definition(value: Any) -> dict[str, Any]:
    parts = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part == field.default or not field.compare:
            continue
        if isinstance(part, Stage):
            part = part.key
        elif dataclasses.is_dataclass(part):
            part = _definition(part)
        parts[field.name] = part
    return parts


@dataclasses.dataclass(frozen=True)
class TicketStage(Stage):
    """A stage whose result is a ticket."""

    sparsity: float
    placement: protocol.SparsityPlacement

    @property
    def amount(self) -> str:
        """The sparsity, what is unusual about where it goes, and of what it is a part."""
        amount = f"{self.sparsity:.8g} {self.placement.title}".strip()
        for parent in self.parents:
            earlier = parent.masked_by if isinstance(parent, WeightsStage) else parent
            if isinstance(earlier, TicketStage):
                amount += f" within {earlier.sparsity:.8g}"
        return amount


class WeightsStage(Stage):
    """A stage whose result is the weights of the network."""

    noun: ClassVar[str]
    seed: int

    @property
    def described(self) -> str:
        """Its weights in the titles of what builds on them."""
        return self.noun

    @property
    def masked_by(self) -> Stage | None:
        """The stage whose ticket says which weights are kept; None: all of them."""
        return None

    @property
    def shrunk_by(self) -> Stage | None:
        """The stage whose ticket made the network smaller; None: it is whole."""
        return None


@dataclasses.dataclass(frozen=True)
class RandomTicket(TicketStage):
    """A ticket drawn uniformly at random, or from what an earlier one keeps."""

    words = "random ticket {self.amount}, seed {self.seed}"
    seed: int
    within: TicketStage | None = None


@dataclasses.dataclass(frozen=True)
class MagnitudeTicket(TicketStage):
    """The ticket of the largest magnitudes."""

    words = "magnitude ticket {self.amount}, seed {self.weights.seed}"
    weights: WeightsStage


@dataclasses.dataclass(frozen=True)
class SaliencyTicket(TicketStage):
    """The ticket of the highest scores of an untrained network.

    Criteria that need images see the first of the seed's training order, so many for
    each class on average, augmented as in training.
    """

    words = "{self.criterion} ticket {self.amount}, seed {self.seed}"
    weights: WeightsStage
    criterion: str
    seed: int
    images_per_class: int = 10

    def steps(self, data: Images) -> int:
        # How often the criterion runs its images through the network, forth and back.
        return {"snip": 1, "grasp": 2, "synflow": 0}[self.criterion]

    def images(self, data: Images) -> int:
        return self.steps(data) * self.examples(data)

    def examples(self, data: Images) -> int:
        """How many images are looked at."""
        return min(self.images_per_class * data.classes, data.train_size)


@dataclasses.dataclass(frozen=True)
class OwnTicket(TicketStage):
    """The ticket that a function of one's own finds in the network with some weights."""

    words = "{self.find.name} ticket {self.amount}, seed {self.seed}"
    weights: WeightsStage
    find: OwnCode
    seed: int


@dataclasses.dataclass(frozen=True)
class InitialWeights(WeightsStage):
    """The random weights of a seed."""

    noun = "initial weights"
    words = "initial weights, seed {self.seed}"
    seed: int


@dataclasses.dataclass(frozen=True)
class Pruned(WeightsStage):
    """Weights with those that a ticket removes set to zero."""

    noun = "pruned weights"
    words = "{self.weights.described} pruned by {self.ticket.title}"
    weights: WeightsStage
    ticket: TicketStage

    @property
    def masked_by(self) -> TicketStage:
        return self.ticket


@dataclasses.dataclass(frozen=True)
class FitStage(WeightsStage):
    """A training that begins with some weights; the seed is that of the images' order."""

    by_all_workers = True
    batch_flag: ClassVar[str] = "batch_size"
    may_end_early: ClassVar[bool] = False
    """Whether its steps are those at the most."""

    weights: WeightsStage
    recipe: Recipe | protocol.TransformationRecipe
    seed: int

    def first_step(self, data: Images) -> int:
        """Step of the data's order and the optimizer's schedule to begin at."""
        return 0

    def steps_per_epoch(self, data: Images) -> int:
        return data.steps_per_epoch(self.recipe.batch_size)

    def epochs(self, data: Images) -> int:
        """Epochs that it takes; the last may be a part of one."""
        return math.ceil(self.steps(data) / self.steps_per_epoch(data))

    def steps(self, data: Images) -> int:
        if isinstance(self.recipe, protocol.TransformationRecipe):
            return self.recipe.steps
        return self.recipe.epochs * self.steps_per_epoch(data)

    def images(self, data: Images) -> int:
        return self.steps(data) * self.recipe.batch_size


@dataclasses.dataclass(frozen=True)
class Training(FitStage):
    """Training by the recipe: all of it, or from one point of it to another."""

    noun = "trained weights"
    recipe: Recipe
    ticket: TicketStage | None
    extra_images: int = 0
    begin: protocol.TrainingPoint = protocol.BEGINNING
    end: protocol.TrainingPoint | None = None
    shrunk: bool = False

    @property
    def described(self) -> str:
        return f"weights of {self.end}" if self.end else self.noun

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
            what = f"finetune {self.weights.described} by {self.ticket.title}"
        longer = ", longer" if self.extra_images else ""
        begin = f", from {self.begin}" if self.begin != protocol.BEGINNING else ""
        end = f", until {self.end}" if self.end else ""
        shrunk = ", made smaller" if self.shrunk else ""
        return f"{what}{shrunk}{longer}{begin}{end}"

    def first_step(self, data: Images) -> int:
        return self.begin.in_steps(self.steps_per_epoch(data))

    def steps(self, data: Images) -> int:
        per_epoch = self.steps_per_epoch(data)
        whole = protocol.TrainingPoint(self.stretched_recipe(per_epoch).epochs)
        return (self.end or whole).in_steps(per_epoch) - self.first_step(data)

    def stretched_recipe(self, steps_per_epoch: int) -> Recipe:
        """The recipe, made longer by the extra images."""
        images_per_epoch = steps_per_epoch * self.recipe.batch_size
        extra_epochs = math.ceil(self.extra_images / images_per_epoch)
        return self.recipe.stretched(self.recipe.epochs + extra_epochs)


@dataclasses.dataclass(frozen=True)
class EarlyBirdTraining(FitStage):
    """Dense training until the magnitude ticket of a sparsity has settled."""

    noun = "early-bird weights"
    may_end_early = True
    words = "train until ticket {self.sparsity:.8g} has settled, seed {self.seed}"
    sparsity: float
    placement: protocol.SparsityPlacement


@dataclasses.dataclass(frozen=True)
class Transformation(FitStage):
    """Dense training under the penalty that extrudes what a ticket removes (RST)."""

    noun = "transformed weights"
    batch_flag = "transform_batch_size"
    words = "transform {self.weights.described} for {self.ticket.title}"
    recipe: protocol.TransformationRecipe
    ticket: TicketStage


class MovingMaskTraining(FitStage):
    """Training while the mask changes: it leaves weights and a ticket."""

    noun = "sparse weights"

    @property
    def masked_by(self) -> Stage:
        return self


@dataclasses.dataclass(frozen=True)
class SetTraining(MovingMaskTraining):
    """Sparse evolutionary training: the mask changes after every epoch but the last."""

    words = "train by SET from {self.ticket.title}"
    ticket: TicketStage
    drop_fraction: float


@dataclasses.dataclass(frozen=True)
class RigLTraining(MovingMaskTraining):
    """Training by RigL."""

    words = "train by RigL from {self.ticket.title}"
    ticket: TicketStage
    changes: protocol.MaskChanges


@dataclasses.dataclass(frozen=True)
class GradualPruning(MovingMaskTraining):
    """Training while TFMOT's polynomial schedule removes more and more weights."""

    words = "train and prune gradually to {self.sparsity:.8g}, seed {self.seed}"
    sparsity: float
    placement: protocol.SparsityPlacement
    changes: protocol.MaskChanges


@dataclasses.dataclass(frozen=True)
class OwnTraining(FitStage):
    """Training by the recipe with a callback of one's own, which keeps to a ticket."""

    noun = "trained weights"
    ticket: TicketStage | None
    make: OwnCode

    @property
    def title(self) -> str:
        return f"train by {self.make.name} from {(self.ticket or self.weights).title}"

    @property
    def masked_by(self) -> Stage | None:
        return self if self.ticket else None
