"""Computing the stages of an experiment, each once, by one program at a time."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import keras

from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.computing import compute
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.plan.stages import Stage, StageFailed
from dlth_tf.storage.files import remove_temporaries


def obtain(stage: Stage, context: Context) -> None:
    """Makes sure that a stage and all it builds on are done.

    Of several workers only the chief writes; all of them train.

    Raises:
        StageFailed: one of them failed, now or before.
        InUse: another program computes one of them.
        Stopped: the program was asked to end.
    """
    workers, folder = context.hardware.workers, context.folder
    for needed in stage.lineage():
        # The others look for no file of the chief's before it is sure to be there.
        done = workers.is_chief and folder.is_done(needed)
        if workers.from_chief(done):
            if done:
                # Whoever finished it may have been killed before this.
                Checkpoints(folder.stage(needed)).remove()
        else:
            _make(needed, context)
        failure = folder.failure(needed) if workers.is_chief else None
        if workers.from_chief(bool(failure)):
            raise StageFailed(needed, failure or "failed")


def _make(stage: Stage, context: Context) -> None:
    workers = context.hardware.workers
    if workers.any([context.stop.received])[0]:
        context.stop.end()
    if workers.is_chief:
        with context.folder.lock(stage):
            # Another program may have finished it before the lock was free.
            if not context.folder.is_done(stage):
                _compute(stage, context)
    elif stage.by_all_workers:
        _compute_along(stage, context)


def _compute(stage: Stage, context: Context) -> None:
    folder = context.folder.stage(stage)
    remove_temporaries(folder)
    try:
        record = compute(stage, context, folder)
    except StageFailed as failure:
        # As long as this is kept it is not tried again: it would end alike.
        record = {"failed": str(failure)}
    context.folder.finish(stage, record)
    Checkpoints(folder).remove()
    keras.backend.clear_session()


def _compute_along(stage: Stage, context: Context) -> None:
    """Does a worker's part of a training whose state and results the chief keeps."""
    with tempfile.TemporaryDirectory() as folder:
        for path in context.folder.stage(stage).glob("checkpoint*"):
            shutil.copy(path, folder)
        with contextlib.suppress(StageFailed):  # The chief records it.
            compute(stage, context, Path(folder))
    keras.backend.clear_session()
