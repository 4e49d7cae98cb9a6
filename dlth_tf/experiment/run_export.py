"""Exporting the network of a run."""

import os
from collections.abc import Sequence

from dlth_tf.experiment.finished_run import FinishedRun

FOLDER = "export"
_TOLD = ("method", "sparsity", "seed", "weights_left", "flags", "versions", "run")


def export_run(
    run: FinishedRun,
    folder: str | os.PathLike,
    data,
    formats: Sequence[str] = ("saved_model",),
    normalization_inside: bool = True,
) -> dict:
    """Exports a run's network with what is known of it; returns that metadata.

    The accuracy is the one measured when the run ended: the test images are not touched
    again.

    Raises:
        ValueError, ExportFailed: see `dlth_tf.exporting.export`.
    """
    from dlth_tf.exporting import export

    result = run.result
    metadata = {
        "network": run.task.network,
        "dataset": run.task.dataset,
        "classes": list(data.class_names),
        **{name: result[name] for name in _TOLD if name in result},
        "accuracy": {
            "top1": result["test_accuracy"],
            "top5": result["test_top5"],
            "loss": result["test_loss"],
            "images": result["test_images"],
            "split": "test",
        },
    }
    normalization = data.normalization if normalization_inside else None
    return export(run.network(data), folder, normalization, formats, metadata)
