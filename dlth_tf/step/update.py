"""One update of a model's weights, as the callbacks see it."""

from collections.abc import Callable, Iterable

import keras
from keras import ops

from dlth_tf.step import keras_optimizer

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

    def __init__(self, optimizer: keras.optimizers.Optimizer, gradients, variables, step):
        self.optimizer = optimizer
        self.variables = list(variables)
        self.step = step
        every = optimizer.gradient_accumulation_steps or 1
        seen = keras_optimizer.batches_seen(optimizer).value + 1
        self.completes_step = ops.equal(seen % every, 0)
        self._gradients = list(gradients)
        self._place = {id(variable): i for i, variable in enumerate(self.variables)}
        self._pulls: list[list[Callable]] = [[] for _ in self.variables]

    def __contains__(self, variable: keras.Variable) -> bool:
        """Whether a variable is updated; a frozen one is not."""
        return id(variable) in self._place

    def pull(self, variable: keras.Variable, gradient: Callable) -> None:
        """Adds to a variable's gradient, as a penalty would, but not to the loss.

        Args:
            variable: one of `variables`.
            gradient: gives what is added for the variable's value.
        """
        self._pulls[self._place[id(variable)]].append(gradient)

    def pulled_gradients(self) -> list:
        """For each variable its gradient with all pulls; None where it has neither."""
        # The optimizer divides by its loss scale, and adds up what replicas give.
        scale = (self.optimizer.loss_scale_factor or 1.0) / _replicas()
        return [
            _pulled(gradient, variable, pulls, scale) if pulls else gradient
            for gradient, variable, pulls in zip(
                self._gradients, self.variables, self._pulls, strict=True
            )
        ]

    def full_gradient(self, variable: keras.Variable, gradients):
        """A variable's gradient over all batches of a step, and over all replicas.

        Args:
            variable: one of `variables`.
            gradients: this replica's, of the step's last batch.
        """
        gradient = ops.convert_to_tensor(gradients[self._place[id(variable)]])
        gathered = keras_optimizer.gathered_gradient(self.optimizer, variable)
        return sum_over_replicas(
            gradient if gathered is None else gradient + gathered.value
        )

    def keep_zero(self, variable: keras.Variable, mask: keras.Variable) -> None:
        """Sets what a mask removes to zero, in the optimizer's average of it too."""
        average = keras_optimizer.moving_average(self.optimizer, variable)
        for masked in [variable] if average is None else [variable, average]:
            _keep_zero(masked, mask)


def _keep_zero(variable, mask) -> None:
    _fused(lambda: variable.assign(kept(mask.value, variable)), variable)()


def kept(mask, weights):
    """The weights that a mask keeps, zero elsewhere."""
    weights = ops.stop_gradient(weights)
    return ops.where(mask, weights, ops.zeros((), weights.dtype))


def either(condition, one: Callable, other: Callable, variables: Iterable) -> None:
    """Runs one of two functions, for what they do to variables, within a step.

    Args:
        condition: a boolean tensor.
        one: runs if it is true.
        other: runs if it is false.
        variables: all that they may change.
    """
    if keras.backend.backend() != "jax":
        ops.cond(condition, _no_result(one), _no_result(other))
        return
    variables = list({id(variable): variable for variable in variables}.values())
    values = ops.cond(
        condition, _values_after(one, variables), _values_after(other, variables)
    )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def either_on_replicas(condition, one: Callable, other: Callable, gradients, variables):
    """`either`, for functions of the gradients that may speak to other replicas."""
    if _replicas() == 1:
        either(condition, lambda: one(gradients), lambda: other(gradients), variables)
        return
    import tensorflow as tf

    def on_each_replica(strategy, condition, gradients):
        # TensorFlow has no condition on one replica whose branches speak to others.
        condition, *_ = strategy.experimental_local_results(condition)
        run = strategy.extended.call_for_each_replica
        branches = [_no_result(run, branch, (gradients,)) for branch in (one, other)]
        ops.cond(condition, *branches)

    context = tf.distribute.get_replica_context()
    context.merge_call(on_each_replica, args=(condition, gradients))


def sum_over_replicas(gradient):
    """A gradient that each replica has its part of."""
    if _replicas() == 1:
        return gradient
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradient)


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _pulled(gradient, variable, pulls: list[Callable], scale: float):
    def pulled():
        weights = ops.stop_gradient(variable)
        total = scale * sum(pull(weights) for pull in pulls)
        return total if gradient is None else ops.convert_to_tensor(gradient) + total

    return _fused(pulled, variable)()


def _fused(function: Callable, variable) -> Callable:
    """One pass over a large variable where each operation would be a pass of its own."""
    if (
        keras.backend.backend() != "tensorflow"
        or variable.shape.num_elements() < _LARGE
        or _replicas() > 1
    ):
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def _no_result(function, *arguments):
    def branch():
        function(*arguments)

    return branch


def _values_after(function: Callable, variables: list) -> Callable:
    """What a function would leave in variables, as a function of JAX."""

    def branch():
        before = [(variable, variable.value) for variable in variables]
        with keras.StatelessScope(before) as scope:
            function()
        return [scope.get_current_value(variable) for variable in variables]

    return branch
