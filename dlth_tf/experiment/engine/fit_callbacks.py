"""What the program does during a `fit`: checkpoints, progress, measuring, and ends."""

import importlib.util
import math
import time
from pathlib import Path
from typing import Any

import keras

from dlth_tf.experiment.engine.checkpoint import Checkpoint, Checkpoints
from dlth_tf.experiment.engine.context import Context, evaluate
from dlth_tf.experiment.engine.folder import LOGS
from dlth_tf.experiment.plan.stages import FitStage, StageFailed
from dlth_tf.network.variables import get_weights, set_weights
from official.distribution.statistics import average_statistics

Logs = dict[str, Any]

_STEPS_BETWEEN_QUESTIONS = 10


class EpochMadeWhole(Exception):
    """The epoch that an earlier program had begun is done; its state is kept."""


class SaveCheckpoint(keras.callbacks.Callback):
    """Keeps the state at the end of every epoch, at intervals, and when asked to stop.

    Workers stop, and keep their state, after the same step: every tenth they ask each
    other whether it is time.

    Args:
        stage: what is trained; this `fit` may begin within an epoch of it.
        context: has the interval, who asks to stop, and the workers.
        checkpoints: where the state is kept.
        saved: where this `fit` begins; its progress is kept up to date.

    Raises:
        EpochMadeWhole: in `fit`, which began within an epoch, at the end of this epoch.
        Stopped: in `fit`, when the program was asked to end and the state is kept.
    """

    def __init__(
        self,
        stage: FitStage,
        context: Context,
        checkpoints: Checkpoints,
        saved: Checkpoint,
    ):
        super().__init__()
        self._stop, self._workers = context.stop, context.hardware.workers
        self._interval = context.checkpoint_every
        self._checkpoints, self._saved = checkpoints, saved
        self._progress = saved.progress
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
        over = self._interval.is_over(self._steps, time.monotonic() - self._since)
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
        self._checkpoints.save(self.model, self._progress)
        self._since, self._steps = time.monotonic(), 0


class StopAfter(keras.callbacks.Callback):
    """Ends training after a number of steps, in the middle of an epoch if need be."""

    def __init__(self, steps: int):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._left -= 1
        if self._left == 0:
            self._model.stop_training = True


class StopOnNaN(keras.callbacks.Callback):
    """Fails at the first step whose loss is not a number."""

    def __init__(self, stage: FitStage, done: int):
        super().__init__()
        self._stage, self._step = stage, done

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._step += 1
        if not math.isfinite(float(logs["loss"])):
            raise StageFailed(self._stage, f"diverged at step {self._step}")


class Validation(keras.callbacks.Callback):
    """Measures the held-out images after every epoch, if there are any."""

    def __init__(self, stage: FitStage, context: Context):
        super().__init__()
        self._stage, self._context = stage, context
        self._held_out = context.data.split_size("validation")

    def on_train_begin(self, logs: Logs) -> None:
        task, strategy = self._context.task, self._context.hardware.strategy
        self._copy = None
        if self._held_out and (strategy or task.mixed_precision):
            self._copy = self._context.network_of(self._stage)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self._held_out:
            return
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


class EpochBar(keras.callbacks.Callback):
    """Keeps the reporter's bar up to date during a `fit`."""

    def __init__(self, stage: FitStage, context: Context, begun: int):
        super().__init__()
        self._reporter, self._begun = context.reporter, begun
        self._per_epoch = stage.steps_per_epoch(context.data)
        self._epochs = stage.epochs(context.data)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        done = self._epoch + (self._begun + batch + 1) / self._per_epoch
        if done < self._epochs:
            self._show(done, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._begun = 0
        last = self._model.stop_training or epoch + 1 == self._epochs
        self._show(self._epochs if last else epoch + 1, logs)

    def _show(self, done: float, logs: Logs) -> None:
        said = f"loss {float(logs['loss']):.4f} · accuracy {float(logs['accuracy']):.4f}"
        if "penalty" in logs:
            said += f" · penalty {logs['penalty']:.3g}"
        self._reporter.bar(done, self._epochs, said)
