"""Heads and hidden units are removed as a whole, also of layers that state their own."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import dlth_tf as dlth
from tests.library import channel_models as models

ATTENTIONS = {
    "heads": lambda: layers.MultiHeadAttention(4, 5),
    "gated": lambda: layers.MultiHeadAttention(4, 5, use_gate=True),
    "groups": lambda: layers.GroupQueryAttention(5, 8, 4),
    "one_key": lambda: layers.GroupQueryAttention(5, 8, 1, use_bias=False),
}


def encoder(attention) -> keras.Model:
    inputs = keras.Input((6, 16))
    x = layers.LayerNormalization()(inputs)
    x = inputs + attention(x, x)
    y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.LayerNormalization()(x + layers.Dense(16)(y))
    return keras.Model(inputs, models.of(x, layers.Flatten(), layers.Dense(3)))


def masks_of(model, layer: str) -> dict:
    masks = dlth.random_ticket(model, 0.5, seed=0, unit="filter").masks
    return {n.removeprefix(layer): m for n, m in masks.items() if n.startswith(layer)}


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_half_of_the_heads_and_hidden_units_go(kind, tmp_path):
    model = encoder(ATTENTIONS[kind]())
    small = models.assert_shrinks(model)
    config = small.layers[2].get_config()
    heads = {name: config[name] for name in config if name.startswith("num_")}
    assert (
        heads
        == {
            "heads": {"num_heads": 2},
            "gated": {"num_heads": 2},
            "groups": {"num_query_heads": 4, "num_key_value_heads": 2},
            "one_key": {"num_query_heads": 4, "num_key_value_heads": 1},
        }[kind]
    )
    assert [x.units for x in small.layers if isinstance(x, layers.Dense)] == [16, 16, 3]
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(models.outputs(loaded), models.outputs(small))


def test_a_head_is_all_its_columns_with_their_biases_and_its_output():
    model = encoder(ATTENTIONS["heads"]())
    masks = masks_of(model, "multi_head_attention/")
    removed = ~masks["value/bias"].any(axis=1)
    assert removed.sum() == 2
    for name in ("query", "key", "value"):
        np.testing.assert_array_equal(~masks[name].any(axis=(0, 2)), removed)
        assert masks[name].mean() == masks[f"{name}/bias"].mean() == 0.5
    assert not masks["attention_output"][removed].any()
    assert masks["attention_output"][~removed].all()
    assert "attention_output/bias" not in masks


def test_hidden_units_are_rounded_and_heads_are_not():
    model = encoder(ATTENTIONS["heads"]())
    ticket = dlth.random_ticket(model, 0.4, seed=0, unit="filter", round_to=16)
    small = dlth.shrink(model, ticket)
    assert small.layers[2].num_heads == 2  # of 4 the ceiling of 1.6 is removed
    # 0.6 of 32 is 19.2: 16 is nearer than 32.
    assert [x.units for x in small.layers if isinstance(x, layers.Dense)] == [16, 16, 3]


def test_a_head_of_keys_goes_with_its_queries():
    masks = masks_of(encoder(ATTENTIONS["groups"]()), "grouped_query_attention/")
    keys, queries = (masks[name].any(axis=(0, 2)) for name in ("key", "query"))
    np.testing.assert_array_equal(np.repeat(keys, 2), queries)
    assert keys.sum() == 2


def test_biases_of_heads_are_no_kernels():
    ticket = dlth.random_ticket(encoder(ATTENTIONS["heads"]()), 0.5, 0, unit="filter")
    counted = ticket.sparsity_per_kernel()
    assert "multi_head_attention/value/bias" in ticket.masks
    assert list(counted) == list(dlth.maskable_kernels(encoder(ATTENTIONS["heads"]())))


def test_magnitude_keeps_the_heads_of_the_largest_sum():
    attention = layers.MultiHeadAttention(4, 5)
    model = encoder(attention)
    for part in layers_of(attention):
        part.kernel.assign(ops.ones_like(part.kernel))
    value = np.ones((16, 4, 5))
    value[:, 2] = 0.1
    layers_of(attention)[2].kernel.assign(value)
    ticket = dlth.magnitude_ticket(model, 0.25, unit="filter")
    kept = ticket.masks["multi_head_attention/attention_output"].any(axis=(1, 2))
    assert kept.tolist() == [True, True, False, True]


def layers_of(attention) -> list:
    names = ("query_dense", "key_dense", "value_dense", "output_dense")
    return [getattr(attention, name) for name in names]


def test_attention_whose_scores_are_used_is_left_whole():
    inputs = keras.Input((6, 16))
    attended, scores = layers.MultiHeadAttention(4, 5)(
        inputs, inputs, return_attention_scores=True
    )
    x = layers.Dense(8)(layers.Dense(8)(attended))
    model = keras.Model(inputs, [x, scores])
    whole = dlth.channel_groups(model).whole
    assert whole["multi_head_attention/query"].endswith("it has several outputs")
    assert len(dlth.channel_groups(model).groups) == 1


def test_a_ticket_of_another_number_of_heads_is_refused():
    ticket = dlth.random_ticket(encoder(ATTENTIONS["heads"]()), 0.5, 0, unit="filter")
    other = encoder(layers.MultiHeadAttention(2, 10))
    with pytest.raises(
        ValueError, match=r"query' has shape \(16, 2, 10\), its mask \(16"
    ):
        dlth.shrink(other, ticket)


@keras.saving.register_keras_serializable("tests")
class GatedMLP(layers.Layer):
    """Several gated MLPs, whose hidden units one argument counts."""

    def __init__(self, hidden, count=1, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.count = hidden, count
        self.up = [layers.Dense(hidden, name=f"up{i}") for i in range(count)]
        self.gate = [layers.Dense(2 * hidden, name=f"gate{i}") for i in range(count)]

    def build(self, shape):
        for layer in (*self.up, *self.gate):
            layer.build(shape)
        shapes = [(self.hidden, shape[-1])] * self.count
        self.down = [
            self.add_weight(shape=s, name=f"down{i}") for i, s in enumerate(shapes)
        ]

    def call(self, x):
        for up, gate, down in zip(self.up, self.gate, self.down, strict=True):
            gates = ops.reshape(ops.sigmoid(gate(x)), (*x.shape[:-1], self.hidden, 2))
            x = x + ops.matmul(up(x) * ops.sum(gates, -1), down)
        return x

    def get_config(self):
        return super().get_config() | {"hidden": self.hidden, "count": self.count}

    def get_channel_couplings(self):
        return [
            (
                "hidden",
                [
                    *((up.kernel, -1), (up.bias, 0), (down, 0)),
                    *((gate.kernel, -1), (gate.bias, 0)),
                ],
            )
            for up, gate, down in zip(self.up, self.gate, self.down, strict=True)
        ]


@keras.saving.register_keras_serializable("tests")
class Scale(layers.Layer):
    def build(self, shape):
        self.gamma = self.add_weight(shape=shape[-1:], name="gamma")

    def call(self, x):
        return x * self.gamma

    def get_channel_couplings(self):
        return [((), ["channels", (self.gamma, 0)])]


def with_own(*own, batch=4) -> keras.Model:
    inputs = keras.Input(batch_shape=(batch, 8))
    return keras.Model(inputs, models.of(inputs, *own, layers.Dense(3)))


@pytest.mark.every_backend
def test_an_own_layer_states_its_hidden_units(tmp_path):
    model = with_own(GatedMLP(6), batch=2)
    small = models.assert_shrinks(model)
    assert small.layers[1].hidden == 3
    assert small.layers[1].gate[0].units == 6
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(models.outputs(loaded), models.outputs(small))


def test_a_number_that_counts_several_rows_is_that_of_the_longest():
    model = models.randomized(with_own(GatedMLP(6, count=2), batch=2))
    sparsity = {"*/up0": 0.9, "*/gate0": 0.9, "*1": 0.5}
    ticket = dlth.random_ticket(model, sparsity, seed=0, unit="filter")
    small = dlth.shrink(model, ticket)
    ticket.apply(model)
    assert small.layers[1].hidden == 3
    np.testing.assert_allclose(models.outputs(small), models.outputs(model), atol=1e-6)


class Wide(layers.Layer):
    """Two MLPs of different width, whose hidden units one ratio counts."""

    def __init__(self, ratio, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio
        self.into = [layers.Dense(int(n * ratio), "relu") for n in (24, 96)]
        self.out = [layers.Dense(8) for _ in range(2)]

    def build(self, shape):
        for into, out in zip(self.into, self.out, strict=True):
            into.build(shape)
            out.build((None, into.units))

    def call(self, x):
        for into, out in zip(self.into, self.out, strict=True):
            x = x + out(into(x))
        return x

    def get_config(self):
        return super().get_config() | {"ratio": self.ratio}

    def get_channel_couplings(self):
        return [
            ("ratio", [(into.kernel, 1), (into.bias, 0), (out.kernel, 0)])
            for into, out in zip(self.into, self.out, strict=True)
        ]


@pytest.mark.parametrize("sparsity", [1 / 6, 0.3, 0.5, 0.8])
def test_a_ratio_counts_hidden_units(sparsity):
    model = models.randomized(with_own(Wide(1 / 3), batch=2))
    by_name = {"*/dense": sparsity, "*2": sparsity, "*1": 0.9, "*3": 0.9}
    ticket = dlth.random_ticket(model, by_name, seed=0, unit="filter")
    small = dlth.shrink(model, ticket)
    ticket.apply(model)
    np.testing.assert_allclose(models.outputs(small), models.outputs(model), atol=1e-6)
    narrow, wide = (layer.units for layer in small.layers[1].into)
    assert (narrow, wide) == (8 - int(np.ceil(sparsity * 8)), 4 * narrow)


def test_an_own_layer_used_twice():
    own = GatedMLP(6)
    small = models.assert_shrinks(with_own(own, layers.Activation("tanh"), own, batch=2))
    assert small.layers[1].hidden == 3


def test_an_own_layer_lets_channels_pass():
    model = with_own(layers.Dense(6), Scale(), layers.ReLU(), batch=2)
    small = models.assert_shrinks(model)
    assert [layer.units for layer in small.layers[1::3]] == [3, 3]
    assert small.layers[2].gamma.shape == (3,)


class Stating(GatedMLP):
    said = None

    def get_channel_couplings(self):
        return self.said(self)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda own: ["hidden"], r"pairs: .* Received: 'hidden'"),
        (lambda own: [("hidden", [own.down[0]])], "must return pairs"),
        (lambda own: [("hidden", [(own.down[0], 2)])], "must return pairs"),
        (lambda own: [("hidden", ["heads"])], "must return pairs"),
        (lambda own: [((), [])], "must return pairs"),
        (
            lambda own: [("heads", [(own.down[0], 0)])],
            "Received: 'heads', there 'missing'",
        ),
        (
            lambda own: [("hidden", [(keras.Variable(np.ones((6, 2))), 0)])],
            "must name variables of the layer. Received: 'variable",
        ),
        (
            lambda own: [("hidden", [(own.down[0], 1)])],
            "equal parts for 6 units. Received: 8 of axis 1 of stating/down0",
        ),
    ],
)
def test_what_is_stated_wrongly_is_named(said, message):
    own = Stating(6, name="stating")
    own.said = lambda layer: said(layer)
    with pytest.raises(ValueError, match=message) as raised:
        dlth.channel_groups(with_own(own))
    assert "`get_channel_couplings` of layer 'stating'" in str(raised.value)
    assert "\n" not in str(raised.value)
