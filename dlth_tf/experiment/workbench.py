"""What stages are computed with: the data, the network, and what is done already."""

import functools
import os
from pathlib import Path

from dlth_tf.experiment.progress import Reporter
from dlth_tf.experiment.stages import Placement, Stage, Task, TicketStage, WeightsStage
from dlth_tf.experiment.store import StageStore


class Workbench:
    """Computes the stages of one experiment, each once.

    Args:
        task: the network and the data.
        output_dir: the experiment's folder.
        data_dir: where the data set lies, if it is not the data set's usual place.
        reporter: shows progress.
    """

    def __init__(
        self,
        task: Task,
        output_dir: str | os.PathLike,
        data_dir: str | None,
        reporter: Reporter,
    ):
        self.task = task
        self.store = StageStore(output_dir)
        self.reporter = reporter
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
        """Makes sure that a stage and all it builds on are done."""
        for needed in stage.lineage():
            if self.store.is_done(needed):
                continue
            folder = self.store.folder(needed)
            folder.mkdir(parents=True, exist_ok=True)
            record = needed.compute(self, folder)
            self.store.finish(needed, record)
            self._forget_models()
            self._clean_up(folder)

    def ticket(self, stage: TicketStage):
        """The ticket of a finished stage."""
        from dlth_tf.ticket import Ticket

        return Ticket.load(self.store.folder(stage) / stage.FILE)

    def build_network(self, seed: int):
        """The network with the initial weights of a seed."""
        import keras

        from official.modeling.networks import build_network

        keras.utils.set_random_seed(seed)
        return build_network(
            self.task.network,
            input_shape=self.data.input_shape,
            classes=len(self.data.class_names),
        )

    def network_with(self, stage: WeightsStage):
        """The network with the weights of a finished stage."""
        from dlth_tf.variables import set_weights

        model = self.build_network(seed=0)
        set_weights(model, self.store.load_weights(stage))
        return model

    def weights_of(self, model) -> dict:
        """A network's weights by stable name, as stages store them."""
        from dlth_tf.variables import get_weights

        return get_weights(model)

    def sparsity_by_kernel(self, model, sparsity: float, placement: Placement) -> dict:
        """Where the sparsity goes: to the layers named, or to all but first and last.

        Raises:
            ValueError: a name pattern matches no layer.
        """
        from dlth_tf.kernels import maskable_kernels
        from dlth_tf.sparsity import sparsity_per_kernel

        names = list(maskable_kernels(model))
        patterns = placement.layers or tuple(names[1:-1])
        return sparsity_per_kernel(names, dict.fromkeys(patterns, sparsity))

    def magnitude_ticket(self, model, sparsity: dict):
        """The largest magnitudes of each kernel, found by TFMOT where there is one.

        The plain version, for other backends, gives the same masks.
        """
        import keras

        if keras.backend.backend() == "tensorflow":
            from dlth_tf.tfmot import magnitude_ticket
        else:
            from dlth_tf.ticket import magnitude_ticket
        return magnitude_ticket(model, sparsity)

    def _forget_models(self) -> None:
        import keras

        keras.backend.clear_session()

    def _clean_up(self, folder: Path) -> None:
        from dlth_tf.experiment import checkpoint

        checkpoint.remove(folder)
