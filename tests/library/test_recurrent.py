"""Recurrent layers: both their kernels are masked, under names that do not change."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from tests.library import channel_models
from tests.library.test_fixed_ticket import assert_zeros

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6, 8)).astype("float32")
Y = RNG.normal(size=(32, 4)).astype("float32")


def lstm() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 8)), layers.LSTM(32), layers.Dense(4)])


def of(*some) -> keras.Model:
    return keras.Sequential([keras.Input((6, 8)), *some])


def both(name: str) -> list[str]:
    return [f"{name}/kernel", f"{name}/recurrent_kernel"]


@pytest.mark.every_backend
def test_an_lstm_is_masked_and_its_zeros_stay():
    model = lstm()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    assert ticket.sparsity == pytest.approx(0.9, abs=0.001)
    removed = sum(np.count_nonzero(~mask) for mask in ticket.masks.values())
    assert removed > 0.87 * model.count_params()
    model.compile("adam", "mse")
    callbacks = [dlth.FixedTicket(ticket)]
    model.fit(X, Y, batch_size=16, epochs=2, callbacks=callbacks, verbose=0)
    assert_zeros(model, ticket)


@pytest.mark.every_backend
def test_a_transformation_takes_recurrent_weights_to_zero():
    model = lstm()
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    ((kernel, mask),) = ((k, m) for n, k, m in ticket.pairs(model) if "recurrent" in n)
    before = np.abs(keras.ops.convert_to_numpy(kernel))[~mask].mean()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    growing = dlth.RandomSparseTransformation(ticket, growth=0.5, every=1, bound=4.0)
    model.fit(X, Y, batch_size=8, epochs=4, callbacks=[growing], verbose=0)
    assert np.abs(keras.ops.convert_to_numpy(kernel))[~mask].mean() < 0.05 * before


NAMES = {
    "lstm": (lambda: layers.LSTM(2), both("lstm")),
    "gru": (lambda: layers.GRU(2), both("gru")),
    "simple_rnn": (lambda: layers.SimpleRNN(2), both("simple_rnn")),
    "named": (lambda: layers.LSTM(2, name="memory"), both("memory")),
    "cell": (lambda: layers.RNN(layers.GRUCell(2)), both("rnn")),
    "bidirectional": (
        lambda: layers.Bidirectional(layers.LSTM(2)),
        both("bidirectional/forward_lstm") + both("bidirectional/backward_lstm"),
    ),
    "stacked": (
        lambda: layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)]),
        both("rnn/stacked_rnn_cells/lstm_cell")
        + both("rnn/stacked_rnn_cells/lstm_cell_1"),
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_do_not_follow_keras_counters(kind, tmp_path):
    build, expected = NAMES[kind]
    for _ in range(2):
        model = of(build())
        assert list(dlth.maskable_kernels(model)) == expected
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert list(dlth.maskable_kernels(loaded)) == expected


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutional_lstms(rank):
    layer = getattr(layers, f"ConvLSTM{rank}D")(2, 3)
    model = keras.Sequential([keras.Input((3, *[4] * rank, 5)), layer])
    shapes = {n: tuple(k.shape) for n, k in dlth.maskable_kernels(model).items()}
    kernel, recurrent = both(f"conv_lstm{rank}d")
    assert shapes == {kernel: (*[3] * rank, 5, 8), recurrent: (*[3] * rank, 2, 8)}


def test_groups_of_n_to_m_lie_along_inputs_and_states():
    ticket = dlth.random_ticket(of(layers.GRU(4)), 0.5, seed=0, unit="2:4")
    for mask in ticket.masks.values():
        assert (mask.reshape(-1, 4, mask.shape[-1]).sum(axis=1) == 2).all()


@pytest.mark.parametrize("wrapper", [lambda layer: layer, layers.Bidirectional])
def test_filter_tickets_leave_recurrent_kernels_whole(wrapper, caplog):
    model = of(
        layers.Conv1D(6, 2, activation="relu"),
        layers.Conv1D(6, 2, activation="relu"),
        wrapper(layers.LSTM(5)),
        layers.Dense(6, activation="relu"),
        layers.Dense(3),
    )
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    assert "'conv1d_1': layer 'lstm" in caplog.text or "bidirectional" in caplog.text
    assert {n for n, s in ticket.sparsity_per_kernel().items() if s} == {
        "conv1d",
        "dense",
    }
    small = channel_models.assert_shrinks(model)
    assert small.layers[0].filters == small.layers[3].units == 3
    single = dlth.random_ticket(model, 0.5, seed=0)
    shrunken = dlth.shrink(model, single)
    single.apply(model)
    np.testing.assert_allclose(
        shrunken.predict_on_batch(X), model.predict_on_batch(X), atol=1e-6
    )


@pytest.mark.every_backend
def test_saliency():
    model = of(layers.LSTM(4), layers.Dense(4))
    for ticket in (
        dlth.snip_ticket(model, dlth.Global(0.5), X, Y, "mse"),
        dlth.synflow_ticket(model, dlth.Global(0.5), rounds=2),
    ):
        assert ticket.sparsity == pytest.approx(0.5, abs=0.01)
        assert list(ticket.masks) == [*both("lstm"), "dense"]


def test_synaptic_flow_refuses_what_does_not_grow_with_the_weights():
    with pytest.raises(ValueError, match=r"grow with .*the GRU 'gru/gru_cell'"):
        dlth.synflow_ticket(of(layers.GRU(4), layers.Dense(2)), 0.5)


@pytest.mark.parametrize("kind", [dlth.ErdosRenyi, dlth.ErdosRenyiKernel])
def test_erdos_renyi_takes_the_gates_as_one_matrix(kind):
    ticket = dlth.random_ticket(of(layers.LSTM(16)), kind(0.9), seed=0)
    kernel, recurrent = (np.count_nonzero(m) for m in ticket.masks.values())
    assert kernel + recurrent == 8 * 64 + 16 * 64 - 1383
    assert kernel / recurrent == pytest.approx((8 + 64) / (16 + 64), rel=0.03)


@pytest.mark.every_backend
def test_saved_and_loaded(tmp_path):
    model = lstm()
    ticket = dlth.magnitude_ticket(model, 0.9)
    dlth.save(tmp_path / "model", model, ticket)
    other = lstm()
    loaded = dlth.load(tmp_path / "model", other)
    ticket.apply(model)
    np.testing.assert_array_equal(other.predict_on_batch(X), model.predict_on_batch(X))
    for name, mask in ticket.masks.items():
        np.testing.assert_array_equal(loaded.masks[name], mask)
