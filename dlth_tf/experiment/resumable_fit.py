"""One training that can be killed at any moment and gone on with."""

import dataclasses
import math
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
    from dlth_tf.experiment.training_stages import FitStage
    from dlth_tf.experiment.workbench import Workbench


@dataclasses.dataclass(frozen=True)
class ResumableFit:
    """The training of a stage, kept at the end of every epoch.

    Attributes:
        stage: what is trained, and how; the last epoch may be a part of one.
        bench: what it is trained with.
        folder: where its state is kept, and at the end its weights.
    """

    stage: "FitStage"
    bench: "Workbench"
    folder: Path

    def run(self) -> dict:
        """Trains from where it stopped; returns what to record."""
        stage, bench = self.stage, self.bench
        steps = stage.steps(bench)
        per_epoch = stage.steps_per_epoch(bench)
        epochs = math.ceil(steps / per_epoch)
        model = self._compiled(per_epoch)
        saved = Checkpoint(self.folder)
        saved.restore_model(model)
        progress = saved.progress
        done = progress.epoch * per_epoch
        own_callbacks = stage.callbacks(bench, done)
        saved.restore_callbacks(own_callbacks)
        if not progress.finished and epochs:
            bench.reporter.stage(stage.title, progress.epoch, epochs)
            model.fit(
                self._batches(done),
                initial_epoch=progress.epoch,
                epochs=epochs,
                steps_per_epoch=per_epoch,
                shuffle=False,
                verbose=0,
                callbacks=[
                    CoupledL2(stage.recipe.l2),
                    *own_callbacks,
                    StopAfter(steps - done),
                    StopOnNaN(done),
                    *validation(bench),
                    SaveCheckpoint(self.folder, progress, own_callbacks),
                    *tensorboard(self.folder),
                    EpochBar(bench.reporter),
                ],
            )
        bench.store.save_weights(self.folder, bench.weights_of(model))
        taken = int(model.optimizer.iterations) - stage.first_step(bench)
        record = {
            "steps": taken,
            "images": taken * stage.recipe.batch_size,
            "seconds": round(progress.seconds, 3),
            "history": progress.history,
        }
        return record | stage.conclude(bench, self.folder, own_callbacks, record)

    def _compiled(self, per_epoch: int) -> keras.Model:
        model = self.stage.starting_network(self.bench)
        model.compile(
            optimizer=self.stage.optimizer(per_epoch),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            # Keras would choose XLA, which makes convolutions slow on a CPU: 480 ms for
            # a step of ResNet-20 instead of 220.
            jit_compile=keras.backend.backend() != "tensorflow",
        )
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(self.stage.first_step(self.bench))
        return model

    def _batches(self, done: int):
        size = self.stage.recipe.batch_size
        batches = self.bench.data.train_batches(
            size,
            seed=self.stage.seed,
            first_step=self.stage.first_step(self.bench) + done,
        )
        return feed(batches, batch_size=size, input_shape=self.bench.data.input_shape)
