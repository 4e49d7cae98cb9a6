"""One training that can be killed at any moment and gone on with."""

import contextlib
import dataclasses
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
    tensorboard,
    validation,
)
from dlth_tf.experiment.engine.folder import save_weights
from dlth_tf.experiment.hardware import Hardware
from dlth_tf.experiment.plan.stages import StageFailed
from dlth_tf.experiment.plan.trainings import FitStage
from dlth_tf.network.variables import get_weights
from official.data.feed import reading_errors
from official.distribution.batches import distributed_feed
from official.distribution.loss_scaling import LossScaling
from official.distribution.multi_worker_fit import multi_worker_fit
from official.distribution.statistics import synchronize_batch_norm


@dataclasses.dataclass(frozen=True)
class ResumableFit:
    """The training of a stage, whose state is kept at intervals.

    Attributes:
        stage: what is trained, and how; the last epoch may be a part of one.
        context: what it is trained with.
        folder: where its state is kept, and at the end its weights.
    """

    stage: FitStage
    context: Context
    folder: Path

    def run(self) -> dict[str, Any]:
        """Trains from where it stopped; returns what to record.

        Raises:
            StageFailed: it diverged, be it in the very last step.
            Stopped: the program was asked to end; the state is kept.
            UnreadableData: an image can't be read; the last checkpoint is kept.
        """
        stage, context = self.stage, self.context
        model = self._compiled()
        checkpoints = Checkpoints(self.folder)
        saved = checkpoints.newest(context.reporter.line)
        saved.restore_model(model)
        progress = saved.progress
        self._check_agreement(progress.in_steps(self._per_epoch))
        own_callbacks = trainings.callbacks(stage, context)
        if not progress.finished:
            context.reporter.stage(stage.title, progress, self._epochs)
        try:
            self._fit(model, checkpoints, saved, own_callbacks)
        except EpochMadeWhole:
            return self.run()
        weights = get_weights(model)
        seen = min(len(progress.history) * self._per_epoch, stage.steps(context.data))
        if not are_finite(weights):
            raise StageFailed(stage, f"diverged at step {seen}")
        save_weights(self.folder, weights)
        record = {
            "steps": _steps_done(model) - stage.first_step(context.data),
            "images": seen * stage.recipe.batch_size,
            "seconds": round(progress.seconds, 3),
            "checkpoints": progress.checkpoints,
            "history": progress.history,
        }
        epochs = len(progress.history)
        found = trainings.conclude(stage, context, self.folder, own_callbacks, epochs)
        return record | found

    @property
    def _per_epoch(self) -> int:
        return self.stage.steps_per_epoch(self.context.data)

    @property
    def _epochs(self) -> int:
        return self.stage.epochs(self.context.data)

    def _fit(
        self,
        model: keras.Model,
        checkpoints: Checkpoints,
        saved: Checkpoint,
        own_callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Trains to the end, or to the end of an epoch that was begun before.

        Keras's `fit` can't begin within an epoch: what is left of it is a `fit` of its
        own. A training that is finished is a `fit` of no epochs, for what its callbacks
        have to tell.
        """
        context, progress = self.context, saved.progress
        last = progress.epoch + 1 if progress.step else self._epochs
        done = progress.in_steps(self._per_epoch)
        callbacks = [
            CoupledL2(self.stage.recipe.l2),
            *own_callbacks,
            StopAfter(self.stage.steps(context.data) - done),
            StopOnNaN(self.stage, done),
            *validation(context, self.stage),
            *tensorboard(self.folder),
            SaveCheckpoint(
                checkpoints,
                saved,
                per_epoch=self._per_epoch,
                epochs=self._epochs,
                interval=context.checkpoint_every,
                stop=context.stop,
                workers=context.hardware.workers,
            ),
            EpochBar(context.reporter, done, self._per_epoch, self._epochs),
        ]
        with context.stop.wait(), reading_errors(), _fitting(context.hardware):
            model.fit(
                self._batches(done),
                initial_epoch=progress.epoch,
                epochs=progress.epoch if progress.finished else last,
                steps_per_epoch=self._per_epoch - progress.step,
                shuffle=False,
                verbose=0,
                callbacks=callbacks,
            )

    def _compiled(self) -> keras.Model:
        task, hardware = self.context.task, self.context.hardware
        on_tensorflow = keras.backend.backend() == "tensorflow"
        with hardware.scope(), _computing_in(task.mixed_precision):
            beginning = self.context.network_with(self.stage.weights)
            model = self.context.shrunk(beginning, self.stage)
            if task.sync_batch_norm:
                synchronize_batch_norm(model)
            optimizer = trainings.optimizer(self.stage, self.context)
            if task.mixed_precision == "float16":
                optimizer = LossScaling(optimizer)
            model.compile(
                optimizer=optimizer,
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                # Keras would choose XLA, which makes convolutions slow on a CPU: 480 ms
                # for a step of ResNet-20 instead of 220.
                jit_compile=hardware.jit_compile if on_tensorflow else True,
            )
            model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(self.stage.first_step(self.context.data))
        return model

    def _check_agreement(self, done: int) -> None:
        workers = self.context.hardware.workers
        if workers.sum(done) != workers.count * done:
            raise OSError(
                "The workers would go on after different numbers of steps, this one "
                f"after {done}. They need the same --output_dir, in a shared folder."
            )

    def _batches(self, done: int) -> Any:
        return distributed_feed(
            self.context.data,
            self.stage.recipe.batch_size,
            seed=self.stage.seed,
            first_step=self.stage.first_step(self.context.data) + done,
            strategy=self.context.hardware.strategy,
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
