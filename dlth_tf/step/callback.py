"""The base of callbacks that take part in every optimizer step."""

from collections.abc import Callable

import keras
from keras import ops

from dlth_tf.step.door import Door
from dlth_tf.step.update import Update


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
    """Whether it also does something at the ends of epochs, so that `attach` refuses it.
    """

    def __init__(self, initial_step: int = 0):
        super().__init__()
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.initial_step = initial_step
        self.variables: list[keras.Variable] = []
        self.saved_variables: list[keras.Variable] = []
        self._door: Door | None = None

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
        if self._door is None:
            return self.initial_step
        self.model  # noqa: B018 (on JAX variables are up to date after this)
        return self.initial_step + int(ops.convert_to_numpy(self._door.updates))

    def variable(
        self, value, dtype: str, name: str, like=None, saved: bool = False
    ) -> keras.Variable:
        """Makes a variable that steps read and change; see `Door.variable`.

        Args:
            saved: whether it changes, so that a training can't go on without it.
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
        self._model, self._door = model, door
        self.variables, self.saved_variables = [], []
        self.build(model)
        door.admit(self)

    def on_train_batch_begin(self, batch, logs=None):
        self._door.stand_before_step()

    def on_train_end(self, logs=None):
        self._door.check(type(self).__name__)
        self._door.close()
