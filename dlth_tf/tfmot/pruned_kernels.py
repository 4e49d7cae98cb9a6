"""Kernels under a pruning schedule, within a training step on TensorFlow."""

import logging
import math
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from dlth_tf.step.update import Update
from dlth_tf.tfmot.engine import pruning_engine

_log = logging.getLogger(__name__)


class PrunedKernels:
    """The kernels that follow one schedule, with the engine that updates their masks.

    TFMOT lets an optimizer step move removed weights and sets them to zero in the next
    step, after a mask update has seen them. Here they are zero at once. What the
    optimizer tried to make of them (`_attempts`) is kept if a mask update comes next,
    and put back for as long as that takes.

    Args:
        schedule: when to update the masks, and to which sparsity.
        kernels: those that follow it, by name.
        variable: makes a variable of the step from its value, type and name.
    """

    def __init__(
        self, schedule, kernels: Mapping[str, keras.Variable], variable: Callable
    ):
        self.schedule = schedule
        self._kernels = kernels
        self._masks, self._attempts, self._variables = [], [], []
        for kernel in kernels.values():
            shape, dtype = tuple(kernel.shape), kernel.dtype
            mask = variable(np.ones(shape), dtype, "mask")
            threshold = variable(np.zeros(()), dtype, "threshold")
            self._masks.append(mask)
            self._attempts.append(variable(np.zeros(shape), dtype, "attempt"))
            self._variables.append((kernel.value, mask.value, threshold.value))
        self._updated_at = variable(0, "int64", "updated_at")

    def update_if_due(self, step) -> None:
        """At the beginning of a step: a mask update, if it is due.

        With gradient accumulation, or when mixed precision repeats a step after an
        overflow, the same step comes several times; masks are updated the first time.

        Args:
            step: the step's number, counted from 1, an int64 tensor.
        """
        due = tf.logical_and(self.schedule(step)[0], self._updated_at < step)
        tf.cond(due, lambda: self._update_masks(step), tf.no_op)

    def remove(self, update: Update, step) -> None:
        """At the end of a step: removed weights are zero.

        Args:
            update: what the optimizer did.
            step: the step's number, counted from 1, an int64 tensor.
        """
        due_next = self.schedule(step + 1)[0]
        for kernel, mask, attempt in zip(
            self._kernels.values(), self._masks, self._attempts, strict=True
        ):
            if kernel in update:
                value, kept = tf.convert_to_tensor(kernel.value), tf.cast(mask, tf.bool)

                def keep(attempt=attempt, value=value, kept=kept):
                    attempt.assign(tf.where(kept, tf.zeros_like(value), value))
                    return tf.no_op()

                tf.cond(due_next, keep, tf.no_op)
                update.keep_zero(kernel, mask)

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
            attempt.assign(np.zeros(attempt.shape))

    def remove_zeros(self) -> None:
        for kernel, mask in zip(self._kernels.values(), self._masks, strict=True):
            mask.assign(keras.ops.convert_to_numpy(kernel) != 0)

    def kept(self) -> dict[str, np.ndarray]:
        masks = [keras.ops.convert_to_numpy(mask) != 0 for mask in self._masks]
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
