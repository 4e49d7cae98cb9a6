"""TFMOT's choice of the largest magnitudes: by the library's counting, and its own."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlth_tf as dlth
from dlth_tf.tfmot import magnitude_ticket


def one_kernel(weights):
    model = keras.Sequential(
        [
            keras.Input((weights.shape[0],)),
            keras.layers.Dense(weights.shape[1], use_bias=False),
        ]
    )
    model.set_weights([weights])
    return model


shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
sparsities = st.floats(0.0, 1.0, exclude_max=True)


@settings(max_examples=60, deadline=None)
@given(
    shape=shapes, sparsity=sparsities, seed=st.integers(0, 99), values=st.integers(1, 9)
)
def test_reference_counting_equals_the_library_ties_included(
    shape, sparsity, seed, values
):
    weights = np.random.default_rng(seed).integers(-values, values + 1, shape)
    model = one_kernel(weights.astype("float32"))
    ours = dlth.magnitude_ticket(model, sparsity).masks["dense"]
    np.testing.assert_array_equal(magnitude_ticket(model, sparsity).masks["dense"], ours)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, sparsity=sparsities, seed=st.integers(0, 99))
def test_tfmot_counting_differs_by_its_rounding_alone(shape, sparsity, seed):
    size = shape[0] * shape[1]
    weights = np.random.default_rng(seed).permutation(size) + 1.0
    model = one_kernel(weights.reshape(shape).astype("float32"))
    mask = magnitude_ticket(model, sparsity, counting="tfmot").masks["dense"]
    kept = max(np.rint(np.float32(size) * (np.float32(1) - np.float32(sparsity))), 1)
    np.testing.assert_array_equal(mask, weights.reshape(shape) > size - kept)


def test_tfmot_and_reference_round_differently():
    model = one_kernel(np.arange(1.0, 11.0, dtype="float32").reshape(5, 2))
    kept = {
        counting: np.count_nonzero(magnitude_ticket(model, 0.72, counting).masks["dense"])
        for counting in ("reference", "tfmot")
    }
    assert kept == {"reference": 2, "tfmot": 3}


def test_patterns_choose_kernels():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(32, name="first"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    ticket = magnitude_ticket(model, {"first": 0.5})
    assert ticket.sparsity_per_kernel() == {"first": 0.5, "head": 0.0}


def test_refuses_nan():
    with pytest.raises(ValueError, match="Kernel 'dense' must hold numbers"):
        magnitude_ticket(one_kernel(np.full((2, 2), np.nan, "float32")), 0.5)


def test_refuses_an_unknown_counting():
    with pytest.raises(ValueError, match="must be one of reference, tfmot"):
        magnitude_ticket(one_kernel(np.ones((2, 2))), 0.5, counting="round")


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="The backend is jax"):
        magnitude_ticket(one_kernel(np.ones((2, 2))), 0.5)
