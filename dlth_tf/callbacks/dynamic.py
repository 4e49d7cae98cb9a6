"""Sparse training with a moving mask (SET, RigL): drop weights, grow others."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from dlth_tf import keras_internals
from dlth_tf.callbacks.fixed_ticket import check_zeros
from dlth_tf.callbacks.schedules import DropSchedule
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update, either, either_on_replicas, kept
from dlth_tf.tickets.ticket import Ticket, as_ticket


class DropAndGrow(StepCallback):
    """Base of callbacks that train a ticket whose mask moves.

    When the schedule says so, each kernel of which the ticket removes something drops its
    smallest magnitudes and grows as many other weights, from zero: those of the highest
    score. A subclass says how high that is, and when masks move. The number of kept
    weights of a kernel never changes; removed ones are exactly zero after every optimizer
    step, in the optimizer's moving averages too. What the optimizer remembers (momentum)
    of a weight is forgotten when it grows.

    All of it happens inside the compiled step. Weights move one by one: a ticket of N:M
    does not stay one. On several devices every one moves its own copy of the masks by the
    same gradients, summed over all, and so in the same way.
    """

    is_saved = True

    def __init__(self, ticket: Ticket, schedule: DropSchedule, initial_step: int = 0):
        super().__init__(initial_step)
        self.schedule = schedule
        self._first_ticket = as_ticket(ticket)
        self._moving: list[_MovingMask] = []

    def growth_score(self, step: Any, place: int, gradient: Callable) -> Any:
        """How much each weight of the kernel at a place deserves to grow, 0 or more.

        `gradient` gives that of the loss by every weight, the removed ones too.
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

    def build(self, model: keras.Model) -> None:
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

    def begin(self) -> None:
        self.ticket.apply(self._trained)

    def after_update(self, update: Update) -> None:
        for moving in self._moving:
            update.keep_zero(moving.kernel, moving.mask)

    def on_train_end(self, logs: dict | None = None) -> None:
        super().on_train_end(logs)
        check_zeros(self.ticket, self._trained, type(self).__name__)

    def _move_masks(self, update: Update, time: Any, gradients: list) -> None:
        """Moves the masks as the schedule says for a time, in steps."""
        step = update.step + self.initial_step
        for place, moving in enumerate(self._moving):
            if moving.kernel in update:
                full = functools.partial(update.full_gradient, moving.kernel, gradients)
                score = self.growth_score(step, place, full)
                moving.drop_and_grow(time // self.schedule.every, score, update.optimizer)


class SparseEvolutionaryTraining(DropAndGrow):
    """SET: trains a sparse network that drops small weights and grows random ones.

    After every `every` optimizer steps each sparse kernel drops the part `fraction` of
    its kept weights that is smallest in magnitude and grows as many at random, from zero.
    The random numbers depend on the seed and the step alone: a training that goes on from
    a checkpoint draws the same. (With `jit_compile=True` they are other ones: XLA has
    random numbers of its own.) See `dynamic.DropAndGrow` for what SET and RigL have
    in common; `ticket` is what is kept.

    (The paper drops the smallest positive and the largest negative weights, the same part
    of each, and draws new weights from a normal distribution. Smallest magnitudes and
    zeros are what later papers, RigL's first, mean by SET.)

    Args:
        ticket: the weights that are kept at first; at random in the paper.
        every: optimizer steps from one change to the next; an epoch in the paper.
        fraction: of the kept weights that changes places (zeta).
        until: optimizer steps after which the mask stays, for instance those of the whole
            training, so that nothing changes after its last; None: it never does.
        seed: a non-negative integer.
        initial_step: optimizer steps done before, when it goes on from a saved model.

    Raises:
        ValueError: a value out of its range, or, in `fit`, a ticket that does not fit.

    Example:

    >>> ticket = dlth.random_ticket(model, sparsity=0.9, seed=0)
    >>> steps = 60 * len(train)
    >>> training = dlth.SparseEvolutionaryTraining(ticket, every=len(train), until=steps)
    >>> model.fit(train, epochs=60, callbacks=[training])
    >>> training.ticket.save("my.ticket")

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity inspired by network science", Nature Communications 2018, arXiv
    1707.04780, algorithm 1.
    """

    def __init__(
        self,
        ticket: Ticket,
        every: int,
        fraction: float = 0.3,
        until: int | None = None,
        seed: int = 0,
        initial_step: int = 0,
    ):
        super().__init__(ticket, DropSchedule(fraction, every, until), initial_step)
        if not 0 <= seed < 2**31:
            raise ValueError(f"`seed` must be in [0, 2**31). Received: {seed}")
        self.seed = seed

    def build(self, model: keras.Model) -> None:
        super().build(model)
        self._seeds = [_Seed([self.seed, place]) for place in range(len(self._moving))]

    def after_update(self, update: Update) -> None:
        time = update.step + self.initial_step + 1
        due = self.schedule.is_due(time) & update.completes_step
        changed = [
            variable
            for moving in self._moving
            if moving.kernel in update
            for variable in moving.changed_variables(update.optimizer)
        ]
        either(due, lambda: self._move_masks(update, time, []), lambda: None, changed)
        super().after_update(update)

    def growth_score(self, step: Any, place: int, gradient: Callable) -> Any:
        kernel, seed = self._moving[place].kernel, self._seeds[place]
        seed.step = step
        return keras.random.uniform(kernel.shape, seed=seed)


class RigL(DropAndGrow):
    """The rigged lottery: drops small weights and grows where the gradient is largest.

    At steps 0, `every`, 2 * `every`, ... before `until`, instead of the optimizer's step,
    each sparse kernel drops the smallest magnitudes among its kept weights, the part
    fraction / 2 * (1 + cos(pi * t / until)), and grows as many where the gradient of the
    loss is largest in magnitude, from zero. See `dynamic.DropAndGrow` for what SET
    and RigL have in common; `ticket` is what is kept.

    As in algorithm 1 of the paper such a step counts as one, with its batch of images.
    (The authors' program repeats the step's number with the next batch, and adds noise
    of 1e-5 to the magnitudes.) Decay of weights that the optimizer does by itself
    (`weight_decay`) goes on in these steps.

    Args:
        ticket: the weights that are kept at first; at random in the paper.
        until: optimizer steps after which the mask stays (T_end); three quarters of the
            training in the paper.
        every: optimizer steps from one change to the next (delta T).
        fraction: of the kept weights that changes places at first (alpha).
        initial_step: optimizer steps done before, when it goes on from a saved model.

    Raises:
        ValueError: a value out of its range, or, in `fit`, a ticket that does not fit.

    Example:

    >>> ticket = dlth.random_ticket(model, sparsity=0.9, seed=0)
    >>> training = dlth.RigL(ticket, until=45 * len(train))
    >>> model.fit(train, epochs=60, callbacks=[training])
    >>> training.ticket.save("my.ticket")

    Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
    arXiv 1911.11134, section 3 and algorithm 1.
    """

    def __init__(
        self,
        ticket: Ticket,
        until: int,
        every: int = 100,
        fraction: float = 0.3,
        initial_step: int = 0,
    ):
        schedule = DropSchedule(fraction, every, until, decay="cosine")
        super().__init__(ticket, schedule, initial_step)

    def around_update(self, update: Update, optimize: Callable) -> Callable:
        time = update.step + self.initial_step
        due = self.schedule.is_due(time) & update.completes_step

        def move(gradients: list) -> None:
            self._move_masks(update, time, gradients)
            keras_internals.pass_over_a_step(update.optimizer)

        def optimize_or_move(gradients: list) -> None:
            masks = [moving.mask for moving in self._moving]
            changed = [*update.variables, *update.optimizer.variables, *masks]
            either_on_replicas(due, move, optimize, gradients, changed)

        return optimize_or_move

    def growth_score(self, step: Any, place: int, gradient: Callable) -> Any:
        return ops.abs(gradient())


class _MovingMask(NamedTuple):
    """The mask of one kernel; `counts` is how many weights change places, by time."""

    name: str
    kernel: keras.Variable
    mask: keras.Variable
    counts: np.ndarray

    def changed_variables(self, optimizer: Any) -> list[keras.Variable]:
        return [self.mask, self.kernel, *keras_internals.slots(optimizer, self.kernel)]

    def drop_and_grow(self, time: Any, growth_score: Any, optimizer: Any) -> None:
        """Drops the smallest magnitudes, grows the highest scores of all not kept then.

        A weight that is dropped and grown at once stays as it is. The others begin at
        zero, in the optimizer's memory too.
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


def _highest(scores: Any, count: Any, most: int) -> Any:
    """Marks the `count` highest scores, of equals the first; XLA must know the `most`."""
    flat = ops.reshape(scores, [-1])
    if keras.backend.backend() == "torch":
        places = ops.argsort(-flat)[:most]  # its top_k takes any of equals
    else:
        _, places = ops.top_k(flat, most)
    chosen = ops.arange(most) < ops.cast(count, "int32")
    nothing = ops.zeros(flat.shape, "bool")
    marks = ops.scatter_update(nothing, ops.expand_dims(places, 1), chosen)
    return ops.reshape(marks, scores.shape)


class _Seed(keras.random.SeedGenerator):
    """A seed that depends on a kernel's and the step alone: it has no state to save."""

    def __init__(self, seeds: list[int]):
        self._first = int(np.random.SeedSequence(seeds).generate_state(1)[0] >> 1)
        super().__init__(self._first)

    def next(self, ordered: bool = True) -> Any:
        first = ops.convert_to_tensor(self._first, self.state.dtype)
        return ops.stack([first, ops.cast(self.step, self.state.dtype)])
