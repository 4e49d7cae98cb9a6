"""Training steps and loops of one's own, as a user writes them on each backend."""

import keras
from keras import ops

from tests.library.models import BATCH, STEPS, X, Y

BACKEND = keras.backend.backend()


class OwnStep(keras.Model):
    """A model whose `train_step` knows nothing of `self.losses`."""

    def __init__(self, optimizer_of_its_own=None):
        super().__init__()
        self.first = keras.layers.Dense(16, activation="relu")
        self.last = keras.layers.Dense(3)
        self.another = optimizer_of_its_own

    def call(self, x, training=None):
        return self.last(self.first(x))

    def train_step(self, *arguments):
        return _STEP[BACKEND](self, *arguments)

    def apply(self, gradients, variables):
        (self.another or self.optimizer).apply(gradients, variables)


def own_step(optimizer=None) -> keras.Model:
    model = OwnStep(optimizer)
    model(X[:1])
    return model


def _mean_squared_error(y, predicted):
    return ops.mean((predicted - y) ** 2)


def _on_tensorflow(model, data):
    import tensorflow as tf

    x, y = data
    with tf.GradientTape() as tape:
        loss = _mean_squared_error(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.apply(gradients, model.trainable_variables)
    return {"loss": loss}


def _on_torch(model, data):
    import torch

    x, y = data
    model.zero_grad()
    loss = _mean_squared_error(y, model(x, training=True))
    loss.backward()
    variables = model.trainable_variables
    with torch.no_grad():
        model.apply([variable.value.grad for variable in variables], variables)
    return {"loss": loss}


def _on_jax(model, state, data):
    import jax

    trainable, non_trainable, optimizer, metrics = state
    x, y = data

    def loss_of(trainable, non_trainable):
        predicted, updated = model.stateless_call(trainable, non_trainable, x)
        return _mean_squared_error(y, predicted), updated

    compute = jax.value_and_grad(loss_of, has_aux=True)
    (loss, non_trainable), gradients = compute(trainable, non_trainable)
    trainable, optimizer = model.optimizer.stateless_apply(
        optimizer, gradients, trainable
    )
    return {"loss": loss}, (trainable, non_trainable, optimizer, metrics)


_STEP = {"tensorflow": _on_tensorflow, "torch": _on_torch, "jax": _on_jax}


def _batches():
    for start in range(0, STEPS * BATCH, BATCH):
        yield X[start : start + BATCH], Y[start : start + BATCH]


def loop(model) -> None:
    """One epoch without `fit`, compiled where the backend does so."""
    {"tensorflow": _loop_on_tensorflow, "torch": _loop_on_torch, "jax": _loop_on_jax}[
        BACKEND
    ](model)


def _loop_on_tensorflow(model):
    import tensorflow as tf

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = _mean_squared_error(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for x, y in _batches():
        step(tf.constant(x), tf.constant(y))


def _loop_on_torch(model):
    import torch

    variables = model.trainable_variables
    for x, y in _batches():
        model.zero_grad()
        _mean_squared_error(torch.tensor(y), model(x, training=True)).backward()
        with torch.no_grad():
            gradients = [variable.value.grad for variable in variables]
            model.optimizer.apply(gradients, variables)


def _loop_on_jax(model):
    import jax

    @jax.jit
    def step(state, x, y):
        return _on_jax(model, state, (x, y))[1]

    optimizer = model.optimizer
    parts = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    state = *([variable.value for variable in part] for part in parts), []
    for x, y in _batches():
        state = step(state, x, y)
    for part, values in zip(parts, state[:3], strict=True):
        for variable, value in zip(part, values, strict=True):
            variable.assign(value)
