"""Callbacks take part in every step, whoever makes it, and say so where they can't."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import X, Y, assert_same, compiled, fit, sequential
from tests.library.own_steps import loop, own_step
from tests.library.test_fixed_ticket import assert_zeros

pytestmark = pytest.mark.every_backend


def transformation(ticket, **options):
    options = {"growth": 0.1, "every": 1, "bound": 0.35} | options
    return dlth.RandomSparseTransformation(ticket, **options)


def half_of(model):
    return dlth.random_ticket(model, 0.5, seed=0)


def test_a_train_step_of_ones_own_is_taken_part_in():
    model, twin = compiled(own_step), compiled(own_step)
    ticket = half_of(model)
    history = fit(model, transformation(ticket, growth=1.0, bound=5.0), epochs=6).history
    assert history["removed_magnitude"][-1] < 0.2 * history["kept_magnitude"][-1]
    fit(model, dlth.FixedTicket(ticket))
    assert_zeros(model, ticket)
    fit(twin)


def test_weights_that_another_callback_brings_back_are_noticed():
    class Restore(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].kernel.assign(np.ones((12, 16)))

    model = compiled()
    with pytest.raises(RuntimeError, match=r"'dense': 96 of its 96 removed weights"):
        fit(model, dlth.FixedTicket(half_of(model)), Restore())


def test_a_model_that_is_not_compiled_is_refused():
    model = sequential()
    callback = dlth.FixedTicket(half_of(model))
    with (
        pytest.raises(TypeError, match=r"`FixedTicket` takes part .*`model.compile"),
        dlth.attach(model, [callback]),
    ):
        pass


def test_a_list_of_callbacks_without_a_fit_is_refused():
    model = compiled()
    with pytest.raises(TypeError, match=r"callback for `model.fit`.*dlth_tf.attach"):
        keras.callbacks.CallbackList([dlth.FixedTicket(half_of(model))], model=model)


def test_what_is_no_ticket_is_refused():
    with pytest.raises(TypeError, match=r"Ticket.load\(path\)` reads.*'ticket.xz'"):
        dlth.FixedTicket("ticket.xz")
    with pytest.raises(TypeError, match=r"Ticket.load\(path\)` reads"):
        dlth.RandomSparseTransformation("ticket.xz")


def test_a_frozen_kernel_cannot_be_transformed():
    model = sequential()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Kernel 'dense' is frozen"):
        fit(model, transformation(half_of(model)))
    fit(model, dlth.FixedTicket(half_of(model)))
    assert_zeros(model, half_of(model))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_variables_of_every_type(dtype):
    model = compiled(lambda: sequential(dtype=dtype))
    ticket = half_of(model)
    callbacks = transformation(ticket, growth=1.0, bound=5.0), dlth.CoupledL2(1e-3)
    history = fit(model, *callbacks, epochs=6).history
    assert history["removed_magnitude"][-1] < 0.2 * history["kept_magnitude"][-1]
    fit(model, dlth.FixedTicket(ticket))
    moving = dlth.RigL(ticket, until=5, every=2)
    fit(model, moving)
    assert_zeros(model, moving.ticket)
    assert model.layers[0].kernel.dtype == dtype


def test_an_embedding_is_transformed_and_trained():
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(20, 6, name="words"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.compile("adam", "mse")
    ticket = dlth.random_ticket(model, {"words": 0.5}, seed=0)
    x = np.abs(X[:, :3] * 5).astype("int32") % 20
    pulled = transformation(ticket, growth=1.0, bound=5.0)
    magnitudes = fit(model, pulled, dlth.CoupledL2(1e-3), x=x, epochs=10).history
    assert magnitudes["removed_magnitude"][-1] < magnitudes["removed_magnitude"][0]
    for training in (dlth.FixedTicket(ticket), dlth.RigL(ticket, until=5, every=2)):
        fit(model, training, x=x)
        assert_zeros(model, training.ticket)


def test_a_history_carries_nothing():
    model = compiled()
    history = fit(model, dlth.FixedTicket(half_of(model)))
    assert set(vars(history)) == set(vars(fit(compiled())))


def test_other_steps_within_a_fit_are_not_ours():
    class Another(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                self.model.train_on_batch(X[:16], Y[:16])

    model = compiled()
    with pytest.raises(RuntimeError, match="had a part in 12 of 13 optimizer steps"):
        fit(model, dlth.CoupledL2(0.1), Another(), epochs=2)


# Loops of one's own

CALLBACKS = {
    "transformation": lambda t: [transformation(t, bound=5.0), dlth.CoupledL2(1e-3)],
    "fixed ticket": lambda t: [dlth.FixedTicket(t), dlth.CoupledL2(1e-3)],
    "RigL": lambda t: [dlth.RigL(t, until=5, every=2)],
}


def batch_by_batch(model):
    for start in range(0, len(X), 16):
        model.train_on_batch(X[start : start + 16], Y[start : start + 16])


@pytest.mark.parametrize("steps", [batch_by_batch, loop])
@pytest.mark.parametrize("callbacks", CALLBACKS)
def test_a_loop_of_ones_own_takes_the_steps_of_fit(callbacks, steps):
    model, twin = compiled(), compiled()
    ticket = half_of(model)
    fit(twin, *CALLBACKS[callbacks](ticket))
    model.optimizer.build(model.trainable_variables)
    with dlth.attach(model, CALLBACKS[callbacks](ticket)):
        steps(model)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert set(vars(model)) <= set(vars(twin))
    assert set(vars(model.optimizer)) <= set(vars(twin.optimizer))
    assert len(model.optimizer.variables) == len(twin.optimizer.variables)
    fit(model), fit(twin)


def test_a_loop_that_raises_leaves_nothing():
    model, twin = compiled(), compiled()
    batch_by_batch(twin)
    with (
        pytest.raises(KeyboardInterrupt),
        dlth.attach(model, CALLBACKS["transformation"](half_of(model))),
    ):
        batch_by_batch(model)
        raise KeyboardInterrupt
    ours = [*model.variables, *model.optimizer.variables]
    for a, b in zip(ours, [*twin.variables, *twin.optimizer.variables], strict=True):
        a.assign(keras.ops.convert_to_numpy(b).copy())
    batch_by_batch(model), batch_by_batch(twin)
    assert_same(model, twin)


def test_a_loop_that_is_refused_leaves_nothing():
    model = compiled()
    other = dlth.Ticket({"another": np.ones((2, 2), bool)})
    before = set(vars(model.optimizer))
    with (
        pytest.raises(ValueError, match="does not fit"),
        dlth.attach(model, [transformation(half_of(model)), dlth.FixedTicket(other)]),
    ):
        pass
    assert set(vars(model.optimizer)) == before


def test_a_loop_without_a_step_is_refused():
    model = compiled()
    with (
        pytest.raises(RuntimeError, match="`FixedTicket` had a part in 0 of 0"),
        dlth.attach(model, [dlth.FixedTicket(half_of(model))]),
    ):
        pass


def test_a_loop_is_no_place_for_callbacks_of_epochs():
    model = compiled()
    with (
        pytest.raises(TypeError, match=r"part in optimizer steps alone.*EarlyBird"),
        dlth.attach(model, [dlth.EarlyBird(0.5)]),
    ):
        pass


# The regularizer


def regularized(mask, penalty):
    extrusion = dlth.Extrusion(mask, penalty)
    dense = keras.layers.Dense(3, kernel_regularizer=extrusion)
    return keras.Sequential([keras.Input((12,)), dense])


def test_the_regularizer_takes_the_steps_of_the_callback():
    mask = np.random.default_rng(0).random((12, 3)) < 0.5
    model = compiled(lambda: regularized(np.ones_like(mask), 0.0))
    by_regularizer = compiled(lambda: regularized(mask, 0.25))
    constant = dlth.RandomSparseTransformation(
        dlth.Ticket({"dense": mask}), growth=0.25, bound=0.2
    )
    fit(model, constant), fit(by_regularizer)
    for a, b in zip(model.get_weights(), by_regularizer.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_regularizers_value_and_penalty():
    mask = np.array([[True, False], [False, True]])
    extrusion = dlth.Extrusion(mask, penalty=0.5)
    weights = keras.ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]])
    assert float(extrusion(weights)) == pytest.approx(0.25 * (4 + 9))
    extrusion.penalty.assign(2.0)
    assert float(extrusion(weights)) == pytest.approx(4 + 9)
    with pytest.raises(ValueError, match=r"shape of the weights, \(3, 1\)"):
        extrusion(keras.ops.ones((3, 1)))
    with pytest.raises(ValueError, match=r"`penalty` must be 0 or more. Received: -1"):
        dlth.Extrusion(mask, -1)


def test_a_model_with_the_regularizer_is_saved_and_loaded(tmp_path):
    mask = np.random.default_rng(0).random((12, 3)) < 0.5
    model = compiled(lambda: regularized(mask, 0.25))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kept = loaded.layers[0].kernel_regularizer
    np.testing.assert_array_equal(kept.mask, mask)
    assert float(kept.penalty.numpy()) == 0.25
    fit(model), fit(loaded)
    assert_same(model, loaded)
