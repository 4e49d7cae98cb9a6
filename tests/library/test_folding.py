"""BatchNorm folded into the layers before it: the same outputs, fewer layers.

`tests/program/test_export.py` exports every network of `official/`, folded.
"""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from official.modeling.networks import build_network
from tests.library import channel_models as models


def norms(model: keras.Model) -> list[str]:
    return [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]


def assert_folds(model: keras.Model) -> keras.Model:
    """Folds and compares with the model's own outputs."""
    models.randomized(model)
    folded = dlth.fold_batch_norm(model)
    wanted = models.outputs(model)
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(models.outputs(folded), wanted, rtol=0, atol=1e-5 * scale)
    return folded


@pytest.mark.parametrize("build", models.COUPLED_AND_MARKED)
def test_every_kind_of_graph(build):
    assert_folds(build())


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "vgg11_bn"])
def test_networks_of_convolution_and_batch_norm_keep_none(name):
    model = build_network(name, input_shape=(32, 32, 3), classes=10)
    assert norms(model)
    assert norms(assert_folds(model)) == []


@pytest.mark.parametrize(
    "before",
    [
        layers.Conv2D(6, 3, use_bias=False),
        layers.Conv2D(6, 3),
        layers.Conv2D(6, 1, groups=2),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.Dense(6),
    ],
    ids=lambda layer: type(layer).__name__.lower(),
)
@pytest.mark.parametrize("norm", [{}, {"scale": False}, {"center": False}, {"axis": 3}])
def test_each_layer_that_can_take_it(before, norm):
    inputs = keras.Input((8, 8, 4))
    before = type(before).from_config(before.get_config())
    x = layers.BatchNormalization(**norm)(before(inputs))
    model = keras.Model(inputs, layers.Flatten()(layers.ReLU()(x)))
    assert norms(assert_folds(model)) == []


def test_series_and_volumes():
    series = [keras.Input((9, 2)), layers.Conv1D(3, 2), layers.BatchNormalization()]
    volume = [keras.Input((4, 4, 4, 2)), layers.Conv3D(3, 2), layers.BatchNormalization()]
    for stack in (series, volume):
        assert norms(assert_folds(keras.Sequential([*stack, layers.Flatten()]))) == []


def after_an_activation(inputs):
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(inputs))


def output_used_twice(inputs):
    x = layers.Conv2D(4, 3)(inputs)
    return layers.Add()([layers.BatchNormalization()(x), x])


def convolution_called_twice(inputs):
    convolution = layers.Conv2D(3, 3, padding="same")
    x = layers.BatchNormalization()(convolution(inputs))
    return convolution(x)


def norm_called_twice(inputs):
    norm = layers.BatchNormalization()
    left, right = (norm(layers.Conv2D(4, 3)(inputs)) for _ in range(2))
    return layers.Add()([left, right])


def along_another_axis(inputs):
    return layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(inputs))


def after_the_input(inputs):
    return layers.Conv2D(4, 3)(layers.BatchNormalization()(inputs))


def on_batch_statistics(inputs):
    return layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs), training=True)


@pytest.mark.parametrize(
    "graph",
    [
        after_an_activation,
        output_used_twice,
        convolution_called_twice,
        norm_called_twice,
        along_another_axis,
        after_the_input,
        on_batch_statistics,
    ],
    ids=lambda graph: graph.__name__,
)
def test_what_can_not_be_folded_stays(graph):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Flatten()(graph(inputs)))
    assert norms(assert_folds(model)) == norms(model)


def test_a_convolution_whose_output_is_the_models_too_stays():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(inputs)
    model = keras.Model(inputs, [x, layers.BatchNormalization()(x)])
    assert len(norms(dlth.fold_batch_norm(model))) == 1


def test_zeros_stay_zeros():
    model = models.randomized(
        build_network("resnet20", input_shape=(8, 8, 3), classes=10)
    )
    dlth.random_ticket(model, 0.9, seed=0).apply(model)
    folded = dlth.fold_batch_norm(model)
    for name, kernel in dlth.maskable_kernels(model).items():
        now = keras.ops.convert_to_numpy(dlth.maskable_kernels(folded)[name])
        np.testing.assert_array_equal(now == 0, keras.ops.convert_to_numpy(kernel) == 0)


def test_the_model_itself_stays_as_it_was():
    model = models.randomized(models.residual())
    before, layer_names = models.outputs(model), [layer.name for layer in model.layers]
    dlth.fold_batch_norm(model)
    np.testing.assert_array_equal(models.outputs(model), before)
    assert [layer.name for layer in model.layers] == layer_names


def test_a_function_of_ones_own_is_kept():
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    x = layers.Lambda(lambda tensor: 2 * tensor)(x)
    assert norms(assert_folds(keras.Model(inputs, layers.Flatten()(x)))) == []


def test_a_model_without_a_graph_is_refused():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match=r"functional model.*Received: 'mine', a Mine"):
        dlth.fold_batch_norm(Mine(name="mine"))


def test_a_folded_model_can_be_saved(tmp_path):
    folded = dlth.fold_batch_norm(models.randomized(models.residual()))
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(models.outputs(loaded), models.outputs(folded))
