"""What stages are computed with: the data, the network, and what is done already."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from scipy.special import log_softmax

import dlth_tf as dlth
from dlth_tf.cost import ModelCost, layer_costs
from dlth_tf.experiment.engine.folder import ExperimentFolder, read_weights, ticket_path
from dlth_tf.experiment.engine.progress import Reporter
from dlth_tf.experiment.engine.stop_signals import StopSignals
from dlth_tf.experiment.hardware import ONE_DEVICE, Hardware
from dlth_tf.experiment.plan import stages
from dlth_tf.experiment.plan.protocol import Interval, SparsityPlacement, Task
from dlth_tf.metrics import losses, ranks
from dlth_tf.network.kernels import kernel_shapes
from dlth_tf.network.variables import set_weights
from dlth_tf.tickets.sparsity import name_patterns, sparsity_per_kernel
from official import data
from official.data import ImageData
from official.distribution.cluster import ALONE, Workers
from official.modeling import networks

_IMAGES_AT_ONCE = 500
_PIXELS_AT_ONCE = 500 * 64 * 64  # 40 images of ImageNet


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
    callbacks: Sequence[Callable[[], keras.callbacks.Callback]] = ()
    """What makes callbacks that watch every training."""

    @functools.cached_property
    def data(self) -> ImageData:
        """The images, loaded when first needed."""
        return data.load(self.task.dataset, **self._used)

    @property
    def sizes(self) -> stages.Images:
        """What is known of the images, as far as a plan needs it."""
        return self.data

    @property
    def _used(self) -> dict:
        return {
            "data_dir": self.data_dir,
            "train_examples": self.task.train_examples,
            "validation_fraction": self.task.validation_fraction,
            "image_size": self.task.image_size,
        }

    def build_network(self, seed: int) -> keras.Model:
        """The network with the initial weights of a seed."""
        keras.utils.set_random_seed(seed)
        name, shape = self.task.network, self.sizes.input_shape
        return networks.build_network(name, input_shape=shape, classes=self.sizes.classes)

    @functools.cached_property
    def blueprint(self) -> keras.Model:
        """The network, whatever its weights."""
        return self.build_network(seed=0)

    def network_of(self, stage: stages.WeightsStage) -> keras.Model:
        """A new network that a stage's weights belong to."""
        return self.shrunk(self.build_network(seed=0), stage)

    def shrunk(self, network: keras.Model, stage: stages.WeightsStage) -> keras.Model:
        """A network as small as a stage wants it."""
        if stage.shrunk_by is None:
            return network
        return dlth.shrink(network, self.ticket(stage.shrunk_by))

    def network_with(self, stage: stages.WeightsStage) -> keras.Model:
        """The network with the weights of a finished stage."""
        model = self.network_of(stage)
        set_weights(model, read_weights(self.folder.stage(stage)))
        return model

    @functools.cached_property
    def dense_cost(self) -> ModelCost:
        """What one image costs in the whole network."""
        return layer_costs(self.blueprint)

    def multiply_adds(self, stage: stages.FitStage) -> int:
        """Of one image on its way forward, while a stage trains.

        A fixed ticket's are counted as on a machine that skips every zero; a mask that
        grows on the way is not.
        """
        cost = layer_costs(self.shrunk(self.blueprint, stage), self.mask_of(stage))
        grows = isinstance(stage, stages.GradualPruning)
        return cost.multiply_adds if grows else cost.kept_multiply_adds

    def ticket(self, stage: stages.Stage) -> dlth.Ticket:
        """The ticket that a finished stage left."""
        return dlth.Ticket.load(ticket_path(self.folder.stage(stage)))

    def mask_of(self, stage: stages.WeightsStage) -> dlth.Ticket | None:
        """The ticket that masks a stage's network; None: none, or it was made smaller."""
        if stage.masked_by is None or stage.shrunk_by:
            return None
        return self.ticket(stage.masked_by)

    def random_ticket(
        self,
        seed: int,
        sparsity: float,
        placement: SparsityPlacement,
        within: dlth.Ticket | None = None,
    ) -> dlth.Ticket:
        """A random ticket of the network, perhaps from what another one keeps."""
        network, how = self.blueprint, (placement.unit, placement.round_to)
        placed = placement.sparsity(dlth.maskable_kernels(network), sparsity)
        return dlth.random_ticket(network, placed, seed, within, *how)

    def sparsity_by_kernel(self, stage: stages.GradualPruning) -> Mapping[str, float]:
        """The sparsity of each kernel; a ValueError where kernels compete."""
        kernels = dlth.maskable_kernels(self.blueprint)
        placed = stage.placement.sparsity(kernels, stage.sparsity)
        shapes = kernel_shapes(self.blueprint, name_patterns(placed))
        found = sparsity_per_kernel(shapes, placed)
        return {name: float(value) for name, value in found.items()}


class PlanContext(Context):
    """One to plan with, which knows the data's size: they need not be there."""

    @functools.cached_property
    def sizes(self) -> stages.Images:
        return data.describe(self.task.dataset, **self._used)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Accuracies are fractions of the images; the loss is their mean cross-entropy.

    `not_finite` of the images have an output that is NaN or infinite.
    """

    accuracy: float
    top5: float
    loss: float
    images: int
    not_finite: int


def evaluate(
    model: keras.Model, data: ImageData, split: str, workers: Workers = ALONE
) -> Measured:
    """Measures a model that returns logits on images it was not trained on.

    The model is on one device, the same on all workers: each measures its share of the
    split (`"test"` or `"validation"`), and all learn the result.
    """
    height, width, _ = data.input_shape
    batch_size = max(1, min(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))
    sums = np.zeros(5)
    for x, y in data.evaluation_batches(split, batch_size, workers.shard):
        logits = np.asarray(model.predict_on_batch(x), np.float64)
        rank = ranks(logits, y)
        loss = losses(log_softmax(logits, axis=1), y).sum()
        finite = np.isfinite(logits).all(axis=1)
        sums += [(rank < 1).sum(), (rank < 5).sum(), loss, len(y), (~finite).sum()]
    right, right5, loss, images, bad = workers.sum(sums).tolist()
    return Measured(right / images, right5 / images, loss / images, int(images), int(bad))
