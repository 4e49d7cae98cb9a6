"""Exporting the network of a run that is finished."""

import os
from collections.abc import Sequence
from typing import Any

import keras

from dlth_tf.experiment.engine.folder import TICKET, ExperimentFolder, read_weights
from dlth_tf.experiment.results.finished_run import FinishedRun
from dlth_tf.exporting import export
from dlth_tf.network.variables import set_weights
from dlth_tf.rebuilding import shrink
from dlth_tf.tickets.ticket import Ticket
from official.data import ImageData
from official.modeling import networks
from official.modeling.layers import plain


def network_of(run: FinishedRun, data: ImageData) -> keras.Model:
    """The trained network of a run, in Keras's own layers alone.

    Args:
        run: where it lies.
        data: the run's data set, for the number of classes and the images' size.
    """
    experiment = ExperimentFolder(run.folder.parent.parent)
    network = networks.build_network(
        run.task.network, input_shape=data.input_shape, classes=data.classes
    )
    if run.row.shrunk_by:
        shrunk_by = experiment.stage_named(run.row.shrunk_by)
        network = shrink(network, Ticket.load(shrunk_by / TICKET))
    set_weights(network, read_weights(experiment.stage_named(run.row.stages[-1])))
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
    return export(network_of(run, data), folder, normalization, formats, metadata)
