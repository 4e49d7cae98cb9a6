"""Keeping a training's state, at the end of every epoch and within it."""

import time

import keras

from dlth_tf.experiment.checkpoint import Checkpoint, Checkpoints
from dlth_tf.experiment.interval import Interval
from dlth_tf.experiment.stop_signals import StopSignals
from official.distribution.cluster import Workers
from official.distribution.replicas import average_statistics

_STEPS_BETWEEN_QUESTIONS = 10


class EpochMadeWhole(Exception):
    """The epoch that an earlier program had begun is done; its state is kept."""


class SaveCheckpoint(keras.callbacks.Callback):
    """Keeps the state at the end of every epoch, at intervals, and when asked to stop.

    Args:
        checkpoints: where it is kept.
        saved: where this `fit` begins; its progress is kept up to date.
        per_epoch: steps of an epoch; this `fit` may begin within one.
        epochs: of the whole training.
        interval: from one state kept within an epoch to the next.
        stop: asked after every step.
        workers: those that train together. They stop, and keep their state, after the
            same step: every tenth they ask each other whether it is time.

    Raises:
        EpochMadeWhole: in `fit`, which began within an epoch, at the end of this epoch.
        Stopped: in `fit`, when the program was asked to end and the state is kept.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        saved: Checkpoint,
        *,
        per_epoch: int,
        epochs: int,
        interval: Interval,
        stop: StopSignals,
        workers: Workers,
    ):
        super().__init__()
        self._checkpoints = checkpoints
        self._saved = saved
        self._progress = saved.progress
        self._per_epoch = per_epoch
        self._epochs = epochs
        self._interval = interval
        self._stop = stop
        self._workers = workers

    def on_train_begin(self, logs=None):
        self._since = time.monotonic()
        self._steps = 0
        self._within_epoch = self._progress.step > 0
        self._saved.restore_callbacks(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        if self._within_epoch:
            self._saved.restore_metrics(self.model)

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        self._progress.step += 1
        if self._model.stop_training or self._progress.step == self._per_epoch:
            return
        stop, save = self._agreed()
        if stop or save:
            self._save()
        if stop:
            self._stop.end()

    def _agreed(self) -> list[bool]:
        if self._workers.count > 1 and self._progress.step % _STEPS_BETWEEN_QUESTIONS:
            return [False, False]
        over = self._interval.is_over(self._steps, time.monotonic() - self._since)
        return self._workers.any([self._stop.received, over])

    def on_epoch_end(self, epoch, logs=None):
        progress = self._progress
        progress.epoch, progress.step = epoch + 1, 0
        progress.history.append({name: float(v) for name, v in logs.items()})
        progress.finished = self._model.stop_training or progress.epoch == self._epochs
        self._save()
        if progress.finished:
            return
        if self._workers.any([self._stop.received])[0]:
            self._stop.end()
        if self._within_epoch:
            raise EpochMadeWhole

    def _save(self) -> None:
        self._progress.seconds += time.monotonic() - self._since
        average_statistics(self.model)
        self._checkpoints.save(self.model, self._progress)
        self._since, self._steps = time.monotonic(), 0
