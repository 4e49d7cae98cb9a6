"""What stages are computed with: the data, the network, and what is done already."""

import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dlth_tf.experiment.hardware import ONE_DEVICE, Hardware
from dlth_tf.experiment.interval import TEN_MINUTES, Interval
from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.progress import Reporter
from dlth_tf.experiment.stages import (
    Stage,
    StageFailed,
    Task,
    TicketStage,
    WeightsStage,
)
from dlth_tf.experiment.stop_signals import StopSignals
from dlth_tf.experiment.store import StageStore
from dlth_tf.files import remove_temporaries

if TYPE_CHECKING:
    from dlth_tf.cost import ModelCost
    from dlth_tf.tickets.sparsity import Sparsity


class Workbench:
    """Computes the stages of one experiment, each once.

    Args:
        task: the network and the data.
        output_dir: the experiment's folder.
        data_dir: where the data set lies, if it is not the data set's usual place.
        reporter: shows progress.
        checkpoint_every: from one state kept within an epoch to the next.
        stop: says when the program was asked to end.
        hardware: what trainings run on.
    """

    def __init__(
        self,
        task: Task,
        output_dir: str | os.PathLike,
        data_dir: str | None,
        reporter: Reporter,
        checkpoint_every: Interval = TEN_MINUTES,
        stop: StopSignals | None = None,
        hardware: Hardware = ONE_DEVICE,
    ):
        self.task = task
        self.store = StageStore(output_dir)
        self.reporter = reporter
        self.checkpoint_every = checkpoint_every
        self.stop = stop or StopSignals()
        self.hardware = hardware
        self._data_dir = data_dir

    @functools.cached_property
    def data(self):
        """The images, loaded when first needed."""
        from official import data

        return data.load(
            self.task.dataset,
            data_dir=self._data_dir,
            train_examples=self.task.train_examples,
            validation_fraction=self.task.validation_fraction,
        )

    def obtain(self, stage: Stage) -> None:
        """Makes sure that a stage and all it builds on are done.

        Of several workers only the chief writes; all of them train.

        Raises:
            StageFailed: one of them failed, now or before.
            InUse: another program computes one of them.
            Stopped: the program was asked to end.
        """
        workers = self.hardware.workers
        for needed in stage.lineage():
            # The others look for no file of the chief's before it is sure to be there.
            done = workers.is_chief and self.store.is_done(needed)
            if workers.from_chief(done):
                if done:
                    # Whoever finished it may have been killed before this.
                    self._remove_checkpoints(needed)
            else:
                self._make(needed)
            failure = workers.is_chief and self.store.failure(needed)
            if workers.from_chief(bool(failure)):
                raise StageFailed(needed, failure or "failed")

    def _make(self, stage: Stage) -> None:
        workers = self.hardware.workers
        if workers.any([self.stop.received])[0]:
            self.stop.end()
        if workers.is_chief:
            with self.store.lock(stage):
                # Another program may have finished it before the lock was free.
                if not self.store.is_done(stage):
                    self._compute(stage)
        elif stage.by_all_workers:
            self._compute_along(stage)

    def _compute_along(self, stage: Stage) -> None:
        """Does a worker's part of a training whose state and results the chief keeps."""
        with tempfile.TemporaryDirectory() as folder:
            for path in self.store.folder(stage).glob("checkpoint*"):
                shutil.copy(path, folder)
            with contextlib.suppress(StageFailed):  # The chief records it.
                stage.compute(self, Path(folder))
        self._forget_models()

    def _compute(self, stage: Stage) -> None:
        folder = self.store.folder(stage)
        remove_temporaries(folder)
        try:
            record = stage.compute(self, folder)
        except StageFailed as failure:
            # As long as this is kept it is not tried again: it would end alike.
            record = {"failed": str(failure)}
        self.store.finish(stage, record)
        self._remove_checkpoints(stage)
        self._forget_models()

    def ticket(self, stage: Stage):
        """The ticket that a finished stage left."""
        from dlth_tf.tickets.ticket import Ticket

        return Ticket.load(self.store.folder(stage) / TicketStage.FILE)

    def build_network(self, seed: int):
        """The network with the initial weights of a seed."""
        import keras

        from official.modeling.networks import build_network

        keras.utils.set_random_seed(seed)
        return build_network(
            self.task.network,
            input_shape=self.data.input_shape,
            classes=self.classes,
        )

    @property
    def classes(self) -> int:
        """How many classes the images have."""
        return len(self.data.class_names)

    def network_with(self, stage: WeightsStage):
        """The network with the weights of a finished stage."""
        from dlth_tf.network.variables import set_weights

        model = stage.network(self)
        set_weights(model, self.store.load_weights(stage))
        return model

    def weights_of(self, model) -> dict:
        """A network's weights by stable name, as stages store them."""
        from dlth_tf.network.variables import get_weights

        return get_weights(model)

    def sparsity(self, model, sparsity: float, placement: Placement) -> "Sparsity":
        """Where a sparsity goes in a network.

        Raises:
            ValueError: the placement does not fit the network.
        """
        from dlth_tf.network.kernels import maskable_kernels

        return placement.sparsity(list(maskable_kernels(model)), sparsity)

    def sparsity_by_kernel(
        self, model, sparsity: float, placement: Placement
    ) -> dict[str, float]:
        """The sparsity of each kernel.

        Raises:
            ValueError: the placement does not fit the network, or lets layers compete.
        """
        from dlth_tf.network.kernels import kernel_shapes
        from dlth_tf.tickets.sparsity import name_patterns, sparsity_per_kernel

        shared_out = self.sparsity(model, sparsity, placement)
        found = sparsity_per_kernel(
            kernel_shapes(model, name_patterns(shared_out)), shared_out
        )
        return {name: float(value) for name, value in found.items()}

    def random_ticket(
        self, seed: int, sparsity: float, placement: Placement, within=None
    ):
        """A random ticket of the network, perhaps from what another one keeps.

        Raises:
            ValueError: the placement does not fit the network.
        """
        from dlth_tf.tickets.selection import random_ticket

        model = self.blueprint
        shared_out = self.sparsity(model, sparsity, placement)
        return random_ticket(model, shared_out, seed, within, placement.unit)

    def prunes_by_tfmot(self, placement: Placement) -> bool:
        """Whether TFMOT finds the largest magnitudes: single weights, on TensorFlow."""
        import keras

        single = placement.unit == "weight" and placement.distribution != "global"
        return single and keras.backend.backend() == "tensorflow"

    def magnitude_ticket(self, model, sparsity: float, placement: Placement):
        """The largest magnitudes of a network, found by TFMOT where it can.

        The plain version gives the same masks.
        """
        from dlth_tf import tfmot
        from dlth_tf.tickets import selection

        shared_out = self.sparsity(model, sparsity, placement)
        if self.prunes_by_tfmot(placement):
            return tfmot.magnitude_ticket(model, shared_out)
        return selection.magnitude_ticket(model, shared_out, placement.unit)

    @functools.cached_property
    def blueprint(self):
        """The network, whatever its weights."""
        return self.build_network(seed=0)

    @functools.cached_property
    def dense_cost(self) -> "ModelCost":
        """What one image costs in the whole network."""
        from dlth_tf.cost import layer_costs

        return layer_costs(self.blueprint)

    def _forget_models(self) -> None:
        import keras

        keras.backend.clear_session()

    def _remove_checkpoints(self, stage: Stage) -> None:
        from dlth_tf.experiment.checkpoint import Checkpoints

        Checkpoints(self.store.folder(stage)).remove()


class PlanBench(Workbench):
    """A workbench to plan with, which knows the data's size: it need not be there."""

    @functools.cached_property
    def data(self):
        """The description of the images."""
        from official import data

        return data.describe(
            self.task.dataset,
            data_dir=self._data_dir,
            train_examples=self.task.train_examples,
            validation_fraction=self.task.validation_fraction,
        )

    @property
    def classes(self):
        return self.data.classes
