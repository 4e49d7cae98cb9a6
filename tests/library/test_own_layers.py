"""Layers of one's own, and embeddings: masked on request."""

import logging

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from dlth_tf.network.variables import get_weights, set_weights
from tests.library.models import X, fit
from tests.library.test_fixed_ticket import assert_zeros

TOKENS = np.random.default_rng(0).integers(0, 10, (32, 6))
CLASSES = np.random.default_rng(1).integers(0, 4, 32)


class Bilinear(layers.Layer):
    """Two weights of its own, only the first one prunable, and a Dense layer below."""

    def __init__(self, units=6, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units)

    def build(self, shape):
        self.left = self.add_weight(shape=(shape[-1], self.units))
        self.right = self.add_weight(shape=(shape[-1], self.units), name="right")
        self.inner.build((None, self.units))

    def call(self, x):
        return self.inner((x @ self.left) * (x @ self.right))

    def get_prunable_weights(self):
        return [self.left]


class DenseWithBias(layers.Dense):
    def get_prunable_weights(self):
        return [self.kernel, self.bias]


class NeverPruned(layers.Dense):
    def get_prunable_weights(self):
        return []


class Refusing(layers.Dense):
    def get_prunable_weights(self):
        return ["kernel"]


def names(model, **options) -> list[str]:
    return list(dlth.maskable_kernels(model, **options))


def of(*some, inputs=12) -> keras.Model:
    return keras.Sequential([keras.Input((inputs,)), *some])


def text(mask_zero=False) -> keras.Model:
    keras.utils.set_random_seed(0)
    words = layers.Embedding(10, 8, mask_zero=mask_zero, name="words")
    return keras.Sequential(
        [keras.Input((6,), dtype="int32"), words, layers.LSTM(4), layers.Dense(4)]
    )


@pytest.mark.every_backend
def test_a_layer_of_ones_own_is_masked_and_its_zeros_stay():
    model = of(Bilinear(), layers.Dense(3))
    ticket = dlth.random_ticket(model, 0.75, seed=0)
    assert list(ticket.masks) == ["bilinear/variable", "bilinear/dense", "dense"]
    model.compile("adam", "mse")
    fit(model, dlth.FixedTicket(ticket))
    assert_zeros(model, ticket)
    assert np.all(model.layers[0].right)


def test_the_method_decides_for_its_layer():
    model = of(DenseWithBias(6), NeverPruned(6), layers.Dense(3))
    assert names(model) == ["dense_with_bias/kernel", "dense_with_bias/bias", "dense"]
    ticket = dlth.random_ticket(model, dlth.ErdosRenyi(0.5), seed=0)
    assert np.count_nonzero(ticket.masks["dense_with_bias/bias"]) == 6
    with pytest.raises(ValueError, match="'dense_with_bias/kernel', shape"):
        dlth.random_ticket(model, 0.5, seed=0, unit="2:4")


def test_a_model_of_ones_own_has_the_method_too():
    class Linear(keras.Model):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3), name="w")

        def call(self, x):
            return x @ self.w

        def get_prunable_weights(self):
            return [self.w]

    model = Linear()
    model(X)
    assert names(model) == ["w"]
    assert dlth.random_ticket(model, 0.5, seed=0).pairs(model)[0][1] is model.w


def test_filter_tickets_leave_it_whole():
    model = of(layers.Dense(8), layers.Dense(8), DenseWithBias(6), layers.Dense(3))
    whole = dlth.channel_groups(model).whole
    assert "says itself which" in whole["dense_with_bias/kernel"]
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    small = dlth.shrink(model, ticket)
    assert [layer.units for layer in small.layers] == [4, 8, 6, 3]
    ticket.apply(model)
    np.testing.assert_allclose(
        small.predict_on_batch(X), model.predict_on_batch(X), atol=1e-5
    )


def test_what_is_no_variable_is_refused():
    with pytest.raises(ValueError, match=r"layer 'refusing' .* in it: 'kernel'"):
        names(of(Refusing(4)))


def test_tables_are_named_by_a_list():
    with pytest.raises(ValueError, match=r"must be a list of patterns.*'words'"):
        names(text(), tables="words")


def test_weights_without_a_name_have_stable_ones():
    first, second = of(Bilinear()), of(Bilinear())
    assert names(first) == names(second) == ["bilinear/variable", "bilinear/dense"]
    set_weights(second, get_weights(first))
    np.testing.assert_array_equal(second.predict_on_batch(X), first.predict_on_batch(X))


@pytest.mark.parametrize("sparsity", [0.5, {"*": 0.5}, dlth.Global(0.5)])
def test_an_embedding_that_no_pattern_names_is_no_part_of_a_ticket(sparsity):
    model = text()
    ticket = dlth.random_ticket(model, sparsity, seed=0)
    assert list(ticket.masks) == names(model)
    assert "words" not in ticket.masks


@pytest.mark.parametrize(
    "sparsity",
    [
        {"words": 0.75, "*": 0.5},
        {"w*": 0.75, "lstm/*": 0.5, "dense": 0.5},
        dlth.Uniform(0.75, layers=("words", "*")),
    ],
)
def test_an_embedding_that_a_pattern_names_is_masked(sparsity, tmp_path):
    model = text()
    ticket = dlth.random_ticket(model, sparsity, seed=0)
    assert ticket.sparsity_per_kernel()["words"] == 0.75
    assert list(ticket.masks) == names(model, tables=["words"])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(TOKENS, CLASSES, callbacks=[dlth.FixedTicket(ticket)], verbose=0)
    assert_zeros(model, ticket)
    dlth.save(tmp_path / "model", model, ticket)
    assert dlth.load(tmp_path / "model", text()).sparsity == ticket.sparsity


def test_the_other_kernels_do_not_care_whether_an_embedding_is_masked():
    without = dlth.random_ticket(text(), 0.5, seed=0).masks
    ticket = dlth.random_ticket(text(), {"words": 0.5, "*": 0.5}, seed=0)
    for name, mask in without.items():
        np.testing.assert_array_equal(mask, ticket.masks[name])


def test_nested_tickets_keep_what_an_embedding_lost():
    model = text()
    first = dlth.random_ticket(model, {"words": 0.5}, seed=0)
    second = dlth.random_ticket(model, 0.75, seed=0, within=first)
    assert second.sparsity_per_kernel()["words"] == 0.75
    assert not (second.masks["words"] & ~first.masks["words"]).any()
    third = dlth.random_ticket(model, {"words": 0.5, "*": 0.75}, 0, within=without(first))
    assert third.sparsity_per_kernel()["words"] == 0.5


def without(ticket) -> dlth.Ticket:
    return dlth.Ticket({n: mask for n, mask in ticket.masks.items() if n != "words"})


@pytest.mark.every_backend
def test_scores_of_an_embedding():
    model = text()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ticket = dlth.snip_ticket(model, {"words": 0.5}, TOKENS % 5, CLASSES, loss)
    # Words that no example has do not matter to the loss.
    assert ticket.masks["words"][:5].all() and not ticket.masks["words"][5:].any()
    model.layers[0].embeddings.assign(np.arange(80.0).reshape(10, 8))
    ticket = dlth.magnitude_ticket(model, {"words": 0.5})
    assert ticket.masks["words"][5:].all() and not ticket.masks["words"][:5].any()
    with pytest.raises(ValueError, match="names the embedding 'words'"):
        dlth.synflow_ticket(model, {"words": 0.5})
    with pytest.raises(ValueError, match="It has none for 'words'"):
        scores = {n: np.ones(k.shape) for n, k in dlth.maskable_kernels(model).items()}
        dlth.highest_ticket(model, {"words": 0.5}, scores)


def test_whole_units_leave_an_embedding_alone(caplog):
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 8, name="words"),
            layers.Dense(8),
            layers.Dense(4),
        ]
    )
    sparsity = {"words": 0.5, "*": 0.5}
    ticket = dlth.random_ticket(model, sparsity, seed=0, unit="filter")
    assert ticket.sparsity_per_kernel() == {"dense": 0.5, "dense_1": 0, "words": 0}
    assert "'words': layer 'words' is left whole" in caplog.text
    with pytest.raises(ValueError, match=r"'2:4' needs .* of 'words', shape \(10, 8\)"):
        dlth.random_ticket(model, sparsity, seed=0, unit="2:4")


def test_a_second_table_for_the_way_back_has_a_name_of_its_own():
    words = layers.ReversibleEmbedding(10, 8, tie_weights=False)
    tokens = keras.Input((6,), dtype="int32")
    model = keras.Model(tokens, words(layers.Dense(8)(words(tokens)), reverse=True))
    name = "reversible_embedding"
    assert names(model, tables=["*"]) == ["dense", name, f"{name}/reverse_embeddings"]


def test_a_ticket_of_few_of_the_weights_says_so_once(caplog):
    caplog.set_level(logging.WARNING)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(1000, 8),
            layers.Dense(4),
        ],
        name="speech",
    )
    dlth.magnitude_ticket(model, 0.5)
    (record,) = caplog.records
    assert record.getMessage() == (
        "Ticket of model 'speech': 32 of its 8,036 trainable weights can be masked (0%). "
        "Most of the others are of Embedding (8,000), Dense (4)."
    )
    dlth.random_ticket(model, {"embedding": 0.5}, seed=0)
    assert len(caplog.records) == 1
