"""The shrunken network computes what the masked one does."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from official.modeling.networks import build_network
from tests.families import EVERY_NETWORK
from tests.library import channel_models as models

_EXAMPLES = {
    "mobilenetv1-ALPHA": "mobilenetv1-0.25",
    "mobilenetv2-ALPHA": "mobilenetv2-0.35",
    "wrn-DEPTH-WIDTH": "wrn-10-2",
    "vit-DEPTH-WIDTH": "vit-2-64",
    "keras:NAME": "keras:MobileNet",
}


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_every_network_of_official(name):
    name = _EXAMPLES.get(name, name)
    model = build_network(name, input_shape=(32, 32, 3), classes=10)
    models.assert_shrinks(model)


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
@pytest.mark.parametrize("build", models.COUPLED_AND_MARKED)
def test_every_kind_of_coupling(build, sparsity):
    models.assert_shrinks(build(), sparsity)


def test_coupled_layers_lose_the_same_filters():
    model = build_network("resnet20", input_shape=(8, 8, 3), classes=10)
    small = models.assert_shrinks(model, 0.5)
    assert small.get_layer("stem_conv").filters == 8
    assert small.get_layer("stage2_block0_conv2").filters == 16
    assert small.get_layer("stage3_block2_conv2").filters == 32
    assert small.get_layer("classifier").kernel.shape == (32, 10)


def test_the_model_itself_stays_as_it_was():
    model = models.randomized(models.residual())
    before = models.outputs(model)
    dlth.shrink(model, dlth.random_ticket(model, 0.5, seed=0, unit="filter"))
    np.testing.assert_array_equal(models.outputs(model), before)


def test_layers_keep_their_types_and_names():
    model = models.squeeze_excite()
    smaller = models.assert_shrinks(model)
    described = [
        [(layer.name, type(layer)) for layer in network.layers]
        for network in (model, smaller)
    ]
    assert described[0] == described[1]


@pytest.mark.every_backend
def test_a_ticket_of_single_weights_is_applied_and_nothing_shrinks():
    model = models.randomized(models.residual())
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    smaller = dlth.shrink(model, ticket)
    ticket.apply(model)
    assert smaller.count_params() == model.count_params()
    np.testing.assert_allclose(models.outputs(smaller), models.outputs(model), atol=1e-6)


def test_masks_inside_kept_filters_are_applied():
    model = models.randomized(models.dense_block())
    filters = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    weights = dlth.random_ticket(model, 0.5, seed=0)
    both = {n: m & weights.masks.get(n, True) for n, m in filters.masks.items()}
    smaller = dlth.shrink(model, dlth.Ticket(both))
    dlth.Ticket(both).apply(model)
    np.testing.assert_allclose(models.outputs(smaller), models.outputs(model), atol=1e-5)


def test_a_layer_that_a_foreign_ticket_empties_keeps_one_filter():
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, use_bias=False, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    masks = {"hidden": np.zeros((6, 5), bool), "dense": np.ones((5, 2), bool)}
    smaller = dlth.shrink(model, dlth.Ticket(masks))
    assert smaller.get_layer("hidden").units == 1
    dlth.Ticket(masks).apply(model)
    np.testing.assert_allclose(models.outputs(smaller), models.outputs(model), atol=1e-6)


def test_kernel_masks_alone_do_not_remove_what_a_bias_leaves():
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="relu", name="hidden")(inputs)
    model = models.randomized(keras.Model(inputs, layers.Dense(2)(hidden)))
    mask = np.ones((6, 5), bool)
    mask[:, 1] = False
    ticket = dlth.Ticket({"hidden": mask, "dense": np.ones((5, 2), bool)})
    smaller = dlth.shrink(model, ticket)
    ticket.apply(model)
    np.testing.assert_allclose(models.outputs(smaller), models.outputs(model), atol=1e-6)


@pytest.mark.every_backend
def test_the_small_network_trains_saves_and_loads(tmp_path):
    small = models.assert_shrinks(models.squeeze_excite())
    small.compile("sgd", "mse")
    x = models.images(small, 32)
    history = small.fit(x, np.ones((32, 3)), epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(models.outputs(loaded), models.outputs(small))


def test_dictionaries_of_inputs_and_outputs_keep_their_structure():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    shared = layers.Dense(6)
    joined = layers.Add()([shared(inputs["a"]), shared(inputs["b"])])
    outputs = {"y": layers.Dense(2)(joined), "z": layers.Dense(1)(joined)}
    model = keras.Model(inputs, outputs)
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    smaller = dlth.shrink(model, ticket)
    ticket.apply(model)
    x = {"a": np.ones((1, 4), "float32"), "b": np.zeros((1, 4), "float32")}
    for name, value in smaller(x).items():
        np.testing.assert_allclose(value, model(x)[name], atol=1e-6)


def test_a_ticket_of_another_model_is_refused():
    ticket = dlth.random_ticket(models.shared(), 0.5, seed=0, unit="filter")
    with pytest.raises(ValueError, match="does not fit"):
        dlth.shrink(models.residual(), ticket)


def test_a_function_of_ones_own_is_left_whole():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3)(inputs)
    x = layers.Lambda(lambda tensor: 2 * tensor)(layers.Conv2D(8, 3)(x))
    model = keras.Model(inputs, models.of(x, layers.Flatten(), layers.Dense(3)))
    small = models.assert_shrinks(model)
    assert [layer.filters for layer in small.layers[1:3]] == [4, 8]
