"""MagnitudePruning from a checkpoint: the same bits as without an interruption."""

import contextlib

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


def fit(model, callbacks, data=(X, Y), **options):
    model.fit(
        *data, batch_size=16, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


class Killed(keras.callbacks.Callback):
    """Kills a training after a number of steps, whose state it keeps in a file."""

    def __init__(self, steps, path):
        super().__init__()
        self.steps, self.path = steps, path

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if not self.steps:
            self.model.save(self.path)
            raise KeyboardInterrupt


def restoring(model, path):
    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda _: model.load_weights(path)
    )


def test_going_on_gives_the_same_bits(tmp_path):
    undisturbed, expected = compiled(), pruning()
    fit(undisturbed, [expected], epochs=3)
    for fails in (True, False):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path))
        resumed, training = compiled(), pruning()
        with pytest.raises(KeyboardInterrupt) if fails else contextlib.nullcontext():
            killed = [Killed(STEPS + 2, tmp_path / "model.keras")] if fails else []
            fit(resumed, [training, backup, *killed], epochs=3)

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
def test_going_on_within_an_epoch_gives_the_same_bits(step, tmp_path):
    """Masks change before steps 3 and 5: they see what steps 2 and 4 have tried."""
    half = tfmot.sparsity.keras.ConstantSparsity(0.5, 1, frequency=2)
    undisturbed, expected = small(), dlth.MagnitudePruning(half)
    fit(undisturbed, [expected])
    path = tmp_path / "model.keras"
    with pytest.raises(KeyboardInterrupt):
        fit(small(), [dlth.MagnitudePruning(half), Killed(step, path)])
    resumed, training = small(), dlth.MagnitudePruning(half)
    rest = slice(16 * step, None)
    fit(resumed, [training, restoring(resumed, path)], data=(X[rest], Y[rest]))
    for found, wanted in zip(values(resumed), values(undisturbed), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_zero_and_kept_stays_kept(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), [pruning(), Killed(2, path)])
    resumed, training = compiled(), pruning()
    fit(resumed, [training, restoring(resumed, path)], steps_per_epoch=2)
    assert training.ticket.masks["first"].all()
