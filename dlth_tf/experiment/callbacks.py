"""What the program does during a `fit`: progress, checkpoints, and ends."""

import importlib.util
import math
from pathlib import Path

import keras

from dlth_tf.experiment.evaluation import evaluate
from dlth_tf.experiment.progress import Reporter
from dlth_tf.experiment.stages import Stage, StageFailed
from dlth_tf.network.variables import get_weights, set_weights
from official.distribution.replicas import average_statistics


class StopAfter(keras.callbacks.Callback):
    """Ends training after a number of steps, in the middle of an epoch if need be."""

    def __init__(self, steps: int):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if self._left == 0:
            self._model.stop_training = True


class StopOnNaN(keras.callbacks.Callback):
    """Fails at the first step whose loss is not a number."""

    def __init__(self, stage: Stage, first_step: int):
        super().__init__()
        self._stage = stage
        self._step = first_step

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if not math.isfinite(float(logs["loss"])):
            raise StageFailed(self._stage, f"diverged at step {self._step}")


class _Validation(keras.callbacks.Callback):
    def __init__(self, bench, stage):
        super().__init__()
        self._bench = bench
        self._stage = stage

    def on_train_begin(self, logs=None):
        task, strategy = self._bench.task, self._bench.hardware.strategy
        as_it_is = strategy is None and task.mixed_precision is None
        self._measured = self.model if as_it_is else self._stage.network(self._bench)

    def on_epoch_end(self, epoch, logs=None):
        if self._measured is not self.model:
            average_statistics(self.model)
            set_weights(self._measured, get_weights(self.model))
        workers = self._bench.hardware.workers
        measured = evaluate(
            self._measured, self._bench.data, "validation", workers=workers
        )
        logs["val_loss"], logs["val_accuracy"] = measured.loss, measured.accuracy


def validation(bench, stage) -> list[keras.callbacks.Callback]:
    """Measures the held-out images after every epoch, if there are any."""
    if not bench.data.split_size("validation"):
        return []
    return [_Validation(bench, stage)]


class _Logs(keras.callbacks.TensorBoard):
    """Has every epoch on the disk before the state that a killed program goes on from."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """Logs for TensorBoard, where TensorFlow is there to write them.

    Raises:
        ImportError: TensorFlow lacks the package that it writes them with.
    """
    if keras.backend.backend() != "tensorflow":
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("TensorBoard's logs need it: pip install tensorboard")
    return [_Logs(str(folder / "logs"), write_graph=False)]


class EpochBar(keras.callbacks.Callback):
    """Keeps the reporter's bar up to date during a `fit`."""

    def __init__(self, reporter: Reporter, done: int, per_epoch: int, epochs: int):
        super().__init__()
        self._reporter = reporter
        self._begun = done % per_epoch
        self._per_epoch = per_epoch
        self._epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        done = self._epoch + (self._begun + batch + 1) / self._per_epoch
        if done < self._epochs:
            self._show(done, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._begun = 0
        last = self._model.stop_training or epoch + 1 == self._epochs
        self._show(self._epochs if last else epoch + 1, logs)

    def _show(self, done: float, logs) -> None:
        said = f"loss {float(logs['loss']):.4f} · accuracy {float(logs['accuracy']):.4f}"
        if "penalty" in logs:
            said += f" · penalty {logs['penalty']:.3g}"
        self._reporter.bar(done, self._epochs, said)
