"""Callbacks that take part in every optimizer step, and their door: `optimizer.apply`.

Every trainer of Keras, every `train_step` of one's own, loss scaling, accumulation of
gradients and averages of weights go through it, on every backend. It is replaced only
while a step runs or is traced: nothing needs to be put back that could be forgotten,
wherever `fit` may raise.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import ops

from dlth_tf import keras_internals
from dlth_tf.step.update import Update

_STATE = "sparse_training"
"""What the callbacks' variables are called, in a saved file, beside the optimizer's."""


class StepCallback(keras.callbacks.Callback):
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

    is_saved = False
    """Whether a training can't go on without `step` and `saved_variables`. Then whoever
    saves the model within `fit` (`ModelCheckpoint`, `BackupAndRestore`) saves them too.
    """

    needs_fit = False
    """Whether it does something at the ends of epochs, so that `attach` refuses it."""

    _trained: keras.Model
    _door: "Door"

    def __init__(self, initial_step: int = 0):
        super().__init__()
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.initial_step = initial_step
        self.variables: list[keras.Variable] = []
        self.saved_variables: list[keras.Variable] = []

    def build(self, model: keras.Model) -> None:
        """Makes what a training of this model needs; refuses what can't be."""

    def begin(self) -> None:
        """Runs before the first step, when what was saved has been restored."""

    def before_update(self, update: Update) -> None:
        """Adds to the gradients that the optimizer is about to be given."""

    def around_update(self, update: Update, optimize: Callable) -> Callable:
        """Returns what is done in place of `optimize`, a function of the gradients."""
        return optimize

    def after_update(self, update: Update) -> None:
        """Changes the weights that the optimizer has left."""

    def around_train_step(self, train_step: Callable) -> Callable:
        """Returns what is done in place of `model.train_step`."""
        return train_step

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

    def take_part(self, model: keras.Model, door: "Door") -> None:
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


class Door:
    """Where the callbacks of one training meet the steps of its optimizer.

    In a `fit` it stands in for `model.train_function` from the beginning of a batch to
    its step, which is compiled anew, so that it is traced while the door is open.
    `updates` counts the optimizer steps; `who` wants to enter and is named in errors.
    """

    def __init__(self, model: keras.Model, who: str):
        if not isinstance(getattr(model, "optimizer", None), keras.optimizers.Optimizer):
            raise TypeError(
                f"`{who}` takes part in the steps of a Keras optimizer: call "
                "`model.compile(optimizer=...)` first. Received: optimizer="
                f"{getattr(model, 'optimizer', None)!r}"
            )
        self._model = model
        self._optimizer = keras_internals.innermost(model.optimizer)
        self._callbacks: list[StepCallback] = []
        self._step: Any = None
        self._batches = 0
        self._is_in = False
        self._before: list[int] | None = None
        self._carried: keras_internals.CarriedVariables | None = None
        self.updates = self.variable(0, "int", "updates")

    @classmethod
    def of_this_fit(cls, model: keras.Model, who: str) -> "Door":
        """The door of the `fit` that is beginning, which all of its callbacks share."""
        history = getattr(model, "history", None)
        if history is None:
            raise TypeError(
                f"`{who}` is a callback for `model.fit`. In a loop of your own use "
                "`with dlth_tf.attach(model, [callback]):`."
            )
        # Keras gives a model a new history at the beginning of every `fit`.
        if "door" not in vars(history):
            vars(history)["door"] = cls(model, who)
        return vars(history)["door"]

    def variable(
        self, value: Any, dtype: str, name: str, like: keras.Variable | None = None
    ) -> keras.Variable:
        """One that steps may change: a copy on each replica, sharded like a weight."""
        on_tensorflow = keras.backend.backend() == "tensorflow"
        scope = self._model.distribute_strategy.scope if on_tensorflow else None
        layout = keras_internals.layout(like)
        with scope() if scope else contextlib.nullcontext():
            return keras.Variable(
                np.asarray(value), dtype=dtype, trainable=False, layout=layout, name=name
            )

    def admit(self, callback: StepCallback) -> None:
        """Lets a callback take part; what is saved of it is saved with the optimizer."""
        self._callbacks.append(callback)
        self._show_state()

    def stand_before_step(self) -> None:
        """Takes the place of the model's compiled step, for one batch."""
        self._enter()
        if self._step is None:
            self._begin()
            self._step = self._make_step()
        model = vars(self._model)
        if model["train_function"] is not self:
            self._own_step = model["train_function"]
            model["train_function"] = self
            # Keras calls it when another training begins: then this `fit` has raised.
            model["make_train_function"] = self._make_own_step

    def __call__(self, *args: Any) -> Any:
        self._step_aside()
        self._batches += 1
        with self._open():
            return self._step(*args)

    @contextlib.contextmanager
    def wide_open(self) -> Iterator[None]:
        """Lets the callbacks take part in every step within a block, whoever makes it."""
        self._enter()
        self._begin()
        self._batches = 1
        no_step = mock.patch.object(self._model, "train_function", None)
        with no_step, self._open(), self._new_train_step():
            yield

    def check(self, who: str) -> None:
        """Makes sure that the callbacks had a part in every step of this training."""
        if self._before is None:
            return
        taken, counted = np.subtract(self._counts(), self._before)
        expected = self._batches >= (self._optimizer.gradient_accumulation_steps or 1)
        may_overflow = self._model.optimizer is not self._optimizer
        if taken != counted or (expected and not taken and not may_overflow):
            raise RuntimeError(
                f"`{who}` had a part in {counted} of {taken} optimizer steps. Weights "
                "must be updated by `model.optimizer.apply` (or `apply_gradients`), in a "
                "step that is compiled within this training."
            )

    def close(self) -> None:
        """Leaves the model and its optimizer as they were."""
        self._step_aside()
        vars(self._model).pop("make_train_function", None)
        vars(self._optimizer).pop(_STATE, None)
        vars(getattr(self._model, "history", self)).pop("door", None)
        if self._carried is not None:
            self._carried.leave()
            self._carried = None
        self._is_in = False

    def _enter(self) -> None:
        if self._is_in:
            return
        self._is_in = True
        self._show_state()
        if keras.backend.backend() == "jax":
            variables = [self.updates, *(v for c in self._callbacks for v in c.variables)]
            carry = keras_internals.CarriedVariables
            self._carried = carry(self._model.optimizer, variables)

    def _show_state(self) -> None:
        saved = [callback for callback in self._callbacks if callback.is_saved]
        if saved:
            vars(self._optimizer)[_STATE] = _SavedState(self.updates, saved)

    def _begin(self) -> None:
        if self._model.built and not self._model.optimizer.built:
            self._model.optimizer.build(self._model.trainable_variables)
        for callback in self._callbacks:
            callback.begin()
        self._before = self._counts()

    def _counts(self) -> list[int]:
        counters = self._optimizer.iterations, self.updates
        return [int(ops.convert_to_numpy(counter)) for counter in counters]

    def _make_step(self) -> Callable:
        """The model's compiled step, made anew to be traced by this training alone."""
        model = self._model
        own_step = mock.patch.object(model, "train_function", model.train_function)
        with own_step, self._new_train_step():
            type(model).make_train_function(model, force=True)
            return model.train_function

    def _new_train_step(self) -> contextlib.AbstractContextManager:
        own = self._model.train_step
        for callback in self._callbacks:
            own = callback.around_train_step(own)

        # A function of its own, since JAX traces equal ones only once.
        def train_step(*args: Any, **kwargs: Any) -> Any:
            return own(*args, **kwargs)

        return mock.patch.object(self._model, "train_step", train_step)

    def _make_own_step(self, force: bool = False) -> Any:
        self.close()
        return self._model.make_train_function(force)

    def _step_aside(self) -> None:
        model = vars(self._model)
        if model["train_function"] is self:
            model["train_function"] = self._own_step

    def _open(self) -> contextlib.AbstractContextManager:
        self._own_apply = self._optimizer.apply
        return mock.patch.object(self._optimizer, "apply", self._apply)

    def _apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """What takes the place of `optimizer.apply`."""
        if trainable_variables is None:
            trainable_variables = keras_internals.trained_variables(self._optimizer)
        update = Update(self._optimizer, grads, trainable_variables, self.updates.value)

        def optimize(gradients: list) -> None:
            self._own_apply(gradients, update.variables)

        for callback in self._callbacks:
            callback.before_update(update)
            optimize = callback.around_update(update, optimize)
        optimize(update.gradients())
        for callback in self._callbacks:
            callback.after_update(update)
        self.updates.assign_add(ops.cast(update.completes_step, self.updates.dtype))


class _SavedState(keras.layers.Layer):
    """What Keras's savers find beside an optimizer's own variables."""

    def __init__(self, updates: keras.Variable, callbacks: list[StepCallback]):
        super().__init__(trainable=False)
        self._owners = ", ".join(type(callback).__name__ for callback in callbacks)
        self.held = [updates, *(v for c in callbacks for v in c.saved_variables)]

    def load_own_variables(self, store: Any) -> None:
        if len(store.keys()) != len(self.held):
            raise ValueError(
                f"The file holds no state of {self._owners}: it was not saved during a "
                "training with the same callbacks. Load the model yourself before `fit`, "
                "and give the callback the step, and the ticket, that it had reached."
            )
        super().load_own_variables(store)


def saved_state(model: keras.Model) -> list[keras.Variable]:
    """The variables of callbacks that are saved with a model's optimizer, in `fit`."""
    state = vars(keras_internals.innermost(model.optimizer)).get(_STATE)
    return list(state.held) if state else []
