"""What is not public in Keras's optimizers, in one place; tested with Keras 3.15."""

from collections.abc import Callable, Sequence

import keras


def innermost(optimizer) -> keras.optimizers.Optimizer:
    """The optimizer that updates weights, within one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def trained_variables(optimizer) -> list[keras.Variable]:
    """The variables an optimizer was built for."""
    return list(optimizer._trainable_variables)


def moving_average(optimizer, variable) -> keras.Variable | None:
    """The average of a variable that an optimizer keeps (`use_ema`)."""
    if not optimizer.use_ema:
        return None
    return optimizer._model_variables_moving_average[_place(optimizer, variable)]


def gathered_gradient(optimizer, variable):
    """The sum of the gradients of a variable since the last step, or None.

    It is there with `gradient_accumulation_steps`.
    """
    if not optimizer.gradient_accumulation_steps:
        return None
    return optimizer._accumulated_gradients[_place(optimizer, variable)]


def pass_over_a_step(optimizer) -> None:
    """Counts a step in which an optimizer does nothing."""
    for gathered in getattr(optimizer, "_accumulated_gradients", []):
        gathered.assign(keras.ops.zeros_like(gathered.value))
    optimizer._iterations.assign_add(1)


def batches_seen(optimizer) -> keras.Variable:
    """How often gradients were applied: with accumulation more often than steps."""
    return optimizer._iterations


def slots(optimizer, variable) -> list[keras.Variable]:
    """What an optimizer remembers of each of a variable's weights: momentum and the like.

    Keras's optimizers hold it in lists with one entry for each trainable variable.
    """
    place = _place(optimizer, variable)
    own = {id(own) for own in optimizer._variables}
    return [
        held[place]
        for name, held in vars(optimizer).items()
        if isinstance(held, list)
        and len(held) == len(optimizer._trainable_variables)
        and name not in ("_model_variables_moving_average", "_accumulated_gradients")
        and id(held[place]) in own
        and held[place].shape == variable.shape
    ]


class CarriedVariables:
    """Variables that a compiled step of JAX is given and gives back.

    Keras hands on those of the optimizer, from the first batch of a `fit` to its end,
    which is `finalize_variable_values`, also if it raises. These are among them
    meanwhile, but not in what is saved as the optimizer's.

    Args:
        optimizer: the model's.
        variables: what is carried.
    """

    def __init__(self, optimizer, variables: Sequence[keras.Variable]):
        self._optimizer = innermost(optimizer)
        self._variables = list(variables)
        self._hooked = {id(o): o for o in (optimizer, self._optimizer)}.values()
        self._enter()
        for hooked in self._hooked:
            for name in ("save_own_variables", "load_own_variables"):
                vars(hooked)[name] = self._without(getattr(hooked, name))
        vars(self._optimizer)["finalize_variable_values"] = self._finalize

    def leave(self) -> None:
        self._exit()
        for hooked in self._hooked:
            for name in ("save", "load"):
                vars(hooked).pop(f"{name}_own_variables", None)
        vars(self._optimizer).pop("finalize_variable_values", None)

    def _enter(self) -> None:
        self._optimizer._variables.extend(self._variables)

    def _exit(self) -> None:
        ours = {id(variable) for variable in self._variables}
        own = [v for v in self._optimizer._variables if id(v) not in ours]
        self._optimizer._variables[:] = own

    def _without(self, method: Callable) -> Callable:
        def call(store):
            self._exit()
            try:
                method(store)
            finally:
                self._enter()

        return call

    def _finalize(self, variables) -> None:
        self.leave()
        self._optimizer.finalize_variable_values(variables)


def _place(optimizer, variable) -> int:
    return optimizer._get_variable_index(variable)
