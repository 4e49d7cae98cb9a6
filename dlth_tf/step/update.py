"""One update of a model's weights, as the callbacks see it."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

from dlth_tf import keras_internals

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

_LARGE = 2**16
"""Weights from which on a pass over a variable is worth being compiled by itself."""


class Update:
    """What an optimizer is about to do, and has done.

    Attributes:
        optimizer: the one that updates.
        variables: those that it is given gradients for.
        step: optimizer steps of this training before it, an integer tensor.
        completes_step: whether the optimizer makes a step of it, a boolean tensor. It
            does not always where it accumulates gradients.
    """

    def __init__(self, optimizer: Any, gradients: list, variables: list, step: Any):
        self.optimizer = optimizer
        self.variables = list(variables)
        self.step = step
        every = optimizer.gradient_accumulation_steps or 1
        seen = keras_internals.batches_seen(optimizer).value + 1
        self.completes_step = ops.equal(seen % every, 0)
        self._gradients = list(gradients)
        self._place = {id(variable): i for i, variable in enumerate(self.variables)}
        self._additions: list[list[Callable]] = [[] for _ in self.variables]

    def __contains__(self, variable: keras.Variable) -> bool:
        """Whether a variable is updated; a frozen one is not."""
        return id(variable) in self._place

    def add_to_gradient(self, variable: keras.Variable, addition: Callable) -> None:
        """Adds to a variable's gradient a function of its value, as a penalty would."""
        self._additions[self._place[id(variable)]].append(addition)

    def mask_gradient(self, variable: keras.Variable, mask: keras.Variable) -> None:
        """Sets what a mask removes of a variable's gradient to zero."""
        place = self._place.get(id(variable))
        if place is not None and self._gradients[place] is not None:
            gradient = ops.convert_to_tensor(self._gradients[place])
            self._gradients[place] = kept(mask.value, gradient)

    def gradients(self) -> list:
        """For each variable its gradient with all additions; None if it has neither."""
        # The optimizer divides by its loss scale, and adds up what replicas give.
        scale = (self.optimizer.loss_scale_factor or 1.0) / _replicas()
        parts = zip(self._gradients, self.variables, self._additions, strict=True)
        return [_sum(*part, scale) if part[-1] else part[0] for part in parts]

    def full_gradient(self, variable: keras.Variable, gradients: list) -> Any:
        """A variable's gradient over all batches of a step, and over all replicas."""
        gradient = ops.convert_to_tensor(gradients[self._place[id(variable)]])
        gathered = keras_internals.gathered_gradient(self.optimizer, variable)
        total = gradient if gathered is None else gradient + gathered.value
        if _replicas() == 1:
            return total
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, total)

    def learning_rate(self, variable: keras.Variable) -> Any:
        """The rate that the optimizer has for a variable in this step."""
        return keras_internals.optimizer_of(self.optimizer, variable).learning_rate

    def subtract(self, variable: keras.Variable, part: Callable) -> None:
        """Takes a function of its value from a variable if the optimizer makes a step."""

        def subtracted() -> None:
            weights = ops.stop_gradient(variable)
            rest = weights - part(weights)
            variable.assign(ops.where(self.completes_step, rest, weights))

        _fused(subtracted, variable)()

    def keep_zero(self, variable: keras.Variable, mask: keras.Variable) -> None:
        """Sets what a mask removes of an updated variable and its average to zero."""
        if variable not in self:
            return
        average = keras_internals.moving_average(self.optimizer, variable)
        for masked in [variable] if average is None else [variable, average]:
            _keep_zero(masked, mask)


def _keep_zero(variable: keras.Variable, mask: keras.Variable) -> None:
    _fused(lambda: variable.assign(kept(mask.value, variable)), variable)()


def kept(mask: Any, weights: Any) -> Any:
    """The weights that a mask keeps, zero elsewhere."""
    weights = ops.stop_gradient(weights)
    return ops.where(mask, weights, ops.zeros((), weights.dtype))


def either(condition: Any, one: Callable, other: Callable, variables: Iterable) -> None:
    """Runs one of two functions, for what they do to these variables, within a step."""
    if keras.backend.backend() != "jax":
        ops.cond(condition, _no_result(one), _no_result(other))
        return
    variables = list({id(variable): variable for variable in variables}.values())
    values = ops.cond(
        condition, _values_after(one, variables), _values_after(other, variables)
    )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def either_on_replicas(
    condition: Any, one: Callable, other: Callable, gradients: list, variables: Iterable
) -> None:
    """`either`, for functions of the gradients that may speak to other replicas."""
    if _replicas() == 1:
        either(condition, lambda: one(gradients), lambda: other(gradients), variables)
        return

    def on_each_replica(strategy: Any, condition: Any, gradients: list) -> None:
        # TensorFlow has no condition on one replica whose branches speak to others.
        condition, *_ = strategy.experimental_local_results(condition)
        run = strategy.extended.call_for_each_replica
        branches = [_no_result(run, branch, (gradients,)) for branch in (one, other)]
        ops.cond(condition, *branches)

    context = tf.distribute.get_replica_context()
    context.merge_call(on_each_replica, args=(condition, gradients))


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def _sum(
    gradient: Any, variable: keras.Variable, additions: list[Callable], scale: float
) -> Any:
    def summed() -> Any:
        weights = ops.stop_gradient(variable)
        total = scale * sum(addition(weights) for addition in additions)
        return total if gradient is None else ops.convert_to_tensor(gradient) + total

    return _fused(summed, variable)()


def _fused(function: Callable, variable: keras.Variable) -> Callable:
    """One pass over a large variable where each operation would be a pass of its own."""
    if (
        keras.backend.backend() != "tensorflow"
        or variable.shape.num_elements() < _LARGE
        or _replicas() > 1
    ):
        return function
    return tf.function(function, jit_compile=True, autograph=False)


def _no_result(function: Callable, *arguments: Any) -> Callable:
    def branch() -> None:
        function(*arguments)

    return branch


def _values_after(function: Callable, variables: list) -> Callable:
    """What a function would leave in variables, as a function of JAX."""

    def branch() -> list:
        before = [(variable, variable.value) for variable in variables]
        with keras.StatelessScope(before) as scope:
            function()
        return [scope.get_current_value(variable) for variable in variables]

    return branch
