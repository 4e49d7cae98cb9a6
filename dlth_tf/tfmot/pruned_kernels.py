"""Kernels under a pruning schedule, within a training step on TensorFlow."""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from dlth_tf.callbacks.attachment import constrained
from dlth_tf.callbacks.fixed_ticket import KeepZero
from dlth_tf.tfmot.engine import pruning_engine

_ATTEMPT = "attempt/"
_log = logging.getLogger(__name__)


class PrunedKernels:
    """The kernels that follow one schedule, with the engine that updates their masks.

    TFMOT lets an optimizer step move removed weights and sets them to zero in the next
    step, after a mask update has seen them. Here they are zero at once. What the
    optimizer tried to make of them (`_attempts`) is kept if a mask update comes next,
    and put back for as long as that takes.
    """

    def __init__(self, schedule, kernels: Mapping[str, keras.Variable]):
        self.schedule = schedule
        self._kernels = kernels
        values = [kernel.value for kernel in kernels.values()]
        self._masks = [_variable(tf.ones_like(value)) for value in values]
        self._attempts = [_variable(tf.zeros_like(value)) for value in values]
        thresholds = [_variable(tf.zeros([], value.dtype)) for value in values]
        self._updated_at = _variable(tf.constant(0, tf.int64))
        self._variables = list(zip(values, self._masks, thresholds, strict=True))

    def update_if_due(self, step) -> None:
        """At the beginning of a step: a mask update, if it is due.

        With gradient accumulation, or when mixed precision repeats a step after an
        overflow, the same step comes several times; masks are updated the first time.

        Args:
            step: the step's number, counted from 1, an int64 tensor.
        """
        due = tf.logical_and(self.schedule(step)[0], self._updated_at < step)
        tf.cond(due, lambda: self._update_masks(step), tf.no_op)

    @contextlib.contextmanager
    def attached(self, step, optimizer) -> Iterator[None]:
        """Within a step: zeros at its end.

        Args:
            step: the step's number, counted from 1, an int64 tensor.
            optimizer: the one that makes the step.
        """
        due_next = self.schedule(step + 1)[0]
        with contextlib.ExitStack() as stack:
            for kernel, mask, attempt in zip(
                self._kernels.values(), self._masks, self._attempts, strict=True
            ):
                keep_zero = KeepZero(kernel, mask, optimizer)
                removal = _Removal(keep_zero, attempt, due_next)
                stack.enter_context(constrained(kernel, removal))
            yield

    def _update_masks(self, step):
        for kernel, attempt in zip(self._kernels.values(), self._attempts, strict=True):
            kernel.value.assign_add(attempt)
        engine = pruning_engine(self._variables, self.schedule, lambda: step)
        for weights, mask, threshold in self._variables:
            # The engine's own `conditional_mask_update` and `weight_mask_op` talk to the
            # other replicas, which TensorFlow refuses inside a condition. Every replica
            # has the same weights, and so finds the same masks by itself.
            new_threshold, new_mask = engine._maybe_update_block_mask(weights)
            threshold.assign(new_threshold)
            mask.assign(new_mask)
            weights.assign(tf.multiply(weights, mask))
        self._updated_at.assign(step)
        return tf.no_op()

    def forget_attempts(self) -> None:
        for attempt in self._attempts:
            attempt.assign(tf.zeros_like(attempt))

    def remove_zeros(self) -> None:
        for kernel, mask in zip(self._kernels.values(), self._masks, strict=True):
            mask.assign(tf.cast(kernel.value != 0, mask.dtype))

    @property
    def updated_at(self) -> int:
        """The step before which masks were updated last."""
        return int(self._updated_at.numpy())

    def restore(self, masks: Mapping[str, np.ndarray], updated_at: int) -> None:
        """Takes up the masks that a training had reached."""
        for name, mask in zip(self._kernels, self._masks, strict=True):
            mask.assign(masks[name].astype(mask.dtype.as_numpy_dtype))
        self._updated_at.assign(updated_at)

    def attempts(self) -> dict[str, np.ndarray]:
        """What a step tried to make of removed weights, if a mask update may see it."""
        tried = zip(self._kernels, self._attempts, strict=True)
        values = {f"{_ATTEMPT}{name}": attempt.numpy() for name, attempt in tried}
        return {name: value for name, value in values.items() if value.any()}

    def restore_attempts(self, attempts: Mapping[str, np.ndarray]) -> None:
        """Takes up what `attempts` gave, among other things."""
        for name, attempt in zip(self._kernels, self._attempts, strict=True):
            if f"{_ATTEMPT}{name}" in attempts:
                attempt.assign(attempts[f"{_ATTEMPT}{name}"])

    def kept(self) -> dict[str, np.ndarray]:
        masks = [mask.numpy().astype(np.bool_) for mask in self._masks]
        return dict(zip(self._kernels, masks, strict=True))

    def warn_if_unfinished(self, reached: Mapping[str, float], step: int) -> None:
        """Warns of the first kernel that has more weights than the schedule means."""
        final = getattr(self.schedule, "final_sparsity", None)
        if final is None:
            final = getattr(self.schedule, "target_sparsity", 0.0)
        for name, kernel in self._kernels.items():
            if (final - reached[name]) * math.prod(kernel.shape) > 1:
                _log.warning(
                    "Pruning ended after %d steps with kernel '%s' at sparsity %.4g, "
                    "below its schedule's %.4g. Train longer, or let the schedule end "
                    "earlier, at `begin_step` plus a multiple of `frequency`.",
                    step,
                    name,
                    reached[name],
                    final,
                )
                return


class _Removal:
    """Sets removed weights to zero; keeps what they would be for a mask update."""

    def __init__(self, keep_zero, attempt, keep_attempt):
        self.keep_zero = keep_zero
        self.attempt = attempt
        self.keep_attempt = keep_attempt

    def __call__(self, kernel):
        value = tf.convert_to_tensor(kernel)

        def keep():
            kept = tf.cast(self.keep_zero.mask, tf.bool)
            self.attempt.assign(tf.where(kept, tf.zeros_like(value), value))
            return tf.no_op()

        tf.cond(self.keep_attempt, keep, tf.no_op)
        return self.keep_zero(value)


def _variable(value):
    return tf.Variable(value, trainable=False)
