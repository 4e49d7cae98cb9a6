"""One training that can be killed at any moment and gone on with."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlth_tf.callbacks.dynamic import RigL, SparseEvolutionaryTraining
from dlth_tf.callbacks.early_bird import EarlyBird
from dlth_tf.callbacks.fixed_ticket import FixedTicket
from dlth_tf.callbacks.transformation import RandomSparseTransformation
from dlth_tf.callbacks.weight_decay import CoupledL2
from dlth_tf.experiment.engine import fit_callbacks
from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.engine.folder import TICKET, save_weights
from dlth_tf.experiment.engine.progress import Progress
from dlth_tf.experiment.hardware import Hardware
from dlth_tf.experiment.plan import stages
from dlth_tf.experiment.plan.protocol import TransformationRecipe
from dlth_tf.experiment.plan.stages import FitStage, StageFailed
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import get_weights
from dlth_tf.tfmot import MagnitudePruning
from dlth_tf.tfmot.engine import gradual_schedule
from official.data.feed import reading_errors
from official.distribution.batches import distributed_feed
from official.distribution.loss_scaling import LossScaling
from official.distribution.multi_worker_fit import multi_worker_fit
from official.distribution.statistics import synchronize_batch_norm
from official.distribution.workers import Workers
from official.training.optimizers import SGD

Callbacks = list[keras.callbacks.Callback]


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
    done = progress.in_steps(per_epoch)
    _check_agreement(done, context.hardware.workers)
    own_callbacks = _own_callbacks(stage, context)
    if not progress.finished:
        context.reporter.stage(stage.title, progress, stage.epochs(data))
    callbacks = [
        CoupledL2(stage.recipe.l2),
        *own_callbacks,
        fit_callbacks.StopAfter(steps - done),
        fit_callbacks.StopOnNaN(stage, done),
        fit_callbacks.Validation(stage, context),
        *fit_callbacks.tensorboard(folder),
        fit_callbacks.SaveCheckpoint(stage, context, checkpoints, saved),
        fit_callbacks.EpochBar(stage, context, progress.step),
    ]
    try:
        _fit(stage, context, model, progress, callbacks)
    except fit_callbacks.EpochMadeWhole:
        return fit(stage, context, folder)
    weights, epochs = get_weights(model), len(progress.history)
    seen = min(epochs * per_epoch, steps)
    if not all(np.isfinite(value).all() for value in weights.values()):
        raise StageFailed(stage, f"diverged at step {seen}")
    save_weights(folder, weights)
    # The counter may be one variable per replica.
    counted = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    record = {
        "steps": counted - stage.first_step(data),
        "images": seen * stage.recipe.batch_size,
        "seconds": round(progress.seconds, 3),
        "checkpoints": progress.checkpoints,
        "history": progress.history,
    }
    if isinstance(stage, stages.EarlyBirdTraining):
        context.reporter.line(f"    ticket settled after {epochs} epochs")
        record["settled_after_epochs"] = epochs
    if isinstance(stage, stages.MovingMaskTraining):
        (moving,) = own_callbacks
        moving.ticket.save(folder / TICKET)
    return record


def _fit(
    stage: FitStage,
    context: Context,
    model: keras.Model,
    progress: Progress,
    callbacks: Callbacks,
) -> None:
    """Trains to the end, or to the end of an epoch that was begun before.

    Keras's `fit` can't begin within an epoch: what is left of it is a `fit` of its own. A
    training that is finished is a `fit` of no epochs, for what its callbacks have to
    tell.
    """
    data, begun = context.data, progress.epoch
    per_epoch = stage.steps_per_epoch(data)
    last = begun + 1 if progress.step else stage.epochs(data)
    batches = distributed_feed(
        data,
        stage.recipe.batch_size,
        seed=stage.seed,
        first_step=stage.first_step(data) + progress.in_steps(per_epoch),
        strategy=context.hardware.strategy,
    )
    with context.stop.wait(), reading_errors(), _fitting(context.hardware):
        model.fit(
            batches,
            initial_epoch=begun,
            epochs=begun if progress.finished else last,
            steps_per_epoch=per_epoch - progress.step,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )


def _own_callbacks(stage: FitStage, context: Context) -> Callbacks:
    """What distinguishes a training."""
    per_epoch, steps = stage.steps_per_epoch(context.data), stage.steps(context.data)
    match stage:
        case stages.Training():
            ticket = context.mask_of(stage)
            return [FixedTicket(ticket)] if ticket else []
        case stages.EarlyBirdTraining():
            kernels = maskable_kernels(context.network_with(stage.weights))
            sparsity = stage.placement.sparsity(kernels, stage.sparsity)
            return [EarlyBird(sparsity, unit=stage.placement.unit)]
        case stages.Transformation():
            growth = dataclasses.asdict(stage.recipe.growth)
            return [RandomSparseTransformation(context.ticket(stage.ticket), **growth)]
        case stages.SetTraining():
            often = per_epoch, stage.drop_fraction, steps, stage.seed
            return [SparseEvolutionaryTraining(context.ticket(stage.ticket), *often)]
        case stages.RigLTraining():
            start, changes = context.ticket(stage.ticket), stage.changes
            last, fraction = changes.last_step(steps), changes.drop_fraction
            return [RigL(start, last, changes.every, fraction)]
        case stages.GradualPruning():
            every = stage.changes.every
            # TFMOT reaches the final sparsity only if a change falls on the last step.
            end = stage.changes.last_step(steps) // every * every
            schedules = {
                name: gradual_schedule(sparsity, end, every)
                for name, sparsity in context.sparsity_by_kernel(stage).items()
                if sparsity
            }
            return [MagnitudePruning(schedules)]
    raise NotImplementedError(type(stage).__name__)


def _compiled(stage: FitStage, context: Context) -> keras.Model:
    """The network to train, with the weights it begins with."""
    task, hardware = context.task, context.hardware
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with hardware.scope(), _computing_in(task.mixed_precision):
        model = context.shrunk(context.network_with(stage.weights), stage)
        if task.sync_batch_norm:
            synchronize_batch_norm(model)
        optimizer = _optimizer(stage, context)
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


def _optimizer(stage: FitStage, context: Context) -> keras.optimizers.Optimizer:
    recipe = stage.recipe
    if isinstance(recipe, TransformationRecipe):
        return SGD(recipe.learning_rate, recipe.momentum)
    per_epoch = stage.steps_per_epoch(context.data)
    if isinstance(stage, stages.Training):
        recipe = stage.stretched_recipe(per_epoch)
    return recipe.optimizer(per_epoch)


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


@contextlib.contextmanager
def _computing_in(precision: str | None) -> Iterator[None]:
    """Layers made meanwhile compute in this type; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{precision}" if precision else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
