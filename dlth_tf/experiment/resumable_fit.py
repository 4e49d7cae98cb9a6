"""One training that can be killed at any moment and gone on with."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from dlth_tf.callbacks.weight_decay import CoupledL2
from dlth_tf.experiment.callbacks import (
    EpochBar,
    StopAfter,
    StopOnNaN,
    tensorboard,
    validation,
)
from dlth_tf.experiment.checkpoint import Checkpoint, Checkpoints
from dlth_tf.experiment.save_checkpoint import EpochMadeWhole, SaveCheckpoint
from dlth_tf.experiment.stages import StageFailed
from official.data.feed import feed, reading_errors
from official.distribution.replicas import LossScaling, synchronize_batch_norm

if TYPE_CHECKING:
    from dlth_tf.experiment.training_stages import FitStage
    from dlth_tf.experiment.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class ResumableFit:
    """The training of a stage, whose state is kept at intervals.

    Attributes:
        stage: what is trained, and how; the last epoch may be a part of one.
        bench: what it is trained with.
        folder: where its state is kept, and at the end its weights.
    """

    stage: "FitStage"
    bench: "Workbench"
    folder: Path

    def run(self) -> dict:
        """Trains from where it stopped; returns what to record.

        Raises:
            StageFailed: it diverged, be it in the very last step.
            Stopped: the program was asked to end; the state is kept.
            UnreadableData: an image can't be read; the last checkpoint is kept.
        """
        stage, bench = self.stage, self.bench
        model = self._compiled(self._per_epoch)
        checkpoints = Checkpoints(self.folder)
        saved = checkpoints.newest(bench.reporter.line)
        saved.restore_model(model)
        progress = saved.progress
        self._check_agreement(progress.in_steps(self._per_epoch))
        own_callbacks = stage.callbacks(bench)
        if not progress.finished:
            bench.reporter.stage(stage.title, progress, self._epochs)
        try:
            self._fit(model, checkpoints, saved, own_callbacks)
        except EpochMadeWhole:
            return self.run()
        weights = bench.weights_of(model)
        seen = min(len(progress.history) * self._per_epoch, stage.steps(bench))
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise StageFailed(stage, f"diverged at step {seen}")
        bench.store.save_weights(self.folder, weights)
        record = {
            "steps": _steps_done(model) - stage.first_step(bench),
            "images": seen * stage.recipe.batch_size,
            "seconds": round(progress.seconds, 3),
            "checkpoints": progress.checkpoints,
            "history": progress.history,
        }
        return record | stage.conclude(bench, self.folder, own_callbacks, record)

    @property
    def _per_epoch(self) -> int:
        return self.stage.steps_per_epoch(self.bench)

    @property
    def _epochs(self) -> int:
        return math.ceil(self.stage.steps(self.bench) / self._per_epoch)

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
        bench, progress = self.bench, saved.progress
        last = progress.epoch + 1 if progress.step else self._epochs
        done = progress.in_steps(self._per_epoch)
        callbacks = [
            CoupledL2(self.stage.recipe.l2),
            *own_callbacks,
            StopAfter(self.stage.steps(bench) - done),
            StopOnNaN(self.stage, done),
            *validation(bench, self.stage),
            *tensorboard(self.folder),
            SaveCheckpoint(
                checkpoints,
                saved,
                per_epoch=self._per_epoch,
                epochs=self._epochs,
                interval=bench.checkpoint_every,
                stop=bench.stop,
                workers=bench.hardware.workers,
            ),
            EpochBar(bench.reporter, done, self._per_epoch, self._epochs),
        ]
        with bench.stop.wait(), reading_errors(), bench.hardware.fitting():
            model.fit(
                self._batches(done),
                initial_epoch=progress.epoch,
                epochs=progress.epoch if progress.finished else last,
                steps_per_epoch=self._per_epoch - progress.step,
                shuffle=False,
                verbose=0,
                callbacks=callbacks,
            )

    def _compiled(self, per_epoch: int) -> keras.Model:
        task, hardware = self.bench.task, self.bench.hardware
        on_tensorflow = keras.backend.backend() == "tensorflow"
        with hardware.scope(), _computing_in(task.mixed_precision):
            model = self.stage.starting_network(self.bench)
            if task.sync_batch_norm:
                synchronize_batch_norm(model)
            optimizer = self.stage.optimizer(per_epoch)
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
        model.optimizer.iterations.assign(self.stage.first_step(self.bench))
        return model

    def _check_agreement(self, done: int) -> None:
        workers = self.bench.hardware.workers
        if workers.sum(done) != workers.count * done:
            raise OSError(
                "The workers would go on after different numbers of steps, this one "
                f"after {done}. They need the same --output_dir, in a shared folder."
            )

    def _batches(self, done: int):
        return feed(
            self.bench.data,
            self.stage.recipe.batch_size,
            seed=self.stage.seed,
            first_step=self.stage.first_step(self.bench) + done,
            strategy=self.bench.hardware.strategy,
        )


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
