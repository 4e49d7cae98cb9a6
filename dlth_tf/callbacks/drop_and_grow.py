"""What sparse training with a moving mask has in common: drop weights, grow others."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.attachment import StepCallback, constrained, temporary_attribute
from dlth_tf.callbacks.callback_state import progress_state, ticket_in
from dlth_tf.callbacks.drop_schedules import DropSchedule
from dlth_tf.callbacks.fixed_ticket import KeepZero
from dlth_tf.callbacks.replicas import steps_done, strategy_scope
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.tickets.ticket import Ticket

if TYPE_CHECKING:
    from dlth_tf.callbacks.moving_masks import MovingMask


class DropAndGrow(StepCallback):
    """Base of callbacks that train a ticket whose mask moves.

    When the schedule says so, each kernel of which the ticket removes something drops its
    smallest magnitudes and grows as many other weights, from zero: those of the highest
    score, which is all that a subclass has to say. The number of kept weights of a kernel
    never changes; removed ones are exactly zero after every optimizer step, in the
    optimizer's moving averages too. What the optimizer remembers (momentum) of a weight
    is forgotten when it grows.

    All of it happens inside the compiled step. Keras must run on TensorFlow. Weights move
    one by one: a ticket of N:M does not stay one. Under a `tf.distribute` strategy every
    replica moves its own copy of the masks by the same gradients, summed over all, and so
    in the same way.

    Args:
        ticket: the weights that are kept at first.
        schedule: when how many weights change places.
        initial_step: optimizer steps of this training that were done before, when it
            goes on from a saved model; `ticket` is then the one it had reached.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow.
        ValueError: a negative `initial_step`; in `fit`, a ticket that does not fit the
            model or is one of whole filters, or weights that another callback
            (`keras.callbacks.BackupAndRestore`) restored without the mask they had.
    """

    replaces_step = False
    """Whether a mask moves instead of the optimizer's step, not after it."""

    def __init__(self, ticket: Ticket, schedule: DropSchedule, initial_step: int = 0):
        super().__init__()
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                f"`{type(self).__name__}` needs Keras on TensorFlow "
                f"(KERAS_BACKEND=tensorflow). The backend is {keras.backend.backend()}."
            )
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.schedule = schedule
        self.initial_step = initial_step
        self._first_ticket = ticket
        self._first_iteration: int | None = None
        self._masks: list[MovingMask] = []

    def growth_score(self, step, place: int, gradient):
        """How much each weight of a kernel deserves to grow.

        Args:
            step: optimizer steps done before this one, an integer tensor.
            place: the kernel's number in the ticket.
            gradient: of the loss by every weight of the kernel, the removed ones too, as
                the optimizer's step is given it.

        Returns:
            A tensor of the kernel's shape, 0 or more.
        """
        raise NotImplementedError

    @property
    def ticket(self) -> Ticket:
        """What is kept now, or was when `fit` ended."""
        moved = {
            mask.name: ops.convert_to_numpy(mask.variable).copy() for mask in self._masks
        }
        return Ticket({**self._first_ticket.masks, **moved})

    @property
    def step(self) -> int:
        """Optimizer steps of this training done so far."""
        if self._first_iteration is None:
            return self.initial_step
        return steps_done(self._model.optimizer) - self._first_iteration

    def set_model(self, model: keras.Model) -> None:
        from dlth_tf.callbacks.moving_masks import MovingMask

        super().set_model(model)
        self._first_iteration = steps_done(model.optimizer) - self.initial_step
        with strategy_scope(model):
            self._masks = [
                MovingMask(name, kernel, mask, self.schedule.fractions)
                for name, kernel, mask in self._pairs(model)
                if not mask.all()
            ]

    def _pairs(self, model):
        pairs = self.ticket.pairs(model)
        kernels = maskable_kernels(model)
        other = next((name for name, _, _ in pairs if name not in kernels), None)
        if other:
            raise ValueError(
                f"`{type(self).__name__}` moves single weights. Received: a ticket of "
                f"whole filters, with a mask for '{other}'."
            )
        return pairs

    def on_train_begin(self, logs=None):
        self.ticket.apply(self._model)
        self._at_start = True

    def on_epoch_begin(self, epoch, logs=None):
        # Not in on_train_begin, where BackupAndRestore may have its turn after us.
        if self._at_start and self.step != self.initial_step:
            raise ValueError(
                f"`{type(self).__name__}` can't go on from weights that another callback "
                "restored: their mask is not among them. Load the model yourself, and "
                "give the ticket it had reached and `initial_step`."
            )
        self._at_start = False

    @contextlib.contextmanager
    def attached(self, iterations) -> Iterator[None]:
        from dlth_tf.callbacks.moving_masks import sum_over_replicas

        optimizer = self._model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        step = iterations - self._first_iteration

        def update(gradients, variables, learning_rate):
            gradients = sum_over_replicas(gradients)
            own = _no_result(_update, optimizer, gradients, variables, learning_rate)
            by_variable = {
                id(variable): gradient
                for variable, gradient in zip(variables, gradients, strict=True)
            }
            move = _no_result(self._move_masks, step, by_variable, optimizer)
            if self.replaces_step:
                ops.cond(self.schedule.is_due(step), move, own)
            else:
                own()
                ops.cond(self.schedule.is_due(step + 1), move, lambda: None)

        with contextlib.ExitStack() as stack:
            # The last place before the update: gradients are complete there, averaged
            # over accumulated batches and no longer scaled for mixed precision.
            stack.enter_context(
                temporary_attribute(optimizer, "_backend_update_step", update)
            )
            for mask in self._masks:
                projection = KeepZero(mask.kernel, mask.variable, optimizer)
                stack.enter_context(constrained(mask.kernel, projection))
            yield

    def _move_masks(self, step, gradients, optimizer) -> None:
        moment = step if self.replaces_step else step + 1
        for place, mask in enumerate(self._masks):
            if id(mask.kernel) in gradients:
                gradient = ops.convert_to_tensor(gradients[id(mask.kernel)])
                score = self.growth_score(step, place, gradient)
                mask.drop_and_grow(moment // self.schedule.every, score, optimizer)

    def get_state(self) -> dict[str, np.ndarray]:
        """What a checkpoint must keep so that training can go on."""
        return progress_state(self.ticket, self.step)

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Takes up what `get_state` gave; before `fit`."""
        self.initial_step = int(state["step"])
        self._first_iteration = None
        self._masks = []
        self._first_ticket = ticket_in(state)


def _update(optimizer, gradients, variables, learning_rate) -> None:
    """What Keras does with gradients that are summed already, on this replica alone."""
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable, learning_rate)


def _no_result(function, *arguments):
    """A branch of `cond`: the function for what it does, not for what it returns."""

    def branch():
        function(*arguments)

    return branch
