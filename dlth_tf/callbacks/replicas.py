"""Training on several replicas at once, under a `tf.distribute` strategy."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops


def steps_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Optimizer steps done, also where the counter is one variable per replica."""
    return int(ops.convert_to_numpy(optimizer.iterations))


def strategy_scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Where variables are made that belong to a model: one copy for each replica."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def copied_to_replicas(model: keras.Model, mask: np.ndarray) -> keras.Variable:
    """A constant mask for use in a training step.

    A tensor would lie on the first replica's device, and go from there to the others at
    every step.
    """
    with strategy_scope(model):
        return keras.Variable(mask, dtype="bool", trainable=False, name="mask")


def tracings_of_a_step(model: keras.Model) -> int:
    """How many times this process traces a training step: once for each own replica.

    On TPUs it traces one for all.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    strategy = model.distribute_strategy
    threaded = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    return len(strategy.extended.worker_devices) if isinstance(strategy, threaded) else 1


class SharedByReplicas:
    """A context that the first of several threads enters and the last one leaves.

    Args:
        threads: how many there are.
    """

    def __init__(self, threads: int):
        self._threads = threads
        self._lock = threading.Lock()
        self._entered = self._left = 0
        self._context = contextlib.ExitStack()

    @contextlib.contextmanager
    def open(
        self, context: Callable[[], contextlib.AbstractContextManager]
    ) -> Iterator[None]:
        """One thread's stay in what the first one makes by `context`."""
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                self._context.enter_context(context())
        try:
            yield
        finally:
            with self._lock:
                self._left += 1
                if self._left == self._threads:
                    self._leave()

    def abandon(self) -> None:
        """Leaves the context, because some thread failed and others may never come."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        self._entered = self._left = 0
        self._context.close()
