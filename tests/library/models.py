"""Small models of every kind, and data for them."""

import random

import keras
import numpy as np

X = np.random.default_rng(0).normal(size=(96, 12)).astype("float32")
Y = (X[:, :3] ** 2 + X[:, 3:6]).astype("float32")
BATCH = 16
STEPS = len(X) // BATCH


def sequential(**kwargs) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="relu", **kwargs),
            keras.layers.Dense(3, **kwargs),
        ]
    )


def functional() -> keras.Model:
    inputs = keras.Input((12,))
    left = keras.layers.Dense(8, activation="relu")(inputs)
    right = keras.layers.Dense(6, activation="tanh")(inputs)
    joined = keras.layers.Concatenate()([left, right])
    image = keras.layers.Reshape((7, 2, 1))(joined)
    image = keras.layers.Conv2D(4, 3, padding="same")(image)
    image = keras.layers.BatchNormalization()(image)
    flat = keras.layers.Flatten()(keras.layers.ReLU()(image))
    return keras.Model(inputs, keras.layers.Dense(3)(flat))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = [keras.layers.Dense(10, activation="relu") for _ in range(2)]
        self.dropout = keras.layers.Dropout(0.1, seed=1)
        self.head = keras.layers.Dense(3)

    def call(self, x, training=None):
        for layer in self.hidden:
            x = layer(x)
        return self.head(self.dropout(x, training=training))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(X[:1])
    return model


def nested() -> keras.Model:
    inner_inputs = keras.Input((10,))
    inner = keras.Model(inner_inputs, keras.layers.Dense(6)(inner_inputs), name="inner")
    first = keras.Sequential([keras.Input((12,)), keras.layers.Dense(10)], name="first")
    return keras.Sequential([first, inner, keras.layers.Dense(3)])


KINDS = {f.__name__: f for f in (sequential, functional, subclassed, nested)}


def compiled(build=sequential, optimizer=None, seed=0, **options) -> keras.Model:
    """A model with the same initial weights for the same seed."""
    random.seed(seed)  # `keras.utils.set_random_seed` would import TensorFlow.
    model = build()
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "mse", **compilation(options))
    return model


def compilation(options: dict) -> dict:
    """Options of `compile`; on JAX a step that is not compiled takes seconds."""
    return options | ({"jit_compile": True} if keras.backend.backend() == "jax" else {})


def fit(model, *callbacks, x=X, y=Y, **options):
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0} | options
    return model.fit(x, y, callbacks=list(callbacks), **arguments)


def weights(model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in model.weights]


def assert_same(left, right) -> None:
    for a, b in zip(weights(left), weights(right), strict=True):
        np.testing.assert_array_equal(a, b)
