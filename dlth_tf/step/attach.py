"""The callbacks in a training loop of one's own."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from dlth_tf.step.callback import StepCallback
from dlth_tf.step.door import Door


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
