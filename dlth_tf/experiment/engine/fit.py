"""One training that can be killed at any moment and gone on with."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

import dlth_tf as dlth
from dlth_tf.experiment.engine import fit_callbacks
from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.engine.folder import TICKET, save_weights
from dlth_tf.experiment.engine.progress import Progress
from dlth_tf.experiment.hardware import Hardware
from dlth_tf.experiment.plan import stages
from dlth_tf.experiment.plan.protocol import TransformationRecipe
from dlth_tf.experiment.plan.stages import FitStage, StageFailed
from dlth_tf.network.variables import get_weights
from dlth_tf.tfmot.engine import gradual_schedule
from official.data.feed import feed, reading_errors
from official.distribution.replicas import LossScaling, synchronize_batch_norm
from official.private_keras import multi_worker_fit
from official.training.losses import cross_entropy
from official.training.optimizers import optimizer

Callbacks = list[keras.callbacks.Callback]


def fit(stage: FitStage, context: Context, folder: Path) -> dict[str, Any]:
    """Trains a stage from where it stopped; returns what to record.

    Its state is kept in the folder, also if it is `Stopped` or finds `UnreadableData`; at
    the end its weights. If it diverged, be it in the very last step, it is `StageFailed`.
    """
    data = context.data
    per_epoch, steps = stage.steps_per_epoch(data), stage.steps(data)
    model = _compiled(stage, context)
    saved = Checkpoints(folder).read(context.reporter.line)
    saved.restore_model(model)
    progress = saved.progress
    done = progress.in_steps(per_epoch)
    workers = context.hardware.workers
    if workers.sum(done) != workers.count * done:
        raise OSError(
            "The workers would go on after different numbers of steps, this one "
            f"after {done}. They need the same --output_dir, in a shared folder."
        )
    own_callbacks = _own_callbacks(stage, context)
    held_out = data.split_size("validation")
    if not progress.finished:
        context.reporter.stage(stage.title, progress, stage.epochs(data))
    callbacks = [
        dlth.CoupledL2(stage.recipe.l2),
        *own_callbacks,
        fit_callbacks.StopAfter(stage, steps, done),
        *([fit_callbacks.Validation(stage, context)] if held_out else []),
        *fit_callbacks.tensorboard(folder),
        *fit_callbacks.observers(stage, context),
        fit_callbacks.SaveCheckpoint(stage, context, saved),
        fit_callbacks.EpochBar(stage, context, progress),
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
        "steps": counted,
        "images": seen * stage.recipe.batch_size,
        "seconds": round(progress.seconds, 3),
        "checkpoints": progress.checkpoints,
        "history": progress.history,
    }
    if isinstance(stage, stages.EarlyBirdTraining):
        context.reporter.line(f"    ticket settled after {epochs} epochs")
        record["settled_after_epochs"] = epochs
    if isinstance(stage, stages.Transformation):
        (transformation,) = own_callbacks
        record["penalty_form"] = transformation.form
    if stage.masked_by is stage:
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
    batches = feed(
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
            return [dlth.FixedTicket(ticket)] if ticket else []
        case stages.EarlyBirdTraining():
            kernels = dlth.maskable_kernels(context.network_with(stage.weights))
            placement = stage.placement
            sparsity = placement.sparsity(kernels, stage.sparsity)
            return [dlth.EarlyBird(sparsity, **placement.removal)]
        case stages.Transformation():
            ticket, growth = context.ticket(stage.ticket), stage.recipe.growth
            return [dlth.RandomSparseTransformation(ticket, **dataclasses.asdict(growth))]
        case stages.SetTraining():
            often = per_epoch, stage.drop_fraction, steps, stage.seed
            return [dlth.SparseEvolutionaryTraining(context.ticket(stage.ticket), *often)]
        case stages.RigLTraining():
            start, changes = context.ticket(stage.ticket), stage.changes
            last, fraction = changes.last_step(steps), changes.drop_fraction
            return [dlth.RigL(start, last, changes.every, fraction)]
        case stages.GradualPruning():
            every = stage.changes.every
            # TFMOT reaches the final sparsity only if a change falls on the last step.
            end = stage.changes.last_step(steps) // every * every
            schedules = {
                name: gradual_schedule(sparsity, end, every)
                for name, sparsity in context.sparsity_by_kernel(stage).items()
                if sparsity
            }
            return [dlth.MagnitudePruning(schedules)]
        case stages.OwnTraining():
            ticket = context.ticket(stage.ticket) if stage.ticket else None
            return [stage.make.call(ticket, steps)]
    raise NotImplementedError(type(stage).__name__)


def _compiled(stage: FitStage, context: Context) -> keras.Model:
    """The network to train, with the weights it begins with."""
    task, hardware = context.task, context.hardware
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with hardware.scope(), contextlib.ExitStack() as stack:
        if task.mixed_precision:
            # Layers made meanwhile compute in this type; their weights are float32.
            stack.callback(keras.config.set_dtype_policy, keras.config.dtype_policy())
            keras.config.set_dtype_policy(f"mixed_{task.mixed_precision}")
        model = context.shrunk(context.network_with(stage.weights), stage)
        if task.sync_batch_norm:
            synchronize_batch_norm(model)
        own = _optimizer(stage, context)
        model.compile(
            optimizer=LossScaling(own) if task.mixed_precision == "float16" else own,
            loss=cross_entropy(stage.recipe.descent.label_smoothing),
            metrics=["accuracy"],
            # Keras would choose XLA, which makes convolutions slow on a CPU: 480 ms for
            # a step of ResNet-20 instead of 220.
            jit_compile=hardware.jit_compile if on_tensorflow else True,
        )
        model.optimizer.build(model.trainable_variables)
    return model


def _optimizer(stage: FitStage, context: Context) -> keras.optimizers.Optimizer:
    recipe = stage.recipe
    if isinstance(recipe, TransformationRecipe):
        return optimizer(recipe.descent, recipe.learning_rate, recipe.momentum)
    per_epoch = stage.steps_per_epoch(context.data)
    if isinstance(stage, stages.Training):
        recipe = stage.stretched_recipe(per_epoch)
    return recipe.optimizer(per_epoch, stage.first_step(context.data))


def _fitting(hardware: Hardware) -> contextlib.AbstractContextManager:
    """What `fit` needs around it."""
    if hardware.workers.count > 1:
        return multi_worker_fit()
    # On JAX Keras asks in every step how data lie on the devices.
    on_jax = keras.backend.backend() == "jax"
    return hardware.scope() if on_jax else contextlib.nullcontext()
