"""The stages of an experiment: what each is defined by.

A stage is a value. Two stages with the same definition (network, data, recipe, seed,
and the stages they build on) are the same stage and are computed once. Here are those
that take no training; `trainings` has the others.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any, ClassVar

from dlth_tf.experiment.plan.protocol import Task
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from official.data import Description, ImageData

Images = Description | ImageData


class StageFailed(RuntimeError):
    """What a stage came to is no evidence; the message says why.

    Attributes:
        stage: the one that failed.
    """

    def __init__(self, stage: "Stage", reason: str):
        super().__init__(reason)
        self.stage = stage


@dataclasses.dataclass(frozen=True)
class Stage:
    """A piece of work that is computed once and kept."""

    by_all_workers: ClassVar[bool] = False
    """Whether several workers compute it together; the chief does the others alone."""

    task: Task

    @property
    def title(self) -> str:
        """What a person calls it, for progress and folder names."""
        raise NotImplementedError

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
        the definition only of the stages that use it.
        """
        return {"stage": type(self).__name__, **_definition(self)}

    @functools.cached_property
    def key(self) -> str:
        """A name that two stages share exactly if their definitions are equal."""
        text = json.dumps(self.definition, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def lineage(self) -> list["Stage"]:
        """This stage and all it builds on, each once, parents first."""
        found: dict[str, Stage] = {}
        for parent in self.parents:
            found.update((stage.key, stage) for stage in parent.lineage())
        found[self.key] = self
        return list(found.values())


def _definition(value: Any) -> dict[str, Any]:
    parts = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part == field.default:
            continue
        if isinstance(part, Stage):
            part = part.key
        elif dataclasses.is_dataclass(part):
            part = _definition(part)
        parts[field.name] = part
    return parts


class TicketStage(Stage):
    """A stage whose result is a ticket."""

    sparsity: float
    placement: SparsityPlacement

    @property
    def amount(self) -> str:
        """The sparsity, and what is unusual about where it goes."""
        return f"{self.sparsity:.8g} {self.placement.title}".strip()


class WeightsStage(Stage):
    """A stage whose result is the weights of the network."""

    noun: ClassVar[str]
    seed: int

    @property
    def masked_by(self) -> Stage | None:
        """The stage whose ticket says which weights are kept; None: all of them."""
        return None

    @property
    def shrunk_by(self) -> Stage | None:
        """The stage whose ticket made the network smaller; None: it is whole."""
        return None


def _within(earlier: Stage | None) -> str:
    return f" within {earlier.sparsity:.8g}" if isinstance(earlier, TicketStage) else ""


@dataclasses.dataclass(frozen=True)
class RandomTicket(TicketStage):
    """A ticket drawn uniformly at random, or from what an earlier one keeps."""

    sparsity: float
    placement: SparsityPlacement
    seed: int
    within: TicketStage | None = None

    @property
    def title(self) -> str:
        return f"random ticket {self.amount}{_within(self.within)}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class MagnitudeTicket(TicketStage):
    """The ticket of the largest magnitudes."""

    weights: WeightsStage
    sparsity: float
    placement: SparsityPlacement

    @property
    def title(self) -> str:
        within = _within(self.weights.masked_by)
        return f"magnitude ticket {self.amount}{within}, seed {self.weights.seed}"


@dataclasses.dataclass(frozen=True)
class SaliencyTicket(TicketStage):
    """The ticket of the highest scores of an untrained network.

    Criteria that need images see the first of the seed's training order, so many for
    each class on average, augmented as in training.
    """

    weights: WeightsStage
    criterion: str
    sparsity: float
    placement: SparsityPlacement
    seed: int
    images_per_class: int = 10

    @property
    def title(self) -> str:
        return f"{self.criterion} ticket {self.amount}, seed {self.seed}"

    def steps(self, data: Images) -> int:
        # How often the criterion runs its images through the network, forth and back.
        return {"snip": 1, "grasp": 2, "synflow": 0}[self.criterion]

    def images(self, data: Images) -> int:
        return self.steps(data) * self.examples(data)

    def examples(self, data: Images) -> int:
        """How many images are looked at."""
        return min(self.images_per_class * data.classes, data.train_size)


@dataclasses.dataclass(frozen=True)
class InitialWeights(WeightsStage):
    """The random weights of a seed."""

    noun = "initial weights"
    seed: int

    @property
    def title(self) -> str:
        return f"initial weights, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Pruned(WeightsStage):
    """Weights with those that a ticket removes set to zero."""

    noun = "pruned weights"

    weights: WeightsStage
    ticket: TicketStage

    @property
    def masked_by(self) -> TicketStage:
        return self.ticket

    @property
    def title(self) -> str:
        return f"{self.weights.noun} pruned by {self.ticket.title}"
