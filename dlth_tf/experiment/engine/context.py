"""What stages are computed with: the data, the network, and what is done already."""

import dataclasses
import functools
from collections.abc import Mapping

import keras
import numpy as np

from dlth_tf import tfmot
from dlth_tf.cost import ModelCost, layer_costs
from dlth_tf.experiment.engine.folder import TICKET, ExperimentFolder
from dlth_tf.experiment.engine.progress import Reporter
from dlth_tf.experiment.engine.stop_signals import StopSignals
from dlth_tf.experiment.hardware import ONE_DEVICE, Hardware
from dlth_tf.experiment.plan.protocol import Interval, Task
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from dlth_tf.experiment.plan.stages import Images, Stage, WeightsStage
from dlth_tf.network.kernels import kernel_shapes
from dlth_tf.network.variables import set_weights
from dlth_tf.shrinking import shrink
from dlth_tf.tickets import selection
from dlth_tf.tickets.sparsity import Sparsity, name_patterns, sparsity_per_kernel
from dlth_tf.tickets.ticket import Ticket
from official import data
from official.data import ImageData
from official.modeling import networks


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """What the stages of one experiment are computed with."""

    task: Task
    folder: ExperimentFolder
    data_dir: str | None
    reporter: Reporter
    checkpoint_every: Interval
    stop: StopSignals = dataclasses.field(default_factory=StopSignals)
    hardware: Hardware = ONE_DEVICE

    @functools.cached_property
    def data(self) -> ImageData:
        """The images, loaded when first needed."""
        return data.load(self.task.dataset, **self._used)

    @property
    def sizes(self) -> Images:
        """What is known of the images, as far as a plan needs it."""
        return self.data

    @property
    def _used(self) -> dict:
        return {
            "data_dir": self.data_dir,
            "train_examples": self.task.train_examples,
            "validation_fraction": self.task.validation_fraction,
        }

    def build_network(self, seed: int) -> keras.Model:
        """The network with the initial weights of a seed."""
        keras.utils.set_random_seed(seed)
        return networks.build_network(
            self.task.network,
            input_shape=self.sizes.input_shape,
            classes=self.sizes.classes,
        )

    @functools.cached_property
    def blueprint(self) -> keras.Model:
        """The network, whatever its weights."""
        return self.build_network(seed=0)

    @functools.cached_property
    def dense_cost(self) -> ModelCost:
        """What one image costs in the whole network."""
        return layer_costs(self.blueprint)

    def network_of(self, stage: WeightsStage) -> keras.Model:
        """A new network that a stage's weights belong to."""
        return self.shrunk(self.build_network(seed=0), stage)

    def shrunk(self, network: keras.Model, stage: WeightsStage) -> keras.Model:
        """A network as small as a stage wants it."""
        if stage.shrunk_by is None:
            return network
        return shrink(network, self.ticket(stage.shrunk_by))

    def network_with(self, stage: WeightsStage) -> keras.Model:
        """The network with the weights of a finished stage."""
        model = self.network_of(stage)
        set_weights(model, self.folder.weights(stage))
        return model

    def cost_of(self, stage: WeightsStage) -> ModelCost:
        """What one image costs in a stage's network, its mask counted."""
        if stage.shrunk_by:
            return layer_costs(self.network_of(stage))
        return layer_costs(self.blueprint, self.mask_of(stage))

    def mask_of(self, stage: WeightsStage) -> Ticket | None:
        """The ticket that masks a stage's network; None: none, or it was made smaller."""
        if stage.masked_by is None or stage.shrunk_by:
            return None
        return self.ticket(stage.masked_by)

    def ticket(self, stage: Stage) -> Ticket:
        """The ticket that a finished stage left."""
        return Ticket.load(self.folder.stage(stage) / TICKET)

    def sparsity(
        self, model: keras.Model, sparsity: float, placement: SparsityPlacement
    ) -> Sparsity:
        """Where a sparsity goes in a network.

        Raises:
            ValueError: the placement does not fit the network.
        """
        return placement.sparsity(kernel_shapes(model), sparsity)

    def sparsity_by_kernel(
        self, sparsity: float, placement: SparsityPlacement
    ) -> Mapping[str, float]:
        """The sparsity of each kernel.

        Raises:
            ValueError: the placement does not fit the network, or lets layers compete.
        """
        shared_out = self.sparsity(self.blueprint, sparsity, placement)
        shapes = kernel_shapes(self.blueprint, name_patterns(shared_out))
        found = sparsity_per_kernel(shapes, shared_out)
        return {name: float(value) for name, value in found.items()}

    def random_ticket(
        self,
        seed: int,
        sparsity: float,
        placement: SparsityPlacement,
        within: Ticket | None = None,
    ) -> Ticket:
        """A random ticket of the network, perhaps from what another one keeps.

        Raises:
            ValueError: the placement does not fit the network.
        """
        shared_out = self.sparsity(self.blueprint, sparsity, placement)
        unit = placement.unit
        return selection.random_ticket(self.blueprint, shared_out, seed, within, unit)

    def magnitude_ticket(
        self, model: keras.Model, sparsity: float, placement: SparsityPlacement
    ) -> Ticket:
        """The largest magnitudes of a network, found by TFMOT where it can.

        The plain version gives the same masks.
        """
        shared_out = self.sparsity(model, sparsity, placement)
        if prunes_by_tfmot(placement):
            return tfmot.magnitude_ticket(model, shared_out)
        return selection.magnitude_ticket(model, shared_out, placement.unit)


class PlanContext(Context):
    """One to plan with, which knows the data's size: they need not be there."""

    @functools.cached_property
    def sizes(self) -> Images:
        return data.describe(self.task.dataset, **self._used)


def prunes_by_tfmot(placement: SparsityPlacement) -> bool:
    """Whether TFMOT finds the largest magnitudes: single weights, on TensorFlow."""
    single = placement.unit == "weight" and placement.distribution != "global"
    return single and keras.backend.backend() == "tensorflow"


def are_finite(weights: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(value).all() for value in weights.values())
