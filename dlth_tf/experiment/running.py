"""Doing the runs of an experiment, once flags are known to make sense."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlth_tf.experiment.command_line import FAILURE, say, with_advice
from dlth_tf.experiment.engine import folder as files
from dlth_tf.experiment.engine.computing import check, obtain
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.engine.lock import InUse
from dlth_tf.experiment.plan.runs import Run, batch_sizes, stages_of
from dlth_tf.experiment.plan.stages import StageFailed
from dlth_tf.experiment.results.audit import failed_row, finished_row
from dlth_tf.experiment.results.results import FinishedRun, Results
from dlth_tf.experiment.results.row import Row
from dlth_tf.exporting import export
from dlth_tf.litert.running import LiteRTFile
from dlth_tf.network.variables import set_weights
from dlth_tf.rebuilding import shrink
from dlth_tf.tickets.ticket import Ticket
from official.data import ImageData
from official.distribution.bfloat16 import device_with_bfloat16
from official.modeling import networks
from official.modeling.layers import plain

_REPRESENTATIVE = 200
_LOOK_AGAIN_SECONDS = 1.0
_LONG_STEP = 10**9
"""Multiply-adds of a step that bfloat16 may shorten; a shorter one is overhead."""
_BFLOAT16 = (
    "This {} computes in bfloat16: --mixed_precision=bfloat16, in another --output_dir, "
    "may be faster (convolutions are, depthwise ones are not)."
)


def check_runs(runs: Sequence[Run], context: Context) -> None:
    """Raises a ValueError for settings that don't go with this network, data, backend."""
    networks.check_exists(context.task.network)
    train_size = context.sizes.train_size
    for flag, size in batch_sizes(runs).items():
        if not 1 <= size <= train_size:
            raise ValueError(
                f"--{flag} must be from 1 to the {train_size} training images of "
                f"{context.task.dataset!r}. Received: {size}"
            )
    for stage in stages_of(runs):
        check(stage, context)


def tell_of_bfloat16(runs: Sequence[Run], context: Context) -> None:
    """Says in a line if trainings in float32 would profit here from bfloat16."""
    if context.task.mixed_precision:
        return
    step = context.dense_cost.multiply_adds * max(batch_sizes(runs).values())
    device = device_with_bfloat16() if step >= _LONG_STEP else None
    if device:
        context.reporter.line(_BFLOAT16.format(device))


def make_runs(
    runs: Sequence[Run], context: Context, results: Results, flags: Mapping[str, Any]
) -> int:
    """Makes all runs, those last that need a stage another program is at.

    `flags` are recorded with each. Returns the program's exit code.
    """
    reporter = context.reporter
    waiting = list(enumerate(runs, 1))
    told = in_use = ""
    while waiting:
        tried, waiting = waiting, []
        for number, run in tried:
            reporter.run(number, len(runs), run.name)
            try:
                row = _row_of(run, context)
                if context.hardware.workers.is_chief:
                    results.file(run, row, flags)
            except InUse as error:
                waiting.append((number, run))
                in_use = str(error)
            except OSError as error:
                return say(f"{run.name}: {with_advice(error)}", FAILURE)
            else:
                accuracy = f"test accuracy {100 * row.test_accuracy:.2f}%"
                reporter.line(f"    {row.failed or accuracy}")
        if len(waiting) == len(tried):
            if in_use != told:
                reporter.line(f"Waiting: {in_use}")
            told = in_use
            time.sleep(_LOOK_AGAIN_SECONDS)
    return 0


def _row_of(run: Run, context: Context) -> Row:
    try:
        obtain(run.stage, context)
        return finished_row(run, context)
    except StageFailed as failure:
        return failed_row(run, context, failure)


def export_runs(runs: Sequence[Run], context: Context, results: Results) -> int:
    """Exports each run that is not exported yet, less those that failed."""
    for run in runs:
        folder = context.folder.run(run.name)
        exported = folder / files.EXPORT
        if exported.exists() or results.failure(run):
            continue
        try:
            export_run(FinishedRun.read(folder), exported, context.data)
        except (RuntimeError, OSError) as error:
            return say(f"{run.name}: {error}", FAILURE)
        context.reporter.line(f"Exported: {exported}")
    return 0


def export_run(
    run: FinishedRun,
    folder: str | os.PathLike,
    data: ImageData,
    formats: Sequence[str] = ("saved_model",),
    normalization_inside: bool = True,
    litert_storage: str = "float32",
) -> dict[str, Any]:
    """Exports a run's network, in Keras's own layers alone, with what is known of it.

    LiteRT's ranges for int8 come from the first training images. The accuracy is the one
    measured when the run ended: the test images are not touched again. Returns the
    metadata, and raises what `dlth_tf.exporting.export` does.
    """
    row, task = run.row, run.task
    network = trained_network(run, data)
    recorded = ("method", "sparsity", "seed", "weights_left", "flags", "versions", "run")
    metadata = {
        "network": task.network,
        "dataset": task.dataset,
        "classes": list(data.class_names),
        **{name: getattr(row, name) for name in recorded},
        "accuracy": {
            **{"top1": row.test_accuracy, "top5": row.test_top5, "loss": row.test_loss},
            **{"images": row.test_images, "split": "test"},
        },
    }
    normalization = data.normalization if normalization_inside else None
    litert: dict[str, Any] = {"storage": litert_storage}
    if "litert" in formats:
        seen = data.as_they_come() if normalization_inside else data
        number = min(_REPRESENTATIVE, data.train_size)
        litert["images"], _ = next(iter(seen.train_batches(number, seed=0)))
    return export(network, folder, normalization, formats, metadata, litert)


def trained_network(run: FinishedRun, data: ImageData) -> keras.Model:
    """A run's network with its last weights, in Keras's own layers alone."""
    row, task = run.row, run.task
    experiment = files.ExperimentFolder(run.folder.parent.parent)
    network = networks.build_network(
        task.network, input_shape=data.input_shape, classes=data.classes
    )
    if row.shrunk_by:
        shrunk_by = experiment.stage_named(row.shrunk_by)
        network = shrink(network, Ticket.load(files.ticket_path(shrunk_by)))
    set_weights(network, files.read_weights(experiment.stage_named(row.stages[-1])))
    return plain(network)


def litert_accuracy(
    file: str | os.PathLike, data: ImageData, normalization_inside: bool = True
) -> float:
    """The accuracy of an exported LiteRT file on the test images."""
    classifier = LiteRTFile(Path(file).read_bytes(), threads=os.cpu_count() or 1)
    seen = data.as_they_come() if normalization_inside else data
    right = [
        classifier(images)["logits"].argmax(axis=1) == labels
        for images, labels in seen.evaluation_batches("test", 500)
    ]
    return float(np.concatenate(right).mean())
