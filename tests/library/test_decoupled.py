"""The penalty beside the step of an optimizer that would normalise its gradient away."""

import numpy as np
import pytest
from keras import optimizers

from tests.library.models import BATCH, X, Y, compiled, fit
from tests.library.test_transformation import (
    GROWING,
    lambdas_through_fit,
    one_layer,
    pullable,
    rst,
)

pytestmark = pytest.mark.every_backend


@pytest.mark.parametrize(
    ("decoupled", "accumulate"), [(None, 1), (None, 2), (True, 1), (False, 1)]
)
def test_adams_steps_and_the_penalty(decoupled, accumulate):
    rates = optimizers.schedules.ExponentialDecay(0.05, 2, 0.5)
    more = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
    model = compiled(one_layer, optimizers.Adam(rates, **more), jit_compile=False)
    transformation = rst(model, growth=3.0, bound=100.0, decoupled=decoupled)
    removed = ~transformation.ticket.masks["dense"]
    weight, bias = (v.astype("float64") for v in model.get_weights())
    gathered = []
    first, second = ([np.zeros_like(weight), np.zeros_like(bias)] for _ in range(2))
    fit(model, transformation)
    for batch, start in enumerate(range(0, len(X), BATCH)):
        x, y = X[start : start + BATCH], Y[start : start + BATCH]
        error = 2 * (x @ weight + bias - y) / y.size
        gathered.append((x.T @ error, error.sum(0)))
        if len(gathered) < accumulate:
            continue
        step, rate = batch // accumulate + 1, 0.05 * 0.5 ** (batch / 2)
        pull = 3.0 * step * removed * weight
        gradients = [sum(parts) / accumulate for parts in zip(*gathered, strict=True)]
        gathered = []
        if decoupled is False:
            gradients[0] = gradients[0] + pull
        else:
            weight = weight - rate * pull
        size = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for place, gradient in enumerate(gradients):
            first[place] = 0.9 * first[place] + 0.1 * gradient
            second[place] = 0.999 * second[place] + 0.001 * gradient**2
        weight = weight - size * first[0] / (np.sqrt(second[0]) + 1e-7)
        bias = bias - size * first[1] / (np.sqrt(second[1]) + 1e-7)
    np.testing.assert_allclose(model.get_weights()[0], weight, atol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], bias, atol=1e-5)


def two_optimizers():
    adam, sgd = optimizers.Adam(), optimizers.SGD()
    choose = lambda variable: sgd if variable.shape[-1] == 3 else adam  # noqa: E731
    return optimizers.MultiOptimizer(choose)


@pytest.mark.parametrize(
    ("optimizer", "form"),
    [
        (optimizers.SGD, "coupled"),
        (optimizers.Ftrl, "coupled"),
        (optimizers.AdamW, "decoupled"),
        (optimizers.Muon, "decoupled"),
        (lambda: optimizers.LossScaleOptimizer(optimizers.Lion()), "decoupled"),
        (two_optimizers, "coupled and decoupled"),
    ],
)
def test_the_form_follows_the_optimizer_and_is_told(optimizer, form, caplog):
    model = compiled(optimizer=optimizer(), jit_compile=False)
    transformation = rst(model, bound=0.0)
    with caplog.at_level("INFO", "dlth_tf"):
        fit(model, transformation)
    assert transformation.form == form
    assert f"removes is {form}." in caplog.text


def test_a_step_that_overflows_takes_nothing():
    inner = optimizers.Adam(0.5)
    scaled = optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127)
    model = pullable(scaled)
    # The gradient of the biases overflows at first, that of the kernel is zero.
    lambdas = lambdas_through_fit(model, rst(model, bound=2.0), y=100.0)
    taken = lambdas[lambdas != 0.0]
    assert 0 < len(taken) < len(lambdas)
    np.testing.assert_allclose(taken, 0.5 * GROWING[: len(taken)], atol=1e-5)


def test_averages_of_the_weights_take_it_in():
    model = pullable(optimizers.Adam(0.5, use_ema=True, ema_momentum=0.5))
    transformation = rst(model, growth=1.0, bound=0.5)
    model.layers[0].kernel.assign(np.ones((12, 3)))
    fit(model, transformation, x=np.zeros((2 * BATCH, 12)), y=np.zeros((2 * BATCH, 3)))
    removed = ~transformation.ticket.masks["dense"]
    # The weights are 1, 0.5 and 0.25; Keras's average begins after the first step.
    np.testing.assert_allclose(model.get_weights()[0][removed], (0.5 + 0.25) / 2)


def test_no_more_than_a_whole_weight_is_taken():
    model = pullable(optimizers.Adam(0.5))
    transformation = rst(model, growth=5.0, bound=4.0)
    x, y = np.zeros((BATCH, 12)), np.zeros((BATCH, 3))
    fit(model, transformation, x=x, y=y)
    removed = ~transformation.ticket.masks["dense"]
    assert not model.get_weights()[0][removed].any()
