"""What the program does during a `fit`: checkpoints, progress, measuring, and ends."""

import importlib.util
import math
import time
from pathlib import Path
from typing import Any

import keras

from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.context import Context, evaluate
from dlth_tf.experiment.engine.folder import LOGS
from dlth_tf.experiment.engine.progress import Progress
from dlth_tf.experiment.plan.stages import FitStage, StageFailed
from dlth_tf.network.variables import get_weights, set_weights
from official.distribution.replicas import average_statistics

Logs = dict[str, Any]

_STEPS_BETWEEN_QUESTIONS = 10


class EpochMadeWhole(Exception):
    """The epoch that an earlier program had begun is done; its state is kept."""


class SaveCheckpoint(keras.callbacks.Callback):
    """Keeps the state at the end of every epoch, at intervals, and when asked to stop.

    Workers stop, and keep their state, after the same step: every tenth they ask each
    other whether it is time. The progress of `saved`, where this `fit` begins, is kept up
    to date. A `fit` that began within an epoch ends with it, by `EpochMadeWhole`.
    """

    def __init__(self, stage: FitStage, context: Context, saved: Checkpoints):
        super().__init__()
        self._stop, self._workers = context.stop, context.hardware.workers
        self._interval = context.checkpoint_every
        self._saved, self._progress = saved, saved.progress
        self._per_epoch = stage.steps_per_epoch(context.data)
        self._epochs = stage.epochs(context.data)

    def on_train_begin(self, logs: Logs) -> None:
        self._since, self._steps = time.monotonic(), 0
        self._within_epoch = self._progress.step > 0
        self._saved.restore_callbacks(self.model)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        if self._within_epoch:
            self._saved.restore_metrics(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
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
        seconds, limit = time.monotonic() - self._since, self._interval
        over = self._steps >= limit.steps or seconds >= limit.seconds
        return self._workers.any([self._stop.received, over])

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
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
        self._saved.save(self.model, self._progress)
        self._since, self._steps = time.monotonic(), 0


class StopAfter(keras.callbacks.Callback):
    """Ends training after so many steps, within an epoch too, or where it diverges."""

    def __init__(self, stage: FitStage, steps: int, done: int):
        super().__init__()
        self._stage, self._steps, self._done = stage, steps, done

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._done += 1
        if self._done == self._steps:
            self._model.stop_training = True
        if not math.isfinite(float(logs["loss"])):
            raise StageFailed(self._stage, f"diverged at step {self._done}")


class Validation(keras.callbacks.Callback):
    """Measures the held-out images after every epoch."""

    def __init__(self, stage: FitStage, context: Context):
        super().__init__()
        self._stage, self._context = stage, context

    def on_train_begin(self, logs: Logs) -> None:
        task, strategy = self._context.task, self._context.hardware.strategy
        self._copy = None
        if strategy or task.mixed_precision:
            self._copy = self._context.network_of(self._stage)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._copy:
            average_statistics(self.model)
            set_weights(self._copy, get_weights(self.model))
        data, workers = self._context.data, self._context.hardware.workers
        measured = evaluate(self._copy or self.model, data, "validation", workers)
        logs["val_loss"], logs["val_accuracy"] = measured.loss, measured.accuracy


class _Logs(keras.callbacks.TensorBoard):
    """Has every epoch on the disk before the state that a killed program goes on from."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """Logs for TensorBoard, where TensorFlow is there to write them."""
    if keras.backend.backend() != "tensorflow":
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("TensorBoard's logs need it: pip install tensorboard")
    return [_Logs(str(folder / LOGS), write_graph=False)]


def observers(stage: FitStage, context: Context) -> list[keras.callbacks.Callback]:
    """What `--callback` adds to a training; each has its title as `stage`."""
    if not context.hardware.workers.is_chief:
        return []
    made = [make() for make in context.callbacks]
    for callback in made:
        callback.stage = stage.title
    return made


class EpochBar(keras.callbacks.Callback):
    """Shows how far `SaveCheckpoint`, which goes before it, says that a `fit` is."""

    def __init__(self, stage: FitStage, context: Context, progress: Progress):
        super().__init__()
        self._reporter, self._progress = context.reporter, progress
        self._per_epoch = stage.steps_per_epoch(context.data)
        self._epochs = stage.epochs(context.data)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        done = self._progress.epoch + self._progress.step / self._per_epoch
        if done < self._epochs:
            self._show(done, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._show(self._epochs if self._progress.finished else epoch + 1, logs)

    def _show(self, done: float, logs: Logs) -> None:
        said = f"loss {float(logs['loss']):.4f} · accuracy {float(logs['accuracy']):.4f}"
        if "penalty" in logs:
            said += f" · penalty {logs['penalty']:.3g}"
        self._reporter.bar(done, self._epochs, said)
