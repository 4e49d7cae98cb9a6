"""Models whose channels are coupled in every way, with weights that hide no mistake."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from benchmarks.families import randomized


def images(model: keras.Model, count: int = 2) -> np.ndarray:
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def outputs(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images(model), training=False))


def assert_shrinks(model: keras.Model, sparsity=0.5) -> keras.Model:
    """Shrinks by a random ticket and compares with the masked model."""
    randomized(model)
    ticket = dlth.random_ticket(model, sparsity, seed=0, unit="filter")
    smaller = dlth.shrink(model, ticket)
    ticket.apply(model)
    wanted = outputs(model)
    assert wanted.std() > 1e-3
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(outputs(smaller), wanted, rtol=0, atol=1e-5 * scale)
    assert smaller.input_shape == model.input_shape
    assert smaller.output_shape == model.output_shape
    assert smaller.count_params() < model.count_params()
    return smaller


def of(x, *stack):
    for layer in stack:
        x = layer(x)
    return x


def residual():
    inputs = keras.Input((8, 8, 3))
    x = of(inputs, layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization())
    y = of(x, layers.ReLU(), layers.Conv2D(6, 3, padding="same", activation="relu"))
    x = layers.Add()([layers.Conv2D(8, 1)(y), x])
    return keras.Model(inputs, of(x, layers.Flatten(), layers.Dense(4)))


def padded_shortcut():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same")(inputs)
    wide = layers.Conv2D(12, 3, strides=2, padding="same")(x)
    short = layers.AveragePooling2D(1, 2)(x)
    short = layers.ZeroPadding2D(((0, 0), (2, 4)), data_format="channels_first")(short)
    x = layers.BatchNormalization()(layers.Add()([wide, short]))
    return keras.Model(inputs, of(x, layers.GlobalMaxPooling2D(), layers.Dense(4)))


def dense_block():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3)(inputs)
    for _ in range(2):
        new = of(x, layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(4, 1))
        x = layers.Concatenate()([x, new])
    x = of(x, layers.Conv2D(6, 3, strides=2), layers.Reshape((-1,)), layers.Dropout(0.5))
    return keras.Model(inputs, layers.Dense(3)(x))


def depthwise():
    inputs = keras.Input((8, 8, 3))
    x = of(inputs, layers.DepthwiseConv2D(3), layers.Conv2D(8, 1))
    x = of(x, layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu6"))
    x = of(x, layers.SeparableConv2D(6, 3), layers.Conv2D(12, 1))
    x = layers.Conv2D(24, 1, groups=12)(x)
    return keras.Model(inputs, of(x, layers.GlobalAveragePooling2D(), layers.Dense(3)))


def squeeze_excite():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="silu")(inputs)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = of(gate, layers.Reshape((1, 1, 8)), layers.Conv2D(4, 1, activation="relu"))
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(gate)])
    hard = layers.ReLU(6.0)(x + 3.0) * (1 / 6)
    return keras.Model(inputs, of(x * hard, layers.Flatten(), layers.Dense(3)))


def normalized_without_gamma():
    inputs = keras.Input((8, 8, 3))
    x = of(inputs, layers.Conv2D(8, 3), layers.BatchNormalization(scale=False))
    return keras.Model(inputs, of(x, layers.ReLU(), layers.Flatten(), layers.Dense(3)))


def nested():
    block = keras.Sequential([layers.ReLU(), layers.Conv2D(6, 1), layers.ReLU()])
    inner_inputs = keras.Input((None, None, 6))
    inner = layers.Add()([inner_inputs, layers.Conv2D(6, 1)(inner_inputs)])
    inner = keras.Model(inner_inputs, inner, name="inner")
    inputs = keras.Input((8, 8, 3))
    x = inner(block(layers.Conv2D(5, 3)(inputs)))
    return keras.Model(inputs, of(inner(x), layers.GlobalMaxPooling2D(), layers.Dense(3)))


def shared():
    inputs = keras.Input((8,))
    twice = layers.Dense(6, activation="tanh")
    left, right = layers.Dense(5)(inputs), layers.Dense(5, activation="relu")(inputs)
    joined = layers.Subtract()([twice(left), twice(right)])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(joined))


def sequential():
    return keras.Sequential(
        [
            keras.Input((16, 4)),
            layers.Conv1D(6, 3, activation="relu"),
            layers.Conv1DTranspose(8, 3),
            layers.MaxPooling1D(),
            layers.UpSampling1D(),
            layers.ZeroPadding1D(1),
            layers.Cropping1D(1),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


COUPLED = (
    residual,
    padded_shortcut,
    dense_block,
    depthwise,
    squeeze_excite,
    normalized_without_gamma,
    nested,
    shared,
    sequential,
)
COUPLED_AND_MARKED = [
    pytest.param(build, marks=pytest.mark.every_backend)
    if build in (residual, squeeze_excite, nested)
    else build
    for build in COUPLED
]
