import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from official.modeling.layers import BatchNormalization

SHAPE = (6, 5, 7, 4)
COUNT = 6 * 5 * 7
BESSEL = COUNT / (COUNT - 1)

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fused operation is TensorFlow's"
)


def images(shape=SHAPE, seed=0):
    chance = np.random.default_rng(seed)
    scale, shift = np.arange(1, shape[-1] + 1), np.arange(shape[-1])
    return (chance.normal(size=shape) * scale + shift).astype(np.float32)


def pair(**arguments):
    """Our layer and Keras's with the same, untypical weights."""
    layers = [
        cls(**({"momentum": 0.9, "epsilon": 1e-5} | arguments))
        for cls in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    for layer in layers:
        layer.build(SHAPE)
        chance = np.random.default_rng(3)
        layer.set_weights(
            [chance.uniform(0.5, 2, w.shape).astype(np.float32) for w in layer.weights]
        )
    return layers


def step(layer, x, jit_compile=False):
    """Output, gradients by input and weights, and moving statistics of one step."""
    import tensorflow as tf

    target = tf.constant(images(x.shape, seed=1))

    @tf.function(jit_compile=jit_compile)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_mean(tf.square(tf.cast(y, "float32") - target))
        weights = [v.value for v in layer.trainable_variables]
        return y, tape.gradient(loss, [x, *weights])

    y, gradients = run(tf.convert_to_tensor(x))
    return (
        to_numpy(y),
        [to_numpy(g) for g in gradients],
        to_numpy(layer.moving_mean),
        to_numpy(layer.moving_variance),
    )


def unbiased(biased_average, before):
    """The moving variance had the batch's variance been the unbiased one."""
    return before * 0.9 + (biased_average - before * 0.9) * BESSEL


@tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "arguments", [{}, {"scale": False}, {"center": False}, {"axis": 3}]
)
def test_training_equals_keras(arguments, jit_compile):
    ours, theirs = pair(**arguments)
    before = to_numpy(ours.moving_variance)
    y, gradients, mean, variance = step(ours, images(), jit_compile)
    expected_y, expected_gradients, expected_mean, biased = step(theirs, images())
    np.testing.assert_allclose(y, expected_y, rtol=1e-4, atol=2e-5)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, unbiased(biased, before), rtol=1e-5)


@tensorflow_only
def test_moving_variance_is_the_unbiased_one():
    layer = BatchNormalization(momentum=0.9)
    layer(images(), training=True)
    expected = 0.9 + 0.1 * images().var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(to_numpy(layer.moving_variance), expected, rtol=1e-5)


@tensorflow_only
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_equals_keras(dtype):
    ours, theirs = pair(dtype=dtype)
    x = images().astype(ours.compute_dtype)
    y, expected = (layer(x, training=True) for layer in (ours, theirs))
    assert y.dtype == expected.dtype
    y, expected = (to_numpy(each).astype(np.float32) for each in (y, expected))
    np.testing.assert_allclose(y, expected, rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(
        to_numpy(ours.moving_mean).astype(np.float32),
        to_numpy(theirs.moving_mean).astype(np.float32),
        rtol=2e-3,
    )


@tensorflow_only
def test_training_on_images_takes_the_fused_operation():
    import tensorflow as tf

    layer = BatchNormalization()
    layer.build(SHAPE)
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        tf.TensorSpec((None, *SHAPE[1:]))
    )
    assert "FusedBatchNormV3" in {op.type for op in graph.graph.get_operations()}


@pytest.mark.parametrize("training", [False, None])
def test_inference_is_keras(training):
    ours, theirs = pair()
    results = [to_numpy(layer(images(), training=training)) for layer in (ours, theirs)]
    np.testing.assert_array_equal(*results)


def test_a_frozen_layer_is_in_inference():
    ours, theirs = pair()
    ours.trainable = theirs.trainable = False
    before = to_numpy(ours.moving_mean)
    results = [to_numpy(layer(images(), training=True)) for layer in (ours, theirs)]
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(to_numpy(ours.moving_mean), before)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (9, 4)),
        ({}, (9, 3, 4)),
        ({"axis": 1}, (2, 4, 5, 6)),
        ({"renorm": True}, SHAPE),
        ({"dtype": "float64"}, SHAPE),
    ],
)
def test_elsewhere_training_is_keras(arguments, shape):
    results = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        layer = cls(**arguments)
        y = to_numpy(layer(images(shape), training=True))
        results.append([y, *map(to_numpy, layer.weights)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_masked_batch_is_keras():
    mask = np.random.default_rng(0).random(SHAPE[:-1]) < 0.5
    ours, theirs = pair()
    results = [
        to_numpy(layer(images(), training=True, mask=mask)) for layer in (ours, theirs)
    ]
    np.testing.assert_array_equal(*results)


def test_config_and_weights_are_those_of_keras():
    ours, theirs = pair(name="stem_bn", epsilon=1e-4, center=False)
    assert ours.get_config() == theirs.get_config()
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert BatchNormalization.from_config(ours.get_config()).epsilon == 1e-4


def test_works_on_jax_without_tensorflow():
    code = """
import sys
import numpy as np
from official.modeling.layers import BatchNormalization
x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype("float32")
y = np.asarray(BatchNormalization(epsilon=1e-5)(x, training=True))
assert abs(y.mean()) < 1e-5 and abs(y.std() - 1) < 1e-3
assert "tensorflow" not in sys.modules
"""
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
