"""The stages of an experiment: what each is defined by, and how it is computed.

A stage is a value. Two stages with the same definition (network, data, recipe, seed,
and the stages they build on) are the same stage and are computed once. Here are those
that take no training; `training_stages` and `sparse_training` have the others.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dlth_tf.experiment.placement import Placement

if TYPE_CHECKING:
    import keras

    from dlth_tf.cost import ModelCost
    from dlth_tf.experiment.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class Task:
    """The network and the data that all runs of an experiment share.

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

    def compute(self, bench: "Workbench", folder: Path) -> dict:
        """Does the work and writes its file to `folder`; returns what to record.

        Raises:
            StageFailed: its result would be no evidence.
        """
        raise NotImplementedError

    def check(self, bench: "Workbench") -> None:
        """Finds what is wrong with its settings before anything is computed.

        Raises:
            ValueError: one of them makes no sense with this data or backend.
        """

    def steps(self, bench: "Workbench") -> int:
        """Optimizer steps it takes."""
        return 0

    def images(self, bench: "Workbench") -> int:
        """Training images it sees."""
        return 0

    @property
    def parents(self) -> tuple["Stage", ...]:
        """The stages it builds on."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return tuple(value for value in values if isinstance(value, Stage))

    @property
    def definition(self) -> dict:
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


def _definition(value) -> dict:
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


class WeightsStage(Stage):
    """A stage whose result is the weights of the network."""

    FILE = "weights.npz"
    noun: ClassVar[str]

    @property
    def masked_by(self) -> Stage | None:
        """The stage whose ticket says which weights are kept; None: all of them."""
        return None

    def network(self, bench: "Workbench") -> "keras.Model":
        """A new network that such weights belong to."""
        return bench.build_network(seed=0)

    def cost(self, bench: "Workbench") -> "ModelCost":
        """What one image costs in the network, its mask counted."""
        from dlth_tf.cost import layer_costs

        ticket = self.masked_by and bench.ticket(self.masked_by)
        return layer_costs(bench.blueprint, ticket)


class TicketStage(Stage):
    """A stage whose result is a ticket."""

    FILE = "ticket.safetensors.xz"
    sparsity: float
    placement: Placement

    @property
    def amount(self) -> str:
        """The sparsity, and what is unusual about where it goes."""
        return f"{self.sparsity:.8g} {self.placement.title}".strip()

    def check(self, bench):
        bench.random_ticket(0, self.sparsity, self.placement)


@dataclasses.dataclass(frozen=True)
class InitialWeights(WeightsStage):
    noun = "initial weights"
    seed: int

    @property
    def title(self):
        return f"initial weights, seed {self.seed}"

    def compute(self, bench, folder):
        model = bench.build_network(self.seed)
        bench.store.save_weights(folder, bench.weights_of(model))
        return {"parameters": int(model.count_params())}


@dataclasses.dataclass(frozen=True)
class RandomTicket(TicketStage):
    """A ticket drawn uniformly at random, or from what an earlier one keeps."""

    sparsity: float
    placement: Placement
    seed: int
    within: TicketStage | None = None

    @property
    def title(self):
        nested = f" within {self.within.sparsity:.8g}" if self.within else ""
        return f"random ticket {self.amount}{nested}, seed {self.seed}"

    def compute(self, bench, folder):
        within = self.within and bench.ticket(self.within)
        ticket = bench.random_ticket(self.seed, self.sparsity, self.placement, within)
        ticket.save(folder / self.FILE)
        return {"sparsity_per_layer": ticket.sparsity_per_kernel()}


@dataclasses.dataclass(frozen=True)
class MagnitudeTicket(TicketStage):
    """The ticket of the largest magnitudes."""

    weights: WeightsStage
    sparsity: float
    placement: Placement

    def check(self, bench):
        super().check(bench)
        if bench.prunes_by_tfmot(self.placement):
            from dlth_tf.tfmot.engine import check_installed

            check_installed()

    @property
    def title(self):
        return f"magnitude ticket {self.amount}, seed {self.weights.seed}"

    def compute(self, bench, folder):
        model = bench.network_with(self.weights)
        ticket = bench.magnitude_ticket(model, self.sparsity, self.placement)
        ticket.save(folder / self.FILE)
        return {"sparsity_per_layer": ticket.sparsity_per_kernel()}


@dataclasses.dataclass(frozen=True)
class Pruned(WeightsStage):
    """Weights with those that a ticket removes set to zero."""

    noun = "pruned weights"

    weights: WeightsStage
    ticket: TicketStage

    @property
    def masked_by(self):
        return self.ticket

    @property
    def title(self):
        return f"{self.weights.noun} pruned by {self.ticket.title}"

    def compute(self, bench, folder):
        model = bench.network_with(self.weights)
        bench.ticket(self.ticket).apply(model)
        bench.store.save_weights(folder, bench.weights_of(model))
        return {}
