"""Callbacks that become part of the compiled training step, and leave no trace.

Keras traces a training step once and knows nothing of callbacks while it does. What is
set on a variable (`regularizer`, `constraint`) at that moment is compiled into the step.
So the attributes are set only while the step is traced, and the compiled step takes the
place of the model's own only from the beginning of a batch to its step. Nothing needs
to be put back that could be forgotten, wherever `fit` may raise.
"""

import contextlib
from collections.abc import Callable, Iterator

import keras
from keras import ops

from dlth_tf.callbacks.replicas import SharedByReplicas, tracings_of_a_step


class StepCallback(keras.callbacks.Callback):
    """Base of callbacks that change what a training step computes.

    Several of them work together in one `fit`. A subclass says what its change is in
    `attached`, and what is to happen before a step in `prepare`.

    Under a `tf.distribute` strategy the step is traced once for each replica of this
    process, and these tracings take turns. So the change is made by the first of them
    and undone by the last: every replica's step has it exactly once.
    """

    def __init__(self):
        super().__init__()
        self._attached_step: _AttachedStep | None = None

    def attached(self, iterations) -> contextlib.AbstractContextManager:
        """The change to the model, open while its training step is traced.

        Args:
            iterations: integer tensor, optimizer steps before this one. A value of the
                compiled step, on every backend.
        """
        raise NotImplementedError

    def prepare(self, iterations) -> None:
        """What the compiled step does first, on every replica for itself.

        Args:
            iterations: as for `attached`.
        """

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._attached_step = None

    def on_train_batch_begin(self, batch, logs=None):
        if self._attached_step is None:
            self._attached_step = _AttachedStep.of_this_fit(self._model)
            self._attached_step.callbacks.append(self)
        self._attached_step.take_place()

    def on_train_end(self, logs=None):
        self._attached_step = None


class _AttachedStep:
    """Stands in for `model.train_function` from the beginning of a batch to its step."""

    def __init__(self, model: keras.Model, own_step: Callable):
        self._model = model
        self._own_step = own_step
        self._fit = _current_fit(model)
        self._compiled: Callable | None = None
        self._shared = SharedByReplicas(tracings_of_a_step(model))
        self.callbacks: list[StepCallback] = []

    @classmethod
    def of_this_fit(cls, model: keras.Model) -> "_AttachedStep":
        """The one that another callback of this `fit` has put in place, or a new one."""
        function = model.train_function
        if not isinstance(function, cls):
            return cls(model, function)
        if function._fit is _current_fit(model):
            return function
        return cls(model, function._own_step)

    def take_place(self) -> None:
        self._model.train_function = self

    def __call__(self, *args):
        self._model.train_function = self._own_step
        if self._fit is not _current_fit(self._model):
            # Another callback raised after ours had begun a batch of an earlier `fit`.
            return self._own_step(*args)
        if self._compiled is None:
            self._compiled = self._make_step()
        try:
            return self._compiled(*args)
        except BaseException:
            self._shared.abandon()
            raise

    def _make_step(self) -> Callable:
        model, traced_step = self._model, self._model.train_step

        def train_step(*args, **kwargs):
            iterations = _iterations(model.optimizer, args)
            for callback in self.callbacks:
                callback.prepare(iterations)
            with self._shared.open(lambda: self._attached(iterations)):
                return traced_step(*args, **kwargs)

        try:
            with temporary_attribute(model, "train_step", train_step):
                model.make_train_function(force=True)
            return model.train_function
        finally:
            model.train_function = self._own_step

    @contextlib.contextmanager
    def _attached(self, iterations) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for callback in self.callbacks:
                stack.enter_context(callback.attached(iterations))
            yield


def _current_fit(model):
    """Keras gives a model a new history at the beginning of every `fit`."""
    return getattr(model, "history", None)


def _iterations(optimizer, step_arguments):
    """Optimizer steps done, as a value inside a step that is being traced."""
    if keras.backend.backend() != "jax":
        return ops.convert_to_tensor(optimizer.iterations)
    (_, _, optimizer_state, _), *_ = step_arguments
    with keras.StatelessScope(
        list(zip(optimizer.variables, optimizer_state, strict=True))
    ):
        return ops.convert_to_tensor(optimizer.iterations)


@contextlib.contextmanager
def temporary_attribute(owner, name: str, value) -> Iterator[None]:
    """Gives an object an attribute of its own for a while."""
    had_own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextlib.contextmanager
def regularized(variable: keras.Variable, penalty: Callable) -> Iterator[None]:
    """Adds a penalty to a variable's own regularizer for a while."""
    own = variable.regularizer

    def both(value):
        return own(value) + penalty(value)

    variable.regularizer = penalty if own is None else both
    try:
        yield
    finally:
        variable.regularizer = own


@contextlib.contextmanager
def constrained(variable: keras.Variable, projection: Callable) -> Iterator[None]:
    """Follows a variable's own constraint by a projection for a while."""
    own = variable.constraint

    def both(value):
        return projection(own(value))

    variable.constraint = projection if own is None else both
    try:
        yield
    finally:
        variable.constraint = own
