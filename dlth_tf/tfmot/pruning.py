"""Gradual and one-shot magnitude pruning during `fit`, as a callback."""

import functools
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.fixed_ticket import check_zeros
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update, either, kept
from dlth_tf.tfmot.engine import as_schedule, pruning_engine
from dlth_tf.tickets.sparsity import first_matches, name_patterns
from dlth_tf.tickets.ticket import Ticket

_log = logging.getLogger(__name__)


class MagnitudePruning(StepCallback):
    """Removes small weights while a model trains, when a TFMOT schedule says so.

    One-shot or gradual magnitude pruning for any Keras 3 model, with no wrapper around
    it: `fit` updates the masks inside the compiled step, the removed weights are exactly
    zero after every optimizer step (in the optimizer's moving averages too), and the
    model carries nothing of it afterwards. `ticket` then says what stayed.

    It does step for step what TFMOT's `prune_low_magnitude` and `UpdatePruningStep` do:

    - Steps count from 1 within this `fit`: at step t masks are updated before the t-th
      optimizer step. So `begin_step=0` prunes first at step `frequency`.
    - Each kernel keeps its round(n * (1 - sparsity)) largest magnitudes, at least one,
      and all that equal the smallest of these. Where fewer weights than that are not
      zero, all are kept, and zeros may grow again.
    - A mask update looks at what the optimizer has just made of all weights: a removed
      one comes back if a single step from zero takes it above the threshold. The first
      step of an epoch is the exception, there it counts as zero.

    At the end of each epoch `logs` gains `sparsity`, the fraction of all maskable weights
    that are removed. A `fit` that ends before a schedule's last sparsity is reached is
    warned of.

    Args:
        schedule: a `tfmot.sparsity.keras` schedule (`PolynomialDecay`,
            `ConstantSparsity` or one's own); or a number in [0, 1), the sparsity to prune
            to once, before the first step; or a mapping from shell-style kernel name
            patterns to these. The first pattern that matches a name counts; kernels that
            none matches stay dense.
        initial_step: optimizer steps of this pruning that were done before, when it goes
            on from a saved model. What is zero then is taken to be removed. (After
            `keras.callbacks.BackupAndRestore` it goes on by itself.)

    Raises:
        ImportError: TFMOT or `tf_keras` is not installed.
        RuntimeError: Keras runs on another backend than TensorFlow.
        ValueError: a number outside [0, 1), something that is no schedule, a negative
            `initial_step`; in `fit`, a pattern that matches no kernel.

    Example: from dense to 90% sparse within 10 epochs, then training goes on.

    >>> import tensorflow_model_optimization as tfmot
    >>> steps = 10 * len(train)
    >>> gradual = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.9, 0, steps, frequency=100)
    >>> pruning = dlth.MagnitudePruning({"stage*": gradual})
    >>> model.fit(train, epochs=20, callbacks=[pruning])
    >>> model.fit(train, epochs=5, callbacks=[dlth.FixedTicket(pruning.ticket)])

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, arXiv 1710.01878 (gradual
    pruning, section 3; there a removed weight is not updated until its mask changes).
    """

    is_saved = True
    needs_fit = True

    def __init__(self, schedule: Any, initial_step: int = 0):
        by_pattern = schedule if isinstance(schedule, Mapping) else {"*": schedule}
        self.schedules = {p: as_schedule(s, p) for p, s in by_pattern.items()}
        super().__init__(initial_step)
        self._groups: list[_Group] = []
        self._shapes: dict[str, tuple[int, ...]] = {}

    @property
    def ticket(self) -> Ticket:
        """What is kept now, or was when `fit` ended.

        Raises:
            ValueError: `fit` was not called yet.
        """
        if not self._shapes:
            raise ValueError(
                "`MagnitudePruning.ticket` is there once `fit` has begun. Give the "
                "callback to `model.fit` first."
            )
        masks = {name: np.ones(shape, np.bool_) for name, shape in self._shapes.items()}
        return Ticket(
            masks | {p.name: ops.convert_to_numpy(p.mask) != 0 for p in self._pruned()}
        )

    def build(self, model: keras.Model) -> None:
        kernels = maskable_kernels(model, name_patterns(self.schedules))
        first = first_matches(kernels, self.schedules)
        self._shapes = {name: tuple(kernel.shape) for name, kernel in kernels.items()}
        self._groups = [
            _Group(self, schedule, {n: kernels[n] for n in first if first[n] == pattern})
            for pattern, schedule in self.schedules.items()
        ]

    def _pruned(self) -> "list[_Pruned]":
        return [pruned for group in self._groups for pruned in group.kernels]

    def begin(self) -> None:
        if self.initial_step and self.step == self.initial_step:
            for pruned in self._pruned():
                pruned.mask.assign(ops.convert_to_numpy(pruned.kernel) != 0)

    def around_train_step(self, train_step: Callable) -> Callable:
        # The images of a step must meet the masks that TFMOT updates before it.
        def with_masks_updated(data: Any) -> Any:
            for group in self._groups:
                group.update_if_due(self._number(self._door.updates))
            return train_step(data)

        return with_masks_updated

    def after_update(self, update: Update) -> None:
        for group in self._groups:
            group.remove(update, self._number(update.step))

    def _number(self, steps_before: Any) -> Any:
        """What TFMOT calls the step after so many, counted from 1."""
        return ops.cast(steps_before + self.initial_step + 1, "int64")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        for pruned in self._pruned():
            pruned.attempt.assign(np.zeros(pruned.attempt.shape))
        if logs is not None:
            logs["sparsity"] = self.ticket.sparsity

    def on_train_end(self, logs: dict | None = None) -> None:
        super().on_train_end(logs)
        ticket = self.ticket
        check_zeros(ticket, self._trained, type(self).__name__)
        for group in self._groups:
            group.warn_if_unfinished(ticket.sparsity_per_kernel(), self.step)


class _Pruned(NamedTuple):
    """A kernel under a schedule; `attempt` is what the optimizer made of the removed."""

    name: str
    kernel: keras.Variable
    mask: keras.Variable
    threshold: keras.Variable
    attempt: keras.Variable

    def keep_attempt(self) -> None:
        self.attempt.assign(kept(ops.equal(self.mask.value, 0), self.kernel))


class _Group:
    """The kernels that follow one schedule, with the engine that updates their masks.

    TFMOT sets removed weights to zero a step later, after a mask update has seen them.
    Here they are zero at once; what the optimizer made of them is kept for that update.
    """

    def __init__(self, pruning: MagnitudePruning, schedule: Any, kernels: dict):
        variable = functools.partial(pruning.variable, saved=True)
        self.schedule = schedule
        self.kernels = [
            _Pruned(
                name,
                kernel,
                variable(np.ones(kernel.shape), kernel.dtype, "mask"),
                variable(np.zeros(()), kernel.dtype, "threshold"),
                variable(np.zeros(kernel.shape), kernel.dtype, "attempt"),
            )
            for name, kernel in kernels.items()
        ]
        self._updated_at = variable(0, "int64", "updated_at")

    def update_if_due(self, step: Any) -> None:
        """Updates the masks if a step, counted from 1, is due; once if it comes again."""
        due = self.schedule(step)[0] & (self._updated_at.value < step)
        either(due, lambda: self._update_masks(step), lambda: None, [])

    def remove(self, update: Update, step: Any) -> None:
        """At the end of a step, counted from 1: removed weights are zero."""
        due_next = self.schedule(step + 1)[0]
        for pruned in self.kernels:
            if pruned.kernel in update:
                either(due_next, pruned.keep_attempt, lambda: None, [])
                update.keep_zero(pruned.kernel, pruned.mask)

    def _update_masks(self, step: Any) -> None:
        for pruned in self.kernels:
            pruned.kernel.value.assign_add(pruned.attempt)
        variables = [
            (pruned.kernel.value, pruned.mask.value, pruned.threshold.value)
            for pruned in self.kernels
        ]
        engine = pruning_engine(variables, self.schedule, lambda: step)
        for weights, mask, threshold in variables:
            # The engine's own `conditional_mask_update` and `weight_mask_op` talk to the
            # other replicas, which TensorFlow refuses inside a condition. Every replica
            # has the same weights, and so finds the same masks by itself.
            new_threshold, new_mask = engine._maybe_update_block_mask(weights)
            threshold.assign(new_threshold)
            mask.assign(new_mask)
            weights.assign(weights * mask)
        self._updated_at.assign(step)

    def warn_if_unfinished(self, reached: Mapping[str, float], step: int) -> None:
        """Warns of the first kernel that has more weights than the schedule means."""
        target = getattr(self.schedule, "target_sparsity", 0.0)
        final = getattr(self.schedule, "final_sparsity", target)
        for name, kernel, *_ in self.kernels:
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
