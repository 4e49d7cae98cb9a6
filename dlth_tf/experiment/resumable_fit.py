"""One training that can be killed at any moment and gone on with."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from dlth_tf.experiment.callbacks import (
    EpochBar,
    SaveCheckpoint,
    StopAfter,
    StopOnNaN,
    tensorboard,
    validation,
)
from dlth_tf.experiment.checkpoint import Checkpoint
from dlth_tf.weight_decay import CoupledL2
from official.data.feed import feed

if TYPE_CHECKING:
    from dlth_tf.experiment.stages import WeightsStage
    from dlth_tf.experiment.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class ResumableFit:
    """So many optimizer steps from given weights, kept at the end of every epoch.

    Attributes:
        steps: optimizer steps in all; the last epoch may be a part of one.
        batch_size: images per step.
        optimizer: makes the optimizer, given the steps of an epoch.
        l2: coupled weight decay.
        seed: of the data's order and augmentation.
        callbacks: makes what distinguishes this training, given the steps done before.
        first_step: step of the data's order and the optimizer's schedule to begin at.
    """

    steps: int
    batch_size: int
    optimizer: Callable[[int], keras.optimizers.Optimizer]
    l2: float
    seed: int
    callbacks: Callable[[int], list[keras.callbacks.Callback]]
    first_step: int = 0

    def run(
        self, bench: "Workbench", folder: Path, start: "WeightsStage", title: str
    ) -> dict:
        """Trains, writes the weights to `folder`, and returns what to record."""
        per_epoch = bench.data.steps_per_epoch(self.batch_size)
        epochs = math.ceil(self.steps / per_epoch)
        model = self._compiled(bench, start, per_epoch)
        saved = Checkpoint(folder)
        saved.restore_model(model)
        progress = saved.progress
        done = progress.epoch * per_epoch
        own_callbacks = self.callbacks(done)
        saved.restore_callbacks(own_callbacks)
        if not progress.finished and epochs:
            bench.reporter.stage(title, progress.epoch, epochs)
            model.fit(
                self._batches(bench, done),
                initial_epoch=progress.epoch,
                epochs=epochs,
                steps_per_epoch=per_epoch,
                shuffle=False,
                verbose=0,
                callbacks=[
                    CoupledL2(self.l2),
                    *own_callbacks,
                    StopAfter(self.steps - done),
                    StopOnNaN(done),
                    *validation(bench),
                    SaveCheckpoint(folder, progress, own_callbacks),
                    *tensorboard(folder),
                    EpochBar(bench.reporter),
                ],
            )
        bench.store.save_weights(folder, bench.weights_of(model))
        steps = int(model.optimizer.iterations) - self.first_step
        return {
            "steps": steps,
            "images": steps * self.batch_size,
            "seconds": round(progress.seconds, 3),
            "history": progress.history,
        }

    def _compiled(self, bench, start, per_epoch) -> keras.Model:
        model = bench.network_with(start)
        model.compile(
            optimizer=self.optimizer(per_epoch),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            # Keras would choose XLA, which makes convolutions slow on a CPU: 480 ms for
            # a step of ResNet-20 instead of 220.
            jit_compile=keras.backend.backend() != "tensorflow",
        )
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(self.first_step)
        return model

    def _batches(self, bench, done: int):
        batches = bench.data.train_batches(
            self.batch_size, seed=self.seed, first_step=self.first_step + done
        )
        return feed(
            batches, batch_size=self.batch_size, input_shape=bench.data.input_shape
        )
