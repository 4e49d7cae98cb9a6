"""A run that is finished, found again in its folder, and exported."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from dlth_tf.experiment.engine.folder import (
    EXPERIMENT,
    RESULT,
    TICKET,
    ExperimentFolder,
    read_json,
    read_weights,
)
from dlth_tf.experiment.plan.protocol import Task
from dlth_tf.experiment.results.row import FailedRow, FinishedRow, read_row
from dlth_tf.exporting import export
from dlth_tf.network.variables import set_weights
from dlth_tf.shrinking import shrink
from dlth_tf.tickets.ticket import Ticket
from official.data import ImageData
from official.modeling import networks
from official.modeling.plain import plain


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run of an experiment.

    Attributes:
        folder: the run's folder.
        task: the network and the data set.
        row: what was recorded of it.
    """

    folder: Path
    task: Task
    row: FinishedRow

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Reads a run from its folder, such as `runs/quickstart/runs/rst-0.98-seed0`.

        Raises:
            FileNotFoundError: there is no finished run; the message names those near.
            ValueError: the run failed.
            OSError: its files are damaged.
        """
        folder = Path(os.path.abspath(folder))
        if not (folder / RESULT).exists():
            near = sorted(path.parent.name for path in folder.parent.glob(f"*/{RESULT}"))
            raise FileNotFoundError(
                f"'{folder}' holds no finished run. Finished runs in "
                f"'{folder.parent}': {', '.join(near) or 'none'}"
            )
        experiment = folder.parent.parent / EXPERIMENT
        try:
            row = read_row(read_json(folder / RESULT))
            task = Task(**read_json(experiment)["task"])
        except (KeyError, TypeError) as error:
            raise OSError(f"The files of run '{folder}' are damaged: {error}") from error
        if isinstance(row, FailedRow):
            raise ValueError(f"Run '{folder}' has no network: {row.failed}.")
        return cls(folder, task, row)

    def network(self, data: ImageData) -> keras.Model:
        """The trained network, in Keras's own layers alone.

        Args:
            data: the run's data set, for the number of classes and the images' size.
        """
        experiment = ExperimentFolder(self.folder.parent.parent)
        network = networks.build_network(
            self.task.network, input_shape=data.input_shape, classes=data.classes
        )
        if self.row.shrunk_by:
            shrunk_by = experiment.stage_named(self.row.shrunk_by)
            network = shrink(network, Ticket.load(shrunk_by / TICKET))
        last = experiment.stage_named(self.row.stages[-1])
        set_weights(network, read_weights(last))
        return plain(network)


def export_run(
    run: FinishedRun,
    folder: str | os.PathLike,
    data: ImageData,
    formats: Sequence[str] = ("saved_model",),
    normalization_inside: bool = True,
) -> dict[str, Any]:
    """Exports a run's network with what is known of it; returns that metadata.

    The accuracy is the one measured when the run ended: the test images are not touched
    again.

    Raises:
        ValueError, ExportFailed: see `dlth_tf.exporting.export`.
    """
    row = run.row
    metadata = {
        "network": run.task.network,
        "dataset": run.task.dataset,
        "classes": list(data.class_names),
        "method": row.method,
        "sparsity": row.sparsity,
        "seed": row.seed,
        "weights_left": row.weights_left,
        "flags": row.flags,
        "versions": row.versions,
        "run": row.run,
        "accuracy": {
            "top1": row.test_accuracy,
            "top5": row.test_top5,
            "loss": row.test_loss,
            "images": row.test_images,
            "split": "test",
        },
    }
    normalization = data.normalization if normalization_inside else None
    return export(run.network(data), folder, normalization, formats, metadata)
