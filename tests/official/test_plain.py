"""Networks without layers of our own."""

import keras
import numpy as np

from official.modeling.layers import BatchNormalization, plain
from official.modeling.networks import build_network


def network():
    model = build_network("quickstart_cnn", input_shape=(8, 8, 1), classes=10)
    chance = np.random.default_rng(0)
    model.set_weights([chance.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def test_only_keras_own_layers_are_left():
    types = {type(layer) for layer in plain(network()).layers}
    assert BatchNormalization not in types
    assert keras.layers.BatchNormalization in types
    assert all(layer.__module__.startswith("keras.") for layer in types)


def test_outputs_are_the_same():
    model = network()
    images = np.random.default_rng(1).normal(size=(5, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        plain(model).predict_on_batch(images), model.predict_on_batch(images)
    )


def test_the_model_itself_is_left_alone():
    model = network()
    copy = plain(model)
    copy.set_weights([w * 0 for w in copy.get_weights()])
    assert all(np.all(w >= 0.5) for w in model.get_weights())
