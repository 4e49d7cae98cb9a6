"""The base of callbacks that take part in every optimizer step, in any loop."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from dlth_tf.step.door import Door, Participant


class StepCallback(Participant, keras.callbacks.Callback):
    """Takes part in every step of a model's optimizer, within `fit` or `attach`.

    An algorithm says what it needs in `build` and what it does in one or two of
    `before_update`, `around_update` and `after_update`. These become part of the compiled
    step, on every backend and under every strategy; several callbacks work together in
    any order.

    Args:
        initial_step: optimizer steps that were done before, when a training goes on.

    Attributes:
        variables: what steps read and change.
        saved_variables: those of them without which a training can't go on.

    Raises:
        ValueError: `initial_step` is negative.
    """

    needs_fit = False
    """Whether it also does something at the ends of epochs, so that `attach` refuses it.
    """

    _trained: keras.Model
    _door: Door

    def __init__(self, initial_step: int = 0):
        super().__init__()
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.initial_step = initial_step
        self.variables, self.saved_variables = [], []

    def build(self, model: keras.Model) -> None:
        """Makes what a training of this model needs; refuses what can't be."""

    @property
    def step(self) -> int:
        """Optimizer steps done so far, those before this training included."""
        if not hasattr(self, "_door"):
            return self.initial_step
        self.model  # noqa: B018 (on JAX variables are up to date after this)
        return self.initial_step + int(ops.convert_to_numpy(self._door.updates))

    def variable(
        self, value: Any, dtype: str, name: str, like: Any = None, saved: bool = False
    ) -> keras.Variable:
        """Makes what steps change; it is `saved` if a training can't go on without it.

        On several devices it is laid out as the weight is that it is `like`.
        """
        variable = self._door.variable(value, dtype, name, like)
        self.variables.append(variable)
        if saved:
            self.saved_variables.append(variable)
        return variable

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.take_part(model, Door.of_this_fit(model, type(self).__name__))

    def take_part(self, model: keras.Model, door: Door) -> None:
        """Begins a training of a model, whose steps come through a door."""
        self._trained, self._door = model, door
        self.variables, self.saved_variables = [], []
        self.build(model)
        door.admit(self)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._door.stand_before_step()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._door.check(type(self).__name__)
        self._door.close()


@contextlib.contextmanager
def attach(model: keras.Model, callbacks: Sequence[StepCallback]) -> Iterator[None]:
    """Lets callbacks take part in the steps of a training loop of one's own.

    Within the block every step of `model.optimizer` is as it would be in `fit` with these
    callbacks: `model.train_on_batch`, `optimizer.apply` and `apply_gradients`, and on JAX
    `optimizer.stateless_apply`. A step that you compile (`tf.function`, `jax.jit`) must
    be compiled within the block, and not be used after it. On JAX the callbacks' own
    variables are among `optimizer.variables` within the block, and part of the state that
    you hand from step to step and assign in the end.

    Args:
        model: a compiled, built model.
        callbacks: `RandomSparseTransformation`, `FixedTicket`, `CoupledL2`,
            `SparseEvolutionaryTraining`, `RigL`.

    Raises:
        RuntimeError: the optimizer took steps in which a callback had no part.
        TypeError: a callback does not take part in steps, or the model has no optimizer
            of Keras.
        ValueError: as the callbacks raise in `fit`.

    Example: a loop of one's own on TensorFlow.

    >>> with dlth.attach(model, [dlth.FixedTicket(ticket), dlth.CoupledL2(5e-4)]):
    ...     for x, y in batches:
    ...         with tf.GradientTape() as tape:
    ...             loss = loss_function(y, model(x, training=True))
    ...         gradients = tape.gradient(loss, model.trainable_variables)
    ...         model.optimizer.apply(gradients, model.trainable_variables)
    """
    for callback in callbacks:
        if not isinstance(callback, StepCallback) or callback.needs_fit:
            raise TypeError(
                "`callbacks` of `attach` must take part in optimizer steps alone, as "
                f"`FixedTicket` does. Received: {type(callback).__name__}"
            )
    door = Door(model, ", ".join(type(callback).__name__ for callback in callbacks))
    with contextlib.closing(door):
        for callback in callbacks:
            callback.take_part(model, door)
            callback.on_train_begin()
        with door.wide_open():
            yield
        for callback in callbacks:
            callback.on_train_end()
