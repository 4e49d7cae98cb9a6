"""Gradual and one-shot magnitude pruning during `fit`, as a callback."""

import contextlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.attachment import StepCallback
from dlth_tf.callbacks.callback_state import progress_state, ticket_in
from dlth_tf.callbacks.replicas import steps_done, strategy_scope
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.tfmot.engine import as_schedule
from dlth_tf.tickets.sparsity import matching
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
            `keras.callbacks.BackupAndRestore` it goes on by itself, as the optimizer
            knows the step.)

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

    def __init__(
        self,
        schedule: "Schedule | Mapping[str, Schedule]",
        initial_step: int = 0,
    ):
        super().__init__()
        by_pattern = schedule if isinstance(schedule, Mapping) else {"*": schedule}
        self.schedules = {p: as_schedule(s, p) for p, s in by_pattern.items()}
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.initial_step = initial_step
        self._groups: list[PrunedKernels] | None = None
        self._restored: dict[str, np.ndarray] | None = None

    @property
    def ticket(self) -> Ticket:
        """What is kept now, or was when `fit` ended.

        Raises:
            ValueError: `fit` was not called yet.
        """
        if self._restored is not None:
            return ticket_in(self._restored)
        if self._groups is None:
            raise ValueError(
                "`MagnitudePruning.ticket` is there once `fit` has begun. Give the "
                "callback to `model.fit` first."
            )
        masks = {name: np.ones(shape, np.bool_) for name, shape in self._shapes.items()}
        for group in self._groups:
            masks |= group.kept()
        return Ticket(masks)

    @property
    def step(self) -> int:
        """Optimizer steps of the pruning done so far."""
        return steps_done(self._model.optimizer) - self._first_iteration

    def set_model(self, model: keras.Model) -> None:
        from dlth_tf.tfmot.pruned_kernels import PrunedKernels

        kernels = maskable_kernels(model)
        followers = _kernels_by_schedule(kernels, self.schedules)
        super().set_model(model)
        self._first_iteration = steps_done(model.optimizer) - self.initial_step
        self._shapes = {name: tuple(kernel.shape) for name, kernel in kernels.items()}
        with strategy_scope(model):
            self._groups = [
                PrunedKernels(schedule, followed) for schedule, followed in followers
            ]
        self._take_up()

    def _take_up(self) -> None:
        self._guess_masks = self._restored is None
        if self._restored is not None:
            masks = self.ticket.masks
            for group, at in zip(self._groups, self._restored["updated_at"], strict=True):
                group.restore(masks, int(at))
                group.restore_attempts(self._restored)
            self._restored = None

    def on_epoch_begin(self, epoch, logs=None):
        # Not in on_train_begin, where BackupAndRestore may have its turn after us.
        if self._guess_masks and self.step > 0:
            for group in self._groups:
                group.remove_zeros()
        self._guess_masks = False

    def prepare(self, iterations) -> None:
        for group in self._groups:
            group.update_if_due(self._number(iterations))

    @contextlib.contextmanager
    def attached(self, iterations) -> Iterator[None]:
        step = self._number(iterations)
        with contextlib.ExitStack() as stack:
            for group in self._groups:
                stack.enter_context(group.attached(step, self._model.optimizer))
            yield

    def _number(self, iterations):
        """What TFMOT calls the step after so many, counted from 1."""
        return ops.cast(iterations - self._first_iteration + 1, "int64")

    def on_epoch_end(self, epoch, logs=None):
        for group in self._groups:
            group.forget_attempts()
        if logs is not None:
            logs["sparsity"] = self.ticket.sparsity

    def get_state(self) -> dict[str, np.ndarray]:
        """What a checkpoint must keep so that pruning can go on."""
        state = progress_state(self.ticket, self.step)
        state["updated_at"] = np.array([group.updated_at for group in self._groups])
        for group in self._groups:
            state |= group.attempts()
        return state

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes up what `get_state` gave; before `fit`."""
        self.initial_step = int(state["step"])
        self._restored = state

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        reached = self.ticket.sparsity_per_kernel()
        for group in self._groups:
            group.warn_if_unfinished(reached, self.step)


def _kernels_by_schedule(kernels, schedules) -> list[tuple[object, dict]]:
    """Each schedule with the kernels that follow it: those its pattern matches first."""
    followed = {pattern: {} for pattern in schedules}
    for name, kernel in matching(kernels, schedules).items():
        first = next(p for p in schedules if fnmatchcase(name, p))
        followed[first][name] = kernel
    return [(schedules[pattern], some) for pattern, some in followed.items()]
