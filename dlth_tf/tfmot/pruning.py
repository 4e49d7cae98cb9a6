"""Gradual and one-shot magnitude pruning during `fit`, as a callback."""

import functools
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from dlth_tf.callbacks.fixed_ticket import check_zeros
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.step.callback import StepCallback
from dlth_tf.tfmot.engine import as_schedule
from dlth_tf.tickets.sparsity import matching, name_patterns
from dlth_tf.tickets.ticket import Ticket

if TYPE_CHECKING:
    from tensorflow_model_optimization.sparsity.keras import PruningSchedule

    from dlth_tf.tfmot.pruned_kernels import PrunedKernels

    Schedule = PruningSchedule | float


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

    def __init__(
        self,
        schedule: "Schedule | Mapping[str, Schedule]",
        initial_step: int = 0,
    ):
        by_pattern = schedule if isinstance(schedule, Mapping) else {"*": schedule}
        self.schedules = {p: as_schedule(s, p) for p, s in by_pattern.items()}
        super().__init__(initial_step)
        self._groups: list[PrunedKernels] | None = None

    @property
    def ticket(self) -> Ticket:
        """What is kept now, or was when `fit` ended.

        Raises:
            ValueError: `fit` was not called yet.
        """
        if self._groups is None:
            raise ValueError(
                "`MagnitudePruning.ticket` is there once `fit` has begun. Give the "
                "callback to `model.fit` first."
            )
        masks = {name: np.ones(shape, np.bool_) for name, shape in self._shapes.items()}
        for group in self._groups:
            masks |= group.kept()
        return Ticket(masks)

    def build(self, model):
        from dlth_tf.tfmot.pruned_kernels import PrunedKernels

        kernels = maskable_kernels(model, name_patterns(self.schedules))
        followers = _kernels_by_schedule(kernels, self.schedules)
        self._shapes = {name: tuple(kernel.shape) for name, kernel in kernels.items()}
        variable = functools.partial(self.variable, saved=True)
        self._groups = [PrunedKernels(*follower, variable) for follower in followers]

    def begin(self):
        if self.initial_step and self.step == self.initial_step:
            for group in self._groups:
                group.remove_zeros()

    def around_train_step(self, train_step):
        # The images of a step must meet the masks that TFMOT updates before it.
        def with_masks_updated(data):
            for group in self._groups:
                group.update_if_due(self._number(self._door.updates))
            return train_step(data)

        return with_masks_updated

    def after_update(self, update):
        for group in self._groups:
            group.remove(update, self._number(update.step))

    def _number(self, steps_before):
        """What TFMOT calls the step after so many, counted from 1."""
        return ops.cast(steps_before + self.initial_step + 1, "int64")

    def on_epoch_end(self, epoch, logs=None):
        for group in self._groups:
            group.forget_attempts()
        if logs is not None:
            logs["sparsity"] = self.ticket.sparsity

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        ticket = self.ticket
        check_zeros(ticket, self._model, type(self).__name__)
        for group in self._groups:
            group.warn_if_unfinished(ticket.sparsity_per_kernel(), self.step)


def _kernels_by_schedule(kernels, schedules) -> list[tuple[object, dict]]:
    """Each schedule with the kernels that follow it: those its pattern matches first."""
    followed = {pattern: {} for pattern in schedules}
    for name, kernel in matching(kernels, schedules).items():
        first = next(p for p in schedules if fnmatchcase(name, p))
        followed[first][name] = kernel
    return [(schedules[pattern], some) for pattern, some in followed.items()]
