"""Callbacks that become part of the compiled training step, and leave no trace.

Keras traces a training step once and knows nothing of callbacks while it does. What is
set on a variable (`regularizer`, `constraint`) at that moment is compiled into the step.
So the attributes are set only while the step is traced, and the compiled step is used
only for the `fit` it was made for. Nothing needs to be put back that could be forgotten.
"""

import contextlib
from collections.abc import Callable, Iterator

import keras


class StepCallback(keras.callbacks.Callback):
    """Base of callbacks that change what a training step computes.

    Several of them work together in one `fit`. A subclass says what its change is in
    `attached`, a context manager that is open while the step is traced.
    """

    def __init__(self):
        super().__init__()
        self._about_to_step = False

    def attached(self) -> contextlib.AbstractContextManager:
        """The change to the model, open while its training step is traced."""
        raise NotImplementedError

    def inputs(self) -> list[tuple[keras.Variable, object]]:
        """Variables that exist in the step only, each with its value for this step.

        For backends on which a compiled step can't read what it was not given (JAX).
        """
        return []

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        function = model.train_function
        if not (isinstance(function, _AttachedStep) and function.fresh):
            function = _AttachedStep(model)
            model.train_function = function
        function.callbacks.append(self)

    def on_train_batch_begin(self, batch, logs=None):
        self._about_to_step = True

    def on_train_end(self, logs=None):
        if isinstance(self._model.train_function, _AttachedStep):
            self._model.train_function = None


class _AttachedStep:
    """Stands in for `model.train_function` during one `fit`.

    A `fit` that raises elsewhere than in a step leaves it behind. It then notices at
    its next call, of another `fit`, that its callbacks were not told of a batch, and
    makes way for a plain step.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._compiled: Callable | None = None
        self.callbacks: list[StepCallback] = []

    @property
    def fresh(self) -> bool:
        return self._compiled is None

    def __call__(self, *args):
        if not all(callback._about_to_step for callback in self.callbacks):
            return self._plain_step()(*args)
        for callback in self.callbacks:
            callback._about_to_step = False
        try:
            if self._compiled is None:
                self._compiled = self._make_step()
            return _call_with_inputs(self._compiled, self._inputs(), self._model, args)
        except BaseException:
            if self._model.train_function is self:
                self._model.train_function = None
            raise

    def _plain_step(self) -> Callable:
        self._model.train_function = None
        self._model.make_train_function()
        return self._model.train_function

    def _make_step(self) -> Callable:
        model, traced_step = self._model, self._model.train_step

        def train_step(*args, **kwargs):
            with contextlib.ExitStack() as stack:
                for callback in self.callbacks:
                    stack.enter_context(callback.attached())
                return traced_step(*args, **kwargs)

        with _instance_attribute(model, "train_step", train_step):
            compiled = self._plain_step()
        model.train_function = self
        return compiled

    def _inputs(self) -> list[tuple[keras.Variable, object]]:
        return [pair for callback in self.callbacks for pair in callback.inputs()]


@contextlib.contextmanager
def _instance_attribute(model, name: str, value) -> Iterator[None]:
    had_own = name in vars(model)
    before = getattr(model, name)
    setattr(model, name, value)
    try:
        yield
    finally:
        if had_own:
            setattr(model, name, before)
        else:
            delattr(model, name)


def _call_with_inputs(compiled, inputs, model, args):
    """Calls a step, handing it our variables beside the model's own state (JAX)."""
    if not inputs:
        return compiled(*args)
    state, *rest = args
    trainable, non_trainable, *others = state
    with known_to_model(model, [variable for variable, _ in inputs]):
        places = _places(model, [variable for variable, _ in inputs])
    values = dict(zip(places, [value for _, value in inputs], strict=True))
    own = iter(non_trainable)
    extended = [
        values[i] if i in values else next(own)
        for i in range(len(non_trainable) + len(values))
    ]
    logs, (trainable, extended, *others) = compiled((trainable, extended, *others), *rest)
    own_after = [value for i, value in enumerate(extended) if i not in values]
    return logs, (trainable, own_after, *others)


def _places(model, variables) -> list[int]:
    ids = [id(variable) for variable in model.non_trainable_variables]
    return [ids.index(id(variable)) for variable in variables]


class _State:
    """What Keras expects of an entry in a layer's list of seed generators."""

    def __init__(self, variable):
        self.state = variable


@contextlib.contextmanager
def known_to_model(model, variables) -> Iterator[None]:
    """Counts variables among the model's non-trainable ones for a while.

    A layer's seed generators are the one list whose variables take part in a step's
    state but in no count or order of weights.
    """
    generators = model._seed_generators
    generators.extend(_State(variable) for variable in variables)
    try:
        yield
    finally:
        del generators[len(generators) - len(variables) :]


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
