"""Sparse training with a moving mask: what each algorithm grows."""

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.drop_and_grow import DropAndGrow
from dlth_tf.callbacks.drop_schedules import DropSchedule
from dlth_tf.tickets.ticket import Ticket


class SparseEvolutionaryTraining(DropAndGrow):
    """SET: trains a sparse network that drops small weights and grows random ones.

    After every `every` optimizer steps each sparse kernel drops the part `fraction` of
    its kept weights that is smallest in magnitude and grows as many at random, from zero.
    The random numbers depend on the seed and the step alone: a training that goes on from
    a checkpoint draws the same. (With `jit_compile=True` they are other ones: XLA has
    random numbers of its own.) See `drop_and_grow.DropAndGrow` for what SET and RigL have
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
    >>> training.ticket.save("ticket.safetensors.xz")

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

    def build(self, model):
        super().build(model)
        self._seeds = [_Seed([self.seed, place]) for place in range(len(self._moving))]

    def growth_score(self, step, place, gradient):
        kernel, seed = self._moving[place].kernel, self._seeds[place]
        return keras.random.uniform(kernel.shape, seed=seed.of_step(step))


class RigL(DropAndGrow):
    """The rigged lottery: drops small weights and grows where the gradient is largest.

    At steps 0, `every`, 2 * `every`, ... before `until`, instead of the optimizer's step,
    each sparse kernel drops the smallest magnitudes among its kept weights, the part
    fraction / 2 * (1 + cos(pi * t / until)), and grows as many where the gradient of the
    loss is largest in magnitude, from zero. See `drop_and_grow.DropAndGrow` for what SET
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
    >>> training.ticket.save("ticket.safetensors.xz")

    Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
    arXiv 1911.11134, section 3 and algorithm 1.
    """

    replaces_step = True

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

    def growth_score(self, step, place, gradient):
        return ops.abs(gradient())


class _Seed(keras.random.SeedGenerator):
    """A seed that depends on a kernel's and the step alone: it has no state to save."""

    def __init__(self, seeds: list[int]):
        super().__init__(int(np.random.SeedSequence(seeds).generate_state(1)[0] >> 1))

    def of_step(self, step) -> "_Seed":
        self._step = step
        return self

    def next(self, ordered=True):
        first = ops.convert_to_tensor(self._initial_seed, self.state.dtype)
        return ops.stack([first, ops.cast(self._step, self.state.dtype)])
