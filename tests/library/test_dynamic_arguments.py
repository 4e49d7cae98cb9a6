"""SET, RigL, early-bird: tickets and arguments they take, what they say to others."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.dynamic_training import (
    ALGORITHMS,
    RATE,
    STEPS,
    compiled,
    fit,
    ticket_for,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_frozen_kernels_keep_their_mask(algorithm):
    model = compiled()
    ticket = ticket_for(model)
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(RATE), "mse")
    training = ALGORITHMS[algorithm](ticket)
    fit(model, training)
    np.testing.assert_array_equal(training.ticket.masks["first"], ticket.masks["first"])
    assert (training.ticket.masks["second"] != ticket.masks["second"]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.0}, r"`fraction` must be in \(0, 1\]. Received: 0.0"),
        ({"every": 0}, "`every` must be at least 1. Received: 0"),
        ({"until": -1}, "`until` must be 0 or more. Received: -1"),
        ({"until": None}, "`until` must be a number of steps. Received: None"),
        ({"initial_step": -1}, "`initial_step` must be 0 or more. Received: -1"),
    ],
    ids=str,
)
def test_bad_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        dlth.RigL(ticket_for(compiled()), **{"until": 10, **arguments})


def test_bad_seed():
    with pytest.raises(ValueError, match=r"`seed` must be in .* Received: -1"):
        dlth.SparseEvolutionaryTraining(ticket_for(compiled()), every=3, seed=-1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, r"`threshold` must be in \(0, 1\]. Received: 0.0"),
        ({"threshold": 1.1}, r"`threshold` must be in \(0, 1\]. Received: 1.1"),
        ({"window": 1}, "`window` must be at least 2. Received: 1"),
    ],
)
def test_bad_values_of_early_bird(arguments, message):
    with pytest.raises(ValueError, match=message):
        dlth.EarlyBird(0.5, **arguments)
    assert dlth.EarlyBird(0.5, threshold=1.0, window=2).window == 2


def test_a_ticket_of_another_network():
    other = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3, name="first")])
    ticket = dlth.random_ticket(other, 0.5, seed=0)
    with pytest.raises(ValueError, match="does not fit"):
        fit(compiled(), ALGORITHMS["rigl"](ticket))


def test_a_ticket_of_whole_filters():
    model = compiled()
    ticket = dlth.random_ticket(model, {"first": 0.5}, seed=0, unit="filter")
    with pytest.raises(ValueError, match=r"moves single weights.*'first/bias'"):
        fit(model, ALGORITHMS["rigl"](ticket))


def test_a_ticket_that_keeps_everything():
    model = compiled()
    training = ALGORITHMS["set"](dlth.random_ticket(model, 0.0, seed=0))
    fit(model, training)
    assert training.ticket.sparsity == 0.0
    assert training.step == 2 * STEPS
