"""MagnitudePruning from a checkpoint: the same bits as without an interruption."""

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot

import dlth_tf as dlth

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(128, 12)).astype("float32")
X[:, 0] = 0.0
Y = (X[:, 1:4] + X[:, 4:7] ** 2).astype("float32")
STEPS = 8  # per epoch, in batches of 16


def compiled():
    """A network with weights that are zero all along though nothing has removed them."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="relu", name="first"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel).copy()
    kernel[0] = 0.0
    model.layers[0].kernel.assign(kernel)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def pruning():
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.8, 5, 20, frequency=5)
    head = tfmot.sparsity.keras.ConstantSparsity(0.5, 3, frequency=3)
    return dlth.MagnitudePruning({"first": schedule, "head": head})


def fit(model, callback, **options):
    model.fit(
        X, Y, batch_size=16, shuffle=False, verbose=0, callbacks=[callback], **options
    )


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def test_going_on_gives_the_same_bits():
    undisturbed, expected = compiled(), pruning()
    fit(undisturbed, expected, epochs=3)

    first, training = compiled(), pruning()
    fit(first, training, epochs=1)
    saved, state, reached = values(first), training.get_state(), training.ticket

    resumed, training = compiled(), pruning()
    for place, variable in enumerate([*resumed.variables, *resumed.optimizer.variables]):
        variable.assign(saved[place])
    training.set_state(state)
    for name, mask in reached.masks.items():
        np.testing.assert_array_equal(training.ticket.masks[name], mask)
    fit(resumed, training, epochs=3, initial_epoch=1)

    assert training.step == 3 * STEPS
    for name, mask in expected.ticket.masks.items():
        np.testing.assert_array_equal(training.ticket.masks[name], mask)
    for found, wanted in zip(values(resumed), values(undisturbed), strict=True):
        np.testing.assert_array_equal(found, wanted)


def small():
    """A network whose weights are so small that a step makes removed ones come back."""
    model = compiled()
    for weights in model.trainable_variables:
        weights.assign(0.01 * weights)
    model.optimizer.learning_rate = 2.0
    return model


@pytest.mark.parametrize("step", [2, 3, 4])
def test_going_on_within_an_epoch_gives_the_same_bits(step):
    """Masks change before steps 3 and 5: they see what steps 2 and 4 have tried."""
    half = tfmot.sparsity.keras.ConstantSparsity(0.5, 1, frequency=2)
    undisturbed, expected = small(), dlth.MagnitudePruning(half)
    kept = {}

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == step:
                kept["values"], kept["state"] = values(self.model), expected.get_state()

    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    undisturbed.fit(X, Y, callbacks=[expected, Keep()], **options)
    resumed, training = small(), dlth.MagnitudePruning(half)
    for place, variable in enumerate([*resumed.variables, *resumed.optimizer.variables]):
        variable.assign(kept["values"][place])
    training.set_state(kept["state"])
    rest = slice(16 * step, None)
    resumed.fit(X[rest], Y[rest], callbacks=[training], **options)
    for found, wanted in zip(values(resumed), values(undisturbed), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_zero_and_kept_stays_kept():
    first, training = compiled(), pruning()
    fit(first, training, epochs=1, steps_per_epoch=2)
    assert training.ticket.masks["first"].all()
    state = training.get_state()
    training = pruning()
    training.set_state(state)
    fit(first, training, epochs=1, steps_per_epoch=2)
    assert training.ticket.masks["first"].all()
