"""Steps that only TensorFlow has: compiled once, in passes, by any optimizer."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import X, Y, compiled, fit, sequential
from tests.library.own_steps import own_step
from tests.library.test_fixed_ticket import assert_zeros
from tests.library.test_steps import half_of, transformation


def test_a_train_step_that_uses_another_optimizer_is_refused():
    model = compiled(lambda: own_step(keras.optimizers.SGD(0.1)))
    with pytest.raises(RuntimeError, match="had a part in 0 of 0 optimizer steps"):
        fit(model, transformation(half_of(model)))
    with pytest.raises(RuntimeError, match="`FixedTicket` had a part in 0 of 0"):
        fit(model, dlth.FixedTicket(half_of(model)))


def test_steps_that_were_compiled_before_are_noticed():
    class Cached(keras.Sequential):
        def make_train_function(self, force=False):
            if self.train_function is None:
                super().make_train_function()

    model = compiled(lambda: Cached(sequential().layers))
    fit(model)
    with pytest.raises(RuntimeError, match="had a part in 0 of 6 optimizer steps"):
        fit(model, dlth.CoupledL2(0.1))


def test_passes_over_large_kernels_are_compiled_to_the_same_numbers():
    def build():
        layers = [keras.layers.Dense(256, name="large"), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input((256,)), *layers])

    x, y = np.tile(X, (1, 22))[:, :256], Y
    optimizers = [keras.optimizers.SGD(0.01, momentum=0.9, use_ema=True) for _ in "ab"]
    models = [
        compiled(build, optimizer, jit_compile=jit)
        for optimizer, jit in zip(optimizers, (False, True), strict=True)
    ]
    ticket = half_of(models[0])
    for model in models:
        pulled = transformation(ticket, bound=5.0)
        fit(model, pulled, dlth.CoupledL2(0.01), x=x, y=y, epochs=2)
        fit(model, dlth.FixedTicket(ticket), dlth.CoupledL2(0.01), x=x, y=y, epochs=2)
        assert_zeros(model, ticket)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
