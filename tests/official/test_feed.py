import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from official.data import load
from official.data.feed import feed
from official.modeling.networks import build_network

tf = pytest.importorskip("tensorflow")

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other backends get a generator"
)


class Recorder(keras.layers.Layer):
    """Passes images on and remembers them."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        def remember(x):
            self.seen.append(np.array(x))
            return x

        y = tf.numpy_function(remember, [x], tf.float32, stateful=True)
        return tf.ensure_shape(y, x.shape)


def digits(first_step=0):
    data = load("digits")
    batches = data.train_batches(64, seed=0, first_step=first_step)
    return batches, feed(data, 64, seed=0, first_step=first_step)


def compiled(*layers):
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@tensorflow_only
def test_dataset_is_endless_with_static_shapes():
    _, dataset = digits()
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert [tuple(spec.shape) for spec in dataset.element_spec] == [(64, 8, 8, 1), (64,)]


@tensorflow_only
@pytest.mark.parametrize("under", [None, "strategy"])
def test_fit_trains_on_every_batch_in_order_across_epochs(under):
    import contextlib

    strategy = tf.distribute.OneDeviceStrategy("cpu:0") if under else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        recorder = Recorder()
        model = compiled(recorder)
    batches, dataset = digits(first_step=5)
    model.fit(dataset, steps_per_epoch=3, epochs=2, shuffle=False, verbose=0)
    assert len(recorder.seen) == 6
    for seen, (images, _) in zip(recorder.seen, batches, strict=False):
        np.testing.assert_array_equal(seen, images)


def test_jax_trains_on_the_same_batches_without_tensorflow():
    code = """
import itertools, sys
import keras, numpy as np
from official.data import load
from official.data.feed import feed
from official.modeling.networks import build_network
data = load("digits")
batches = data.train_batches(64, seed=0)
model = build_network("quickstart_cnn", input_shape=data.input_shape, classes=10)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
weights = model.get_weights()
for layer in model.layers:
    layer.trainable = False
history = model.fit(
    feed(data, 64, seed=0),
    steps_per_epoch=7, epochs=1, shuffle=False, verbose=0,
)
model.set_weights(weights)
losses = [float(loss(y, model(x))) for x, y in itertools.islice(batches, 7)]
np.testing.assert_allclose(history.history["loss"], np.mean(losses), rtol=1e-4)
assert "tensorflow" not in sys.modules
"""
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_training_twice_gives_the_same_bits():
    results = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = build_network("quickstart_cnn", input_shape=(8, 8, 1), classes=10)
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        _, dataset = digits()
        model.fit(dataset, steps_per_epoch=20, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
