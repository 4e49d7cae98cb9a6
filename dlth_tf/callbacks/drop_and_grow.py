"""What sparse training with a moving mask has in common: drop weights, grow others."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.drop_schedules import DropSchedule
from dlth_tf.callbacks.fixed_ticket import check_zeros
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.step import keras_optimizer
from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update, either, either_on_replicas, kept
from dlth_tf.tickets.ticket import Ticket, as_ticket


class DropAndGrow(StepCallback):
    """Base of callbacks that train a ticket whose mask moves.

    When the schedule says so, each kernel of which the ticket removes something drops its
    smallest magnitudes and grows as many other weights, from zero: those of the highest
    score, which is all that a subclass has to say. The number of kept weights of a kernel
    never changes; removed ones are exactly zero after every optimizer step, in the
    optimizer's moving averages too. What the optimizer remembers (momentum) of a weight
    is forgotten when it grows.

    All of it happens inside the compiled step. Weights move one by one: a ticket of N:M
    does not stay one. On several devices every one moves its own copy of the masks by the
    same gradients, summed over all, and so in the same way. Keras's `ModelCheckpoint` and
    `BackupAndRestore` save the masks with the optimizer's variables, so that a training
    that was killed goes on.

    Args:
        ticket: the weights that are kept at first.
        schedule: when how many weights change places.
        initial_step: optimizer steps of this training that were done before, when it
            goes on from a saved model; `ticket` is then the one it had reached.

    Raises:
        TypeError: `ticket` is no ticket.
        ValueError: a negative `initial_step`; in `fit`, a ticket that does not fit the
            model or is one of whole filters.
    """

    is_saved = True
    replaces_step = False
    """Whether a mask moves instead of the optimizer's step, not after it."""

    def __init__(self, ticket: Ticket, schedule: DropSchedule, initial_step: int = 0):
        super().__init__(initial_step)
        self.schedule = schedule
        self._first_ticket = as_ticket(ticket)
        self._moving: list[_MovingMask] = []

    def growth_score(self, step, place: int, gradient):
        """How much each weight of a kernel deserves to grow.

        Args:
            step: optimizer steps done before this one, an integer tensor.
            place: the kernel's number in the ticket.
            gradient: gives the gradient of the loss by every weight of the kernel, the
                removed ones too, as the optimizer's step is given it.

        Returns:
            A tensor of the kernel's shape, 0 or more.
        """
        raise NotImplementedError

    @property
    def ticket(self) -> Ticket:
        """What is kept now, or was when `fit` ended."""
        if self._moving:
            self.model  # noqa: B018 (on JAX variables are up to date after this)
        moved = {
            moving.name: ops.convert_to_numpy(moving.mask).astype(np.bool_)
            for moving in self._moving
        }
        return Ticket({**self._first_ticket.masks, **moved})

    def build(self, model):
        pairs = self.ticket.pairs(model)
        kernels = maskable_kernels(model, self.ticket.masks)
        other = next((name for name, _, _ in pairs if name not in kernels), None)
        if other:
            raise ValueError(
                f"`{type(self).__name__}` moves single weights. Received: a ticket of "
                f"whole filters, with a mask for '{other}'."
            )
        self._moving = [
            _MovingMask(
                name,
                kernel,
                self.variable(mask, "bool", "mask", like=kernel, saved=True),
                (np.count_nonzero(mask) * self.schedule.fractions).astype(np.int32),
            )
            for name, kernel, mask in pairs
            if not mask.all()
        ]

    def begin(self):
        self.ticket.apply(self._model)

    def around_update(self, update, optimize):
        if not self.replaces_step:
            return optimize
        due = self.schedule.is_due(self._before(update)) & update.completes_step

        def move(gradients):
            self._move_masks(update, gradients)
            keras_optimizer.pass_over_a_step(update.optimizer)

        def optimize_or_move(gradients):
            masks = [moving.mask for moving in self._moving]
            changed = [*update.variables, *update.optimizer.variables, *masks]
            either_on_replicas(due, move, optimize, gradients, changed)

        return optimize_or_move

    def after_update(self, update):
        if not self.replaces_step:
            due = self.schedule.is_due(self._before(update) + 1) & update.completes_step
            changed = [
                variable
                for moving in self._moving
                if moving.kernel in update
                for variable in moving.changed_variables(update.optimizer)
            ]
            either(due, lambda: self._move_masks(update), lambda: None, changed)
        for moving in self._moving:
            if moving.kernel in update:
                update.keep_zero(moving.kernel, moving.mask)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        check_zeros(self.ticket, self._model, type(self).__name__)

    def _before(self, update: Update):
        return update.step + self.initial_step

    def _move_masks(self, update: Update, gradients=None) -> None:
        step = self._before(update)
        time = (step if self.replaces_step else step + 1) // self.schedule.every
        for place, moving in enumerate(self._moving):
            if moving.kernel in update:

                def gradient(kernel=moving.kernel):
                    return update.full_gradient(kernel, gradients)

                score = self.growth_score(step, place, gradient)
                moving.drop_and_grow(time, score, update.optimizer)


class _MovingMask(NamedTuple):
    """The mask of one kernel; `counts` is how many weights change places, by time."""

    name: str
    kernel: keras.Variable
    mask: keras.Variable
    counts: np.ndarray

    def changed_variables(self, optimizer) -> list[keras.Variable]:
        return [self.mask, self.kernel, *keras_optimizer.slots(optimizer, self.kernel)]

    def drop_and_grow(self, time, growth_score, optimizer) -> None:
        """Moves the mask: drops the smallest magnitudes, grows the highest scores.

        Weights grow among all that are not kept then, those just dropped included: one
        that is dropped and grown at once stays as it is. The others begin at zero, in the
        optimizer's memory too. (The dropped ones are set to zero by whoever applies the
        mask after the step.) Of equals, those first in memory order come first.
        """
        most = int(self.counts.max())
        count = ops.take(self.counts, ops.minimum(time, len(self.counts) - 1))
        weights, mask = ops.stop_gradient(self.kernel), ops.copy(self.mask.value)
        least = ops.convert_to_tensor(-np.inf, weights.dtype)
        dropped = _highest(ops.where(mask, -ops.abs(weights), least), count, most)
        stayed = mask & ~dropped
        growth_score = ops.cast(growth_score, weights.dtype)
        grown = _highest(ops.where(stayed, least, growth_score), count, most)
        old = ~(grown & ~mask)
        for variable in self.changed_variables(optimizer)[1:]:
            variable.assign(kept(old, variable))
        self.mask.assign(stayed | grown)


def _highest(scores, count, most: int):
    """Marks the `count` highest scores, of equals the first in memory order.

    `most` is a bound of `count` that XLA can know; a full sort would take much longer.
    """
    flat = ops.reshape(scores, [-1])
    if keras.backend.backend() == "torch":
        places = ops.argsort(-flat)[:most]  # its top_k takes any of equals
    else:
        _, places = ops.top_k(flat, most)
    chosen = ops.arange(most) < ops.cast(count, "int32")
    nothing = ops.zeros(flat.shape, "bool")
    marks = ops.scatter_update(nothing, ops.expand_dims(places, 1), chosen)
    return ops.reshape(marks, scores.shape)
