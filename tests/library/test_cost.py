"""Parameters and multiply-adds against numbers worked out by hand."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from official.modeling.networks import build_network
from tests.library import channel_models as models


def test_resnet20_for_cifar():
    model = build_network("resnet20", input_shape=(32, 32, 3), classes=10)
    cost = dlth.layer_costs(model)
    stem = 9 * 3 * 16 * 32 * 32
    stage1 = 6 * 9 * 16 * 16 * 32 * 32
    stage2 = 9 * 16 * 32 * 16 * 16 + 5 * 9 * 32 * 32 * 16 * 16
    stage3 = 9 * 32 * 64 * 8 * 8 + 5 * 9 * 64 * 64 * 8 * 8
    assert cost.multiply_adds == stem + stage1 + stage2 + stage3 + 640 == 40_551_040
    assert cost.kept_multiply_adds == cost.multiply_adds
    assert cost.parameters == model.count_params() == 271_098


INPUTS = {1: (8,), 2: (9, 4), 3: (9, 9, 4), 4: (5, 9, 9, 4)}


@pytest.mark.parametrize(
    ("layer", "rank", "parameters", "multiply_adds"),
    [
        (layers.Dense(5), 1, 8 * 5 + 5, 8 * 5),
        (layers.Dense(5), 2, 4 * 5 + 5, 9 * 4 * 5),
        (layers.Conv1D(5, 3), 2, 3 * 4 * 5 + 5, 7 * 3 * 4 * 5),
        (layers.Conv2D(6, 3, use_bias=False), 3, 9 * 4 * 6, 49 * 9 * 4 * 6),
        (layers.Conv2D(6, 3, 2, "same"), 3, 9 * 4 * 6 + 6, 25 * 9 * 4 * 6),
        (layers.Conv2D(6, 3, groups=2), 3, 9 * 2 * 6 + 6, 49 * 9 * 2 * 6),
        (
            layers.Conv2D(6, 3, data_format="channels_first"),
            *(3, 9 * 9 * 6 + 6, 7 * 2 * 9 * 9 * 6),
        ),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 3, 9 * 8 + 8, 49 * 9 * 8),
        (layers.SeparableConv2D(6, 3), 3, 36 + 24 + 6, 49 * (36 + 24)),
        (layers.Conv2DTranspose(6, 3, strides=2), 3, 9 * 24 + 6, 81 * 9 * 24),
        (layers.EinsumDense("abc,cd->abd", (9, 7)), 2, 28, 9 * 28),
        (layers.EinsumDense("abc,bcd->abd", (9, 7)), 2, 9 * 28, 9 * 28),
        (layers.SimpleRNN(5), 2, 20 + 25 + 5, 9 * (20 + 25)),
        (layers.LSTM(5), 2, 4 * (20 + 25 + 5), 9 * 4 * (20 + 25)),
        (layers.GRU(5, return_sequences=True), 2, 3 * (45 + 10), 9 * 3 * 45),
        (layers.Bidirectional(layers.LSTM(5)), 2, 2 * 4 * 50, 2 * 9 * 4 * 45),
        (
            layers.RNN([layers.LSTMCell(5), layers.GRUCell(3, reset_after=False)]),
            *(2, 4 * 50 + 3 * (15 + 9 + 3), 9 * (4 * 45 + 3 * 24)),
        ),
        (layers.ConvLSTM2D(3, 3), 4, 12 * (36 + 27 + 1), 5 * 49 * 12 * (36 + 27)),
        (
            layers.ConvLSTM1D(3, 3, return_sequences=True, padding="same"),
            *(3, 12 * (12 + 9 + 1), 9 * 9 * 12 * (12 + 9)),
        ),
        (layers.Embedding(7, 5), 1, 35, 0),
        (layers.ReversibleEmbedding(7, 5), 1, 35, 0),
        (layers.BatchNormalization(), 3, 16, 0),
        (layers.GlobalAveragePooling2D(), 3, 0, 0),
    ],
)
def test_one_layer(layer, rank, parameters, multiply_adds):
    model = keras.Sequential([keras.Input(INPUTS[rank]), layer])
    (cost,) = dlth.layer_costs(model).layers
    assert (cost.parameters, cost.multiply_adds) == (parameters, multiply_adds)
    assert cost.type == type(layer).__name__
    assert cost.output_shape == model.output_shape[1:]


@pytest.mark.every_backend
def test_a_ticket_leaves_so_many_multiply_adds():
    inputs = keras.Input((4, 4, 3))
    x = models.of(inputs, layers.Conv2D(8, 3, name="conv"), layers.BatchNormalization())
    model = keras.Model(
        inputs, models.of(x, layers.Flatten(), layers.Dense(2, name="out"))
    )
    ticket = dlth.random_ticket(model, {"conv": 0.5}, seed=0, unit="filter")
    conv, norm, _, out = dlth.layer_costs(model, ticket).layers
    assert (conv.kept_multiply_adds, conv.multiply_adds) == (4 * 27 * 4, 4 * 27 * 8)
    assert (conv.kept_parameters, conv.parameters) == (27 * 4 + 4, 27 * 8 + 8)
    assert (norm.kept_parameters, norm.parameters) == (32 - 8, 32)
    assert out.kept_multiply_adds == out.multiply_adds == 32 * 2
    shrunken = dlth.layer_costs(dlth.shrink(model, ticket))
    assert shrunken.multiply_adds == 4 * 27 * 4 + 16 * 2


def test_single_weights_under_a_mask():
    model = keras.Sequential([keras.Input((5, 10)), layers.Dense(4)])
    cost = dlth.layer_costs(model, dlth.random_ticket(model, 0.75, seed=0))
    assert (cost.kept_multiply_adds, cost.multiply_adds) == (5 * 10, 5 * 40)
    assert (cost.kept_parameters, cost.parameters) == (14, 44)


@pytest.mark.every_backend
def test_recurrent_weights_under_a_mask():
    model = keras.Sequential([keras.Input((5, 10)), layers.LSTM(4), layers.Dense(2)])
    ticket = dlth.random_ticket(model, {"lstm/*": 0.75}, seed=0)
    cost = dlth.layer_costs(model, ticket).layers[0]
    assert (cost.kept_multiply_adds, cost.multiply_adds) == (5 * 56, 5 * 224)
    assert (cost.kept_parameters, cost.parameters) == (56 + 16, 224 + 16)


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_multiplies_on_the_way_back_alone(tied):
    words = layers.ReversibleEmbedding(7, 5, tie_weights=tied, name="words")
    tokens = keras.Input((9,))
    model = keras.Model(tokens, words(layers.Dense(5)(words(tokens)), reverse=True))
    ticket = dlth.random_ticket(model, {"words*": 0.6}, seed=0)
    cost = next(c for c in dlth.layer_costs(model, ticket).layers if c.name == "words")
    assert (cost.kept_multiply_adds, cost.multiply_adds) == (9 * 14, 9 * 35)
    assert cost.parameters == (35 if tied else 70)


@pytest.mark.every_backend
def test_an_attention_costs_what_its_projections_do():
    x, others = keras.Input((5, 6)), keras.Input((7, 6))
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    model = keras.Model([x, others], attention(x, others))
    ticket = dlth.random_ticket(model, {"attention/key": 0.5}, seed=0)
    cost = dlth.layer_costs(model, ticket)
    found = {layer.name: layer.multiply_adds for layer in cost.layers if layer.parameters}
    assert found == {
        "attention/query": 5 * 6 * 6,
        "attention/key": 7 * 6 * 6,
        "attention/value": 7 * 6 * 6,
        "attention/attention_output": 5 * 6 * 6,
    }
    assert cost.multiply_adds - cost.kept_multiply_adds == 7 * 18
    assert cost.parameters == model.count_params()


class Windows(layers.Layer):
    """Takes the halves of a sequence for examples of their own, twice."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        for _ in "ab":
            x = self.dense(keras.ops.reshape(x, (-1, 3, 4)))
        return keras.ops.reshape(x, (-1, 6, 4))


def test_layers_within_a_layer_cost_at_every_use_and_position():
    model = keras.Sequential([keras.Input((6, 4)), Windows()])
    assert dlth.layer_costs(model).multiply_adds == 2 * 6 * 4 * 4
    assert dlth.layer_costs(model).parameters == 20


def test_a_free_number_of_time_steps_is_refused():
    model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)])
    with pytest.raises(ValueError, match=r"layer 'lstm' depend on .*\(None, None, 3\)"):
        dlth.layer_costs(model)


def test_a_shared_layer_costs_at_every_use_but_has_its_parameters_once():
    model = models.shared()
    dense, *_ = (c for c in dlth.layer_costs(model).layers if c.parameters == 5 * 6 + 6)
    assert dense.multiply_adds == 2 * 5 * 6
    assert dlth.layer_costs(model).parameters == model.count_params()


def test_a_nested_model_of_free_size_is_counted_at_the_size_it_is_used():
    model = models.nested()
    costs = {cost.name: cost for cost in dlth.layer_costs(model).layers}
    assert costs["inner/conv2d"].multiply_adds == 2 * 36 * 6 * 6
    assert costs["sequential/conv2d"].output_shape == (6, 6, 6)
    assert sum(c.parameters for c in costs.values()) == model.count_params()


def test_a_free_size_is_refused():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match=r"layer 'conv2d' depend on the size .*None"):
        dlth.layer_costs(model)


def test_sums_are_those_of_the_layers():
    model = models.residual()
    cost = dlth.layer_costs(model)
    assert cost.parameters == sum(np.prod(v.shape) for v in model.weights)
    assert cost.multiply_adds == sum(layer.multiply_adds for layer in cost.layers)
