"""What `keras_internals` relies on, by name: a new Keras that changes it fails here."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications import convnext, inception_resnet_v2

from dlth_tf import keras_internals
from tests.library import channel_models

pytestmark = pytest.mark.every_backend


def test_layers_list_what_is_within_them():
    dropout = layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), dropout])
    assert [layer for layer in model._layers if layer is not model._functional][-1:] == [
        dropout
    ]
    normalization = model.layers[0]
    assert normalization._trainable_variables == normalization.trainable_variables
    assert normalization._non_trainable_variables == normalization.non_trainable_variables
    assert [type(g) for g in dropout._seed_generators] == [keras.random.SeedGenerator]
    assert keras_internals.own_variables(dropout) == [dropout._seed_generators[0].state]


def test_functional_models_keep_their_graph():
    x = keras.Input((3,), name="numbers")
    model = keras.Model(x, layers.Dense(2, name="dense")(x))
    assert x._keras_history.operation.name == "numbers"
    assert sorted(model._nodes_by_depth) == [0, 1]
    (node,) = keras_internals.nodes(model)
    assert node.operation.name == "dense" and not node.is_input
    assert node.arguments.fill_in({id(x): "value"}) == (("value",), {})
    assert node.outputs == model.outputs


def test_sequential_models_hold_a_functional_one():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert hasattr(model._functional, "_nodes_by_depth")
    assert keras_internals.functional_graph(layers.Dense(2)) is None


def test_layers_of_applications_let_channels_pass():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(6, 1)(inputs)
    scale, depth = convnext.LayerScale(0.5, 6), convnext.StochasticDepth(0.1)
    y = depth(scale(layers.Conv2D(6, 1)(x)))
    add = inception_resnet_v2.CustomScaleLayer(0.2)
    assert all(map(keras_internals.is_of_applications, (scale, depth, add)))
    x = layers.Dense(2)(layers.Flatten()(add([x, y])))
    small = channel_models.assert_shrinks(keras.Model(inputs, x))
    assert [s.projection_dim for s in small.layers if s.name == scale.name] == [3]


def test_recurrent_convolutions_have_a_cell_of_one_class():
    assert isinstance(layers.ConvLSTM2D(2, 3).cell, keras_internals.ConvLSTMCell)


def test_float64_is_narrowed_by_a_table():
    def result():
        return keras.backend.result_type("float64", "float32")

    narrowed = result()
    assert keras_internals.dtypes.BIT64_TO_BIT32_DTYPE["float64"] == narrowed
    with keras_internals.float64_kept():
        assert result() == "float64"
    assert result() == narrowed


def test_optimizers_hold_their_variables_by_place():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    optimizer = keras.optimizers.SGD(
        momentum=0.9, use_ema=True, gradient_accumulation_steps=2
    )
    optimizer.build(model.trainable_variables)
    bias = model.layers[0].bias
    assert optimizer._trainable_variables == model.trainable_variables
    assert optimizer._get_variable_index(bias) == 1
    assert keras_internals.moving_average(optimizer, bias).shape == bias.shape
    assert keras_internals.gathered_gradient(optimizer, bias).shape == bias.shape
    held = {id(variable) for variable in optimizer._variables}
    assert id(optimizer._model_variables_moving_average[1]) in held
    assert id(optimizer._accumulated_gradients[1]) in held
    assert keras_internals.slots(optimizer, bias) == [optimizer.momentums[1]]
    before = int(keras.ops.convert_to_numpy(optimizer._iterations))
    keras_internals.pass_over_a_step(optimizer)
    assert int(keras.ops.convert_to_numpy(optimizer._iterations)) == before + 1


def test_loss_scaling_holds_the_optimizer():
    inner = keras.optimizers.SGD()
    scaled = keras.optimizers.LossScaleOptimizer(inner)
    assert keras_internals.innermost(scaled) is inner
    assert keras_internals.innermost(inner) is inner


def test_optimizers_made_of_others_share_the_variables_out():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    adam, sgd = keras.optimizers.Adam(), keras.optimizers.SGD()
    both = keras.optimizers.MultiOptimizer(lambda v: sgd if "bias" in v.path else adam)
    both.build(model.trainable_variables)
    kernel, bias = model.trainable_variables
    assert keras_internals.optimizer_of(both, kernel) is adam
    assert keras_internals.optimizer_of(both, bias) is sgd
    assert keras_internals.optimizer_of(sgd, kernel) is sgd


def test_a_layout_is_none_without_a_distribution():
    variable = keras.Variable(np.zeros(2))
    assert keras_internals.layout(variable) is None
    assert keras_internals.layout(None) is None
