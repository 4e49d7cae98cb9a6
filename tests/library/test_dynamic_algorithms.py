"""SET and RigL: what is dropped and grown, step by step, against plain numpy."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from dlth_tf.callbacks.schedules import DropSchedule
from tests.library.dynamic_training import (
    MOMENTUM,
    RATE,
    STEPS,
    Recorder,
    X,
    Y,
    compiled,
    fit,
    ticket_for,
)


class PlainTraining:
    """`compiled` in numpy: tanh, tanh, linear, mean squared error."""

    names = ("first", "second", "head")

    def __init__(self, model, ticket):
        self.weights = [np.array(w, np.float64) for w in model.get_weights()]
        self.momenta = [np.zeros_like(w) for w in self.weights]
        self.masks = {name: ticket.masks[name].copy() for name in self.names}
        self.zero()

    def zero(self):
        for place, name in enumerate(self.names):
            self.weights[2 * place] *= self.masks[name]

    def gradients(self, x, y):
        k1, b1, k2, b2, k3, b3 = self.weights
        h1 = np.tanh(x @ k1 + b1)
        h2 = np.tanh(h1 @ k2 + b2)
        d3 = 2 * (h2 @ k3 + b3 - y) / y.size
        d2 = d3 @ k3.T * (1 - h2**2)
        d1 = d2 @ k2.T * (1 - h1**2)
        return [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]

    def descend(self, gradients):
        for place, gradient in enumerate(gradients):
            momentum = MOMENTUM * self.momenta[place] - RATE * gradient
            self.momenta[place] = momentum
            self.weights[place] = self.weights[place] + momentum
        self.zero()

    def drop_and_grow(self, name, fraction, score):
        place = 2 * self.names.index(name)
        mask, weights = self.masks[name].ravel(), self.weights[place].ravel()
        active = np.flatnonzero(mask)
        count = int(fraction * len(active))
        dropped = active[np.argsort(np.abs(weights[active]), kind="stable")[:count]]
        stayed = np.setdiff1d(active, dropped)
        free = np.setdiff1d(np.arange(mask.size), stayed)
        grown = free[np.argsort(-score.ravel()[free], kind="stable")[:count]]
        moved = np.zeros_like(mask)
        moved[stayed] = moved[grown] = True
        new = (moved & ~mask).reshape(self.masks[name].shape)
        self.momenta[place][new] = 0.0
        self.masks[name] = moved.reshape(self.masks[name].shape)
        self.zero()


def batches(steps):
    for step in range(steps):
        start = step % STEPS * 16
        yield X[start : start + 16].astype("f8"), Y[start : start + 16].astype("f8")


def plain_rigl(plain, steps, until, every, fraction):
    for step, (x, y) in enumerate(batches(steps)):
        gradients = plain.gradients(x, y)
        if step % every or step >= until:
            plain.descend(gradients)
        else:
            part = fraction / 2 * (1 + np.cos(np.pi * step / until))
            for place, name in enumerate(("first", "second")):
                plain.drop_and_grow(name, part, np.abs(gradients[2 * place]))
        yield plain


def assert_same_course(recorded, expected):
    for step, (found, plain) in enumerate(zip(recorded, expected, strict=True)):
        for place, name in enumerate(plain.names):
            where = f"{name} after step {step}"
            values = found[name]
            np.testing.assert_array_equal(values["mask"], plain.masks[name], where)
            for kind, wanted in (("weights", plain.weights), ("momentum", plain.momenta)):
                message = f"{kind} of {where}"
                np.testing.assert_allclose(
                    values[kind], wanted[2 * place], atol=1e-5, err_msg=message
                )


@pytest.mark.every_backend
def test_rigl_is_algorithm_1_of_the_paper():
    model = compiled()
    ticket = ticket_for(model)
    plain = PlainTraining(model, ticket)
    training = dlth.RigL(ticket, until=13, every=3, fraction=0.5)
    recorder = Recorder(training)
    fit(model, training, recorder)
    expected = plain_rigl(plain, 2 * STEPS, until=13, every=3, fraction=0.5)
    assert_same_course(recorder.steps, expected)


def plain_set(plain, training, steps, every, fraction):
    for step, (x, y) in enumerate(batches(steps)):
        plain.descend(plain.gradients(x, y))
        if (step + 1) % every == 0:
            for place, name in enumerate(("first", "second")):
                score = np.array(training.growth_score(step, place, None))
                plain.drop_and_grow(name, fraction, score)
        yield plain


@pytest.mark.every_backend
def test_set_drops_small_weights_and_grows_the_drawn_ones():
    model = compiled()
    ticket = ticket_for(model)
    plain = PlainTraining(model, ticket)
    training = dlth.SparseEvolutionaryTraining(ticket, every=3, fraction=0.4, seed=5)
    recorder = Recorder(training)
    fit(model, training, recorder)
    expected = plain_set(plain, training, 2 * STEPS, every=3, fraction=0.4)
    assert_same_course(recorder.steps, expected)


@pytest.mark.every_backend
def test_set_draws_uniformly_and_anew_for_each_seed_kernel_and_step():
    layers = [keras.layers.Dense(100) for _ in range(2)]
    model = keras.Sequential([keras.Input((100,)), *layers])
    model.compile("sgd", "mse")
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    drawn = {}
    for seed in (0, 1):
        training = dlth.SparseEvolutionaryTraining(ticket, every=3, seed=seed)
        model.fit(np.zeros((1, 100)), np.zeros((1, 100)), verbose=0, callbacks=[training])
        for place in (0, 1):
            for step in (2, 5):
                score = training.growth_score(step, place, None)
                drawn[seed, place, step] = np.array(score).ravel()
    for one, scores in drawn.items():
        shares, _ = np.histogram(scores, bins=10, range=(0, 1))
        assert np.abs(shares - 1000).max() < 5 * np.sqrt(900), one
        for other, others in drawn.items():
            if other != one:
                assert abs(np.corrcoef(scores, others)[0, 1]) < 0.05


def test_fractions_of_the_paper():
    schedule = DropSchedule(0.3, every=100, until=400, decay="cosine")
    np.testing.assert_allclose(
        schedule.fractions,
        [0.3, 0.15 * (1 + np.sqrt(0.5)), 0.15, 0.15 * (1 - np.sqrt(0.5))],
    )
    due = [step for step in range(1000) if schedule.is_due(step)]
    assert due == [0, 100, 200, 300]
