"""One training that can be killed at any moment and gone on with."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from dlth_tf.callbacks.weight_decay import CoupledL2
from dlth_tf.experiment.engine import trainings
from dlth_tf.experiment.engine.checkpoint import Checkpoint, Checkpoints
from dlth_tf.experiment.engine.context import Context, are_finite
from dlth_tf.experiment.engine.fit_callbacks import (
    EpochBar,
    EpochMadeWhole,
    SaveCheckpoint,
    StopAfter,
    StopOnNaN,
    Validation,
    tensorboard,
)
from dlth_tf.experiment.engine.folder import save_weights
from dlth_tf.experiment.hardware import Hardware
from dlth_tf.experiment.plan.stages import StageFailed
from dlth_tf.experiment.plan.trainings import FitStage
from dlth_tf.network.variables import get_weights
from official.data.feed import feed, reading_errors
from official.distribution.cluster import Workers
from official.distribution.replicas import LossScaling, synchronize_batch_norm
from official.private_keras import multi_worker_fit


def fit(stage: FitStage, context: Context, folder: Path) -> dict[str, Any]:
    """Trains a stage from where it stopped; returns what to record.

    Args:
        stage: what is trained, and how.
        context: what it is trained with.
        folder: where its state is kept, and at the end its weights.

    Raises:
        StageFailed: it diverged, be it in the very last step.
        Stopped: the program was asked to end; the state is kept.
        UnreadableData: an image can't be read; the last checkpoint is kept.
    """
    data = context.data
    per_epoch, steps = stage.steps_per_epoch(data), stage.steps(data)
    model = _compiled(stage, context)
    checkpoints = Checkpoints(folder)
    saved = checkpoints.newest(context.reporter.line)
    saved.restore_model(model)
    progress = saved.progress
    _check_agreement(progress.in_steps(per_epoch), context.hardware.workers)
    own_callbacks = trainings.callbacks(stage, context)
    if not progress.finished:
        context.reporter.stage(stage.title, progress, stage.epochs(data))
    try:
        _fit(stage, context, model, saved, checkpoints, own_callbacks)
    except EpochMadeWhole:
        return fit(stage, context, folder)
    weights, epochs = get_weights(model), len(progress.history)
    seen = min(epochs * per_epoch, steps)
    if not are_finite(weights):
        raise StageFailed(stage, f"diverged at step {seen}")
    save_weights(folder, weights)
    return {
        "steps": _steps_done(model) - stage.first_step(data),
        "images": seen * stage.recipe.batch_size,
        "seconds": round(progress.seconds, 3),
        "checkpoints": progress.checkpoints,
        "history": progress.history,
        **trainings.conclude(stage, context, folder, own_callbacks, epochs),
    }


def _fit(
    stage: FitStage,
    context: Context,
    model: keras.Model,
    saved: Checkpoint,
    checkpoints: Checkpoints,
    own_callbacks: list[keras.callbacks.Callback],
) -> None:
    """Trains to the end, or to the end of an epoch that was begun before.

    Keras's `fit` can't begin within an epoch: what is left of it is a `fit` of its own. A
    training that is finished is a `fit` of no epochs, for what its callbacks have to
    tell.
    """
    data, progress = context.data, saved.progress
    per_epoch = stage.steps_per_epoch(data)
    last = progress.epoch + 1 if progress.step else stage.epochs(data)
    done = progress.in_steps(per_epoch)
    batches = feed(
        data,
        stage.recipe.batch_size,
        seed=stage.seed,
        first_step=stage.first_step(data) + done,
        strategy=context.hardware.strategy,
    )
    callbacks = [
        CoupledL2(stage.recipe.l2),
        *own_callbacks,
        StopAfter(stage.steps(data) - done),
        StopOnNaN(stage, done),
        Validation(stage, context),
        *tensorboard(checkpoints.folder),
        SaveCheckpoint(stage, context, checkpoints, saved),
        EpochBar(stage, context, begun=progress.step),
    ]
    with context.stop.wait(), reading_errors(), _fitting(context.hardware):
        model.fit(
            batches,
            initial_epoch=progress.epoch,
            epochs=progress.epoch if progress.finished else last,
            steps_per_epoch=per_epoch - progress.step,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )


def _compiled(stage: FitStage, context: Context) -> keras.Model:
    """The network to train, with the weights it begins with."""
    task, hardware = context.task, context.hardware
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with hardware.scope(), _computing_in(task.mixed_precision):
        model = context.shrunk(context.network_with(stage.weights), stage)
        if task.sync_batch_norm:
            synchronize_batch_norm(model)
        optimizer = trainings.optimizer(stage, context)
        if task.mixed_precision == "float16":
            optimizer = LossScaling(optimizer)
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            # Keras would choose XLA, which makes convolutions slow on a CPU: 480 ms for
            # a step of ResNet-20 instead of 220.
            jit_compile=hardware.jit_compile if on_tensorflow else True,
        )
        model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(stage.first_step(context.data))
    return model


def _check_agreement(done: int, workers: Workers) -> None:
    if workers.sum(done) != workers.count * done:
        raise OSError(
            "The workers would go on after different numbers of steps, this one "
            f"after {done}. They need the same --output_dir, in a shared folder."
        )


def _fitting(hardware: Hardware) -> contextlib.AbstractContextManager:
    """What `fit` needs around it."""
    if hardware.workers.count > 1:
        return multi_worker_fit()
    # On JAX Keras asks in every step how data lie on the devices.
    on_jax = keras.backend.backend() == "jax"
    return hardware.scope() if on_jax else contextlib.nullcontext()


def _steps_done(model: keras.Model) -> int:
    """Optimizer steps done, also where the counter is one variable per replica."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


@contextlib.contextmanager
def _computing_in(precision: str | None) -> Iterator[None]:
    """Layers made meanwhile compute in this type; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{precision}" if precision else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
