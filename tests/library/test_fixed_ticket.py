"""Zeros are zeros: removed weights are exactly 0.0 after every optimizer step."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlth_tf as dlth
from tests.library.models import (
    BATCH,
    KINDS,
    X,
    Y,
    assert_same,
    compiled,
    fit,
    sequential,
)

OPTIMIZERS = {
    "sgd": lambda **o: keras.optimizers.SGD(0.05, momentum=0.9, **o),
    "nesterov": lambda **o: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, **o),
    "adam": lambda **o: keras.optimizers.Adam(0.01, **o),
    "adamw": lambda **o: keras.optimizers.AdamW(0.01, weight_decay=0.1, **o),
    "rmsprop": lambda **o: keras.optimizers.RMSprop(0.01, momentum=0.5, **o),
}
EXTRAS = {
    "plain": {},
    "ema": {"use_ema": True, "ema_momentum": 0.5},
    "ema overwrites": {
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 2,
    },
    "accumulation": {"gradient_accumulation_steps": 2},
    "clipping": {"global_clipnorm": 0.1},
    "ema and accumulation": {
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
    },
}


class WatchZeros(keras.callbacks.Callback):
    """Fails if a removed weight is not zero, or if nothing else moves."""

    def __init__(self, ticket):
        super().__init__()
        self.ticket = ticket
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        assert_zeros(self.model, self.ticket)
        self.steps += 1

    def on_train_end(self, logs=None):
        assert_zeros(self.model, self.ticket)


def assert_zeros(model, ticket):
    for name, kernel, mask in ticket.pairs(model):
        value = keras.ops.convert_to_numpy(kernel)
        assert (value[~mask] == 0.0).all(), f"{name} has weights that are not zero"
        assert value[mask].any(), f"{name} is zero altogether"


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@settings(max_examples=8)
@given(
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    extra=st.sampled_from(sorted(EXTRAS)),
    precision=st.sampled_from(["float32", "mixed_float16", "mixed_bfloat16"]),
    jit=st.booleans(),
    steps_per_execution=st.sampled_from([1, 1, 3]),
    dense_before=st.booleans(),
    sparsity=st.sampled_from([0.3, 0.9]),
    seed=st.integers(0, 99),
)
def test_removed_weights_are_zero_after_every_step(
    optimizer, extra, precision, jit, steps_per_execution, dense_before, sparsity, seed
):
    keras.config.set_dtype_policy(precision)
    try:
        model = compiled(
            optimizer=OPTIMIZERS[optimizer](**EXTRAS[extra]),
            seed=seed,
            jit_compile=jit,
            steps_per_execution=steps_per_execution,
        )
    finally:
        keras.config.set_dtype_policy("float32")
    if dense_before:
        fit(model)
    ticket = dlth.random_ticket(model, sparsity, seed)
    watch = WatchZeros(ticket)
    fit(model, dlth.FixedTicket(ticket), watch, epochs=2)
    assert watch.steps == 2 * -(-6 // steps_per_execution)


@pytest.mark.every_backend
@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_every_extra_of_an_optimizer_after_a_dense_fit(extra):
    model = compiled(optimizer=OPTIMIZERS["adam"](**EXTRAS[extra]), jit_compile=False)
    if keras.backend.backend() != "jax" or not model.optimizer.use_ema:
        fit(model)  # Keras on JAX cannot `fit` twice with an average.
    ticket = dlth.random_ticket(model, 0.8, seed=1)
    fit(model, dlth.FixedTicket(ticket), WatchZeros(ticket), epochs=2)


@pytest.mark.every_backend
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("extra", ["plain", "ema overwrites"])
def test_mixed_precision(policy, precision, extra):
    policy(precision)
    model = compiled(optimizer=OPTIMIZERS["sgd"](**EXTRAS[extra]), jit_compile=False)
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (precision == "mixed_float16")
    ticket = dlth.random_ticket(model, 0.8, seed=1)
    fit(model, dlth.FixedTicket(ticket), WatchZeros(ticket), epochs=2)


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_model(kind):
    model = compiled(KINDS[kind], jit_compile=False)
    ticket = dlth.random_ticket(model, 0.7, seed=3)
    watch = WatchZeros(ticket)
    fit(model, dlth.FixedTicket(ticket), watch)
    assert watch.steps == 6


@pytest.mark.every_backend
def test_kept_weights_train_as_if_the_removed_ones_were_not_there():
    """Against numpy: SGD on one masked layer."""
    model = compiled(
        lambda: keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)]),
        keras.optimizers.SGD(0.1, momentum=0.9),
        jit_compile=False,
    )
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    mask = ticket.masks["dense"]
    weight, bias = (v.astype("float64") for v in model.get_weights())
    weight = weight * mask
    velocities = [np.zeros_like(weight), np.zeros_like(bias)]
    fit(model, dlth.FixedTicket(ticket))
    for start in range(0, len(X), BATCH):
        x, y = X[start : start + BATCH], Y[start : start + BATCH]
        error = 2 * (x @ weight + bias - y) / y.size
        velocities[0] = 0.9 * velocities[0] - 0.1 * (x.T @ error)
        velocities[1] = 0.9 * velocities[1] - 0.1 * error.sum(0)
        weight, bias = (weight + velocities[0]) * mask, bias + velocities[1]
    np.testing.assert_allclose(model.get_weights()[0], weight, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, atol=1e-6)


@pytest.mark.every_backend
def test_a_gradient_is_clipped_by_the_length_of_what_is_kept():
    clipped = keras.optimizers.SGD(1.0, global_clipnorm=1e-3)
    model = compiled(optimizer=clipped, jit_compile=False)
    ticket = dlth.random_ticket(model, 0.9, seed=0)
    ticket.apply(model)
    before = model.get_weights()
    model.fit(X[:BATCH], Y[:BATCH], callbacks=[dlth.FixedTicket(ticket)], verbose=0)
    steps = [b - a for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.sqrt(sum((s**2).sum() for s in steps)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.every_backend
def test_the_users_own_constraint_is_kept_and_applied_first():
    own = keras.constraints.MaxNorm(0.3)
    model = compiled(
        lambda: sequential(kernel_constraint=own, bias_constraint=own), jit_compile=False
    )
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    fit(model, dlth.FixedTicket(ticket), WatchZeros(ticket), epochs=3)
    kernel = model.layers[0].kernel
    assert np.linalg.norm(keras.ops.convert_to_numpy(kernel), axis=0).max() <= 0.3 + 1e-6
    assert kernel.constraint is own


@pytest.mark.every_backend
def test_a_ticket_that_does_not_fit_is_refused_and_leaves_nothing():
    ticket = dlth.random_ticket(compiled(KINDS["functional"]), 0.5, seed=0)
    model, twin = compiled(), compiled()
    with pytest.raises(ValueError, match="does not fit model"):
        fit(model, dlth.CoupledL2(0.5), dlth.FixedTicket(ticket))
    fit(model), fit(twin)
    assert_same(model, twin)
