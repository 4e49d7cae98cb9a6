"""Magnitude pruning by TFMOT's engine: equal to TFMOT's own wrapper, exact, clear."""

import logging
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

import dlth_tf as dlth
from dlth_tf.tfmot import magnitude_ticket

ConstantSparsity = tfmot.sparsity.keras.ConstantSparsity
PolynomialDecay = tfmot.sparsity.keras.PolynomialDecay

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(160, 20)).astype("float32")
Y = (X[:, :3] + X[:, 3:6] ** 2).astype("float32")
STEPS = 10  # per epoch, in batches of 16


def mlp(library=keras):
    return library.Sequential(
        [
            library.layers.InputLayer((20,)),
            library.layers.Dense(32, activation="relu", name="first"),
            library.layers.Dense(24, activation="relu", name="second"),
            library.layers.Dense(3, name="head"),
        ]
    )


def compiled(optimizer=None, seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = mlp()
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9), "mse", **options)
    return model


def fit(model, *callbacks, epochs=2, batch_size=16):
    return model.fit(
        X,
        Y,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


def assert_same_weights(model, expected, tolerance=0.0):
    for got, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got != 0, wanted != 0)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


SCHEDULES = {
    "gradual": PolynomialDecay(0.0, 0.9, 2, 26, frequency=1),
    "constant": ConstantSparsity(0.7, 4, frequency=7),
    "first step of each epoch": ConstantSparsity(0.7, 1, frequency=STEPS),
}
OPTIMIZERS = {
    "sgd": lambda library: library.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda library: library.optimizers.Adam(0.01),
}


@pytest.fixture(scope="module")
def pruned_by_tfmot():
    """Weights after three epochs of TFMOT's own wrapper, from the same initial ones."""
    results = {}

    def pruned(schedule, optimizer):
        if (schedule, optimizer) not in results:
            model = mlp(tf_keras)
            model.set_weights(compiled().get_weights())
            wrapped = tfmot.sparsity.keras.prune_low_magnitude(
                model, pruning_schedule=SCHEDULES[schedule]
            )
            wrapped.compile(OPTIMIZERS[optimizer](tf_keras), "mse")
            fit(wrapped, tfmot.sparsity.keras.UpdatePruningStep(), epochs=3)
            stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
            results[schedule, optimizer] = stripped.get_weights()
        return results[schedule, optimizer]

    return pruned


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_equals_tfmots_own_wrapper(pruned_by_tfmot, schedule, optimizer):
    model = compiled(OPTIMIZERS[optimizer](keras))
    fit(model, dlth.MagnitudePruning(SCHEDULES[schedule]), epochs=3)
    assert_same_weights(model, pruned_by_tfmot(schedule, optimizer))


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"steps_per_execution": 5}, 0.0),
        ({"run_eagerly": True}, 0.0),
        ({"jit_compile": True}, 1e-5),
    ],
    ids=str,
)
def test_equals_tfmots_own_wrapper_however_steps_run(pruned_by_tfmot, options, tolerance):
    model = compiled(**options)
    fit(model, dlth.MagnitudePruning(SCHEDULES["constant"]), epochs=3)
    assert_same_weights(model, pruned_by_tfmot("constant", "sgd"), tolerance)


class RemovedAfterEachStep(keras.callbacks.Callback):
    """Collects the largest removed magnitude, of kernels and of their moving averages."""

    def __init__(self, pruning):
        super().__init__()
        self.pruning = pruning
        self.largest = []

    def on_train_batch_end(self, batch, logs=None):
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        largest = 0.0
        for _, kernel, mask in self.pruning.ticket.pairs(self.model):
            values = [kernel]
            if optimizer.use_ema:
                place = optimizer._get_variable_index(kernel)
                values.append(optimizer._model_variables_moving_average[place])
            for value in values:
                removed = keras.ops.convert_to_numpy(value)[~mask]
                largest = max(largest, np.abs(removed).max(initial=0.0))
        self.largest.append(largest)


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        keras.optimizers.Adam(0.01),
        keras.optimizers.AdamW(0.01, weight_decay=0.1),
        keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=4),
        keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05, momentum=0.9)),
    ],
    ids=["sgd", "adam", "adamw", "ema", "accumulation", "loss_scale"],
)
def test_removed_weights_are_zero_after_every_step(optimizer):
    pruning = dlth.MagnitudePruning(PolynomialDecay(0.1, 0.8, 1, 9, frequency=2))
    after_step = RemovedAfterEachStep(pruning)
    fit(compiled(optimizer), pruning, after_step)
    assert pruning.ticket.sparsity > 0.7
    assert after_step.largest == [0.0] * 2 * STEPS


def test_mixed_precision_keeps_zeros():
    pruning = dlth.MagnitudePruning(PolynomialDecay(0.1, 0.8, 1, 9, frequency=2))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        after_step = RemovedAfterEachStep(pruning)
        fit(compiled(), pruning, after_step)
    finally:
        keras.config.set_dtype_policy(before)
    assert after_step.largest == [0.0] * 2 * STEPS


def test_a_number_prunes_once_before_the_first_step():
    model = compiled()
    expected = magnitude_ticket(model, 0.75, counting="tfmot")
    pruning = dlth.MagnitudePruning(0.75)
    fit(model, pruning)
    for name, mask in pruning.ticket.masks.items():
        np.testing.assert_array_equal(mask, expected.masks[name])


@pytest.mark.parametrize(("begin_step", "sparsity"), [(STEPS, 0.5), (STEPS + 1, 0.0)])
def test_steps_are_those_of_the_optimizer(begin_step, sparsity):
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=2)
    pruning = dlth.MagnitudePruning(ConstantSparsity(0.5, begin_step, frequency=1000))
    fit(compiled(optimizer), pruning, epochs=2)
    assert pruning.step == STEPS
    assert pruning.ticket.sparsity == pytest.approx(sparsity)


def test_steps_count_from_the_beginning_of_this_fit():
    model = compiled()
    fit(model, epochs=1)
    pruning = dlth.MagnitudePruning(ConstantSparsity(0.5, STEPS + 1, frequency=1000))
    fit(model, pruning, epochs=1)
    assert pruning.ticket.sparsity == 0.0


def test_patterns_choose_kernels_and_the_first_match_counts():
    pruning = dlth.MagnitudePruning({"first": 0.5, "fir*": 0.9, "sec*": 0.75})
    fit(compiled(), pruning)
    sparsity = pruning.ticket.sparsity_per_kernel()
    assert sparsity == {"first": 0.5, "second": 0.75, "head": 0.0}


def test_logs_hold_the_sparsity_of_each_epoch():
    schedule = ConstantSparsity(0.5, STEPS + 1, frequency=1000)
    history = fit(compiled(), dlth.MagnitudePruning(schedule), epochs=2)
    assert history.history["sparsity"] == pytest.approx([0.0, 0.5])


def test_nothing_is_left_on_the_model():
    model = compiled()
    fit(model)
    names = [v.path for v in model.variables + model.optimizer.variables]
    fit(model, dlth.MagnitudePruning(0.9))
    assert [v.path for v in model.variables + model.optimizer.variables] == names
    fit(model)
    assert np.count_nonzero(model.get_layer("second").kernel.numpy() == 0) == 0


def test_ticket_trains_on_with_fixed_ticket():
    model = compiled()
    pruning = dlth.MagnitudePruning(0.9)
    fit(model, pruning)
    fit(model, dlth.FixedTicket(pruning.ticket))
    for _, kernel, mask in pruning.ticket.pairs(model):
        np.testing.assert_array_equal(kernel.numpy() != 0, mask)


def test_accumulated_gradients_are_one_step():
    whole = compiled(keras.optimizers.SGD(0.05, momentum=0.9))
    pruning = dlth.MagnitudePruning(ConstantSparsity(0.7, 2, frequency=3))
    whole.fit(
        X, Y, batch_size=32, epochs=4, shuffle=False, verbose=0, callbacks=[pruning]
    )
    model = compiled(
        keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    )
    fit(model, pruning, epochs=4)
    assert_same_weights(model, whole.get_weights(), tolerance=1e-4)


def test_weights_that_begin_at_zero_are_trained_until_pruned():
    model = compiled()
    kernel = model.get_layer("head").kernel
    kernel.assign(np.zeros(kernel.shape))
    fit(model, dlth.MagnitudePruning(ConstantSparsity(0.5, 1000)))
    assert np.count_nonzero(kernel.numpy()) > kernel.numpy().size / 2


# Its mask updates, at steps 1, 7, 13, 19, 25 and 31, are apart from epochs' first steps.
GRADUAL = PolynomialDecay(0.2, 0.8, 1, 31, frequency=6)


def test_goes_on_from_a_saved_model_with_initial_step(tmp_path):
    whole = compiled()
    fit(whole, dlth.MagnitudePruning(GRADUAL), epochs=4)
    model = compiled()
    fit(model, dlth.MagnitudePruning(GRADUAL), epochs=2)
    model.save(tmp_path / "half.keras")
    model = keras.models.load_model(tmp_path / "half.keras")
    fit(model, dlth.MagnitudePruning(GRADUAL, initial_step=2 * STEPS), epochs=2)
    assert_same_weights(model, whole.get_weights())


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("restored_first", [True, False])
def test_goes_on_after_backup_and_restore(tmp_path, restored_first):
    whole = compiled()
    fit(whole, dlth.MagnitudePruning(GRADUAL), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(
            compiled(),
            dlth.MagnitudePruning(GRADUAL),
            keras.callbacks.BackupAndRestore(tmp_path),
            Interruption(),
            epochs=4,
        )
    model = compiled(seed=1)
    callbacks = [
        keras.callbacks.BackupAndRestore(tmp_path),
        dlth.MagnitudePruning(GRADUAL),
    ]
    fit(model, *(callbacks if restored_first else callbacks[::-1]), epochs=4)
    assert_same_weights(model, whole.get_weights())


def test_warns_when_the_schedule_was_not_finished(caplog):
    pruning = dlth.MagnitudePruning(PolynomialDecay(0.0, 0.9, 1, 101, frequency=10))
    with caplog.at_level(logging.WARNING, logger="dlth_tf"):
        fit(compiled(), pruning)
    assert "kernel 'first'" in caplog.text
    assert "below its schedule's 0.9" in caplog.text


def test_does_not_warn_when_the_schedule_was_finished(caplog):
    pruning = dlth.MagnitudePruning(PolynomialDecay(0.0, 0.9, 1, 11, frequency=10))
    with caplog.at_level(logging.WARNING, logger="dlth_tf"):
        fit(compiled(), pruning)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 1.0}, r"`schedule` must be in \[0, 1\). Received: 1.0"),
        ({"schedule": {"head": -0.1}}, "Received: -0.1 for 'head'"),
        ({"schedule": "0.5"}, "Received: '0.5'"),
        ({"schedule": 0.5, "initial_step": -1}, "`initial_step` must be 0 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        dlth.MagnitudePruning(**arguments)


def test_a_pattern_that_matches_nothing_is_named():
    with pytest.raises(ValueError, match=r"'conv\*' matches no kernel. Kernels: first"):
        fit(compiled(), dlth.MagnitudePruning({"conv*": 0.5}))


def test_ticket_before_fit_is_refused():
    with pytest.raises(ValueError, match="once `fit` has begun"):
        dlth.MagnitudePruning(0.5).ticket  # noqa: B018


def test_missing_tfmot_is_named(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("tensorflow_model_opt")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="pip install tensorflow-model-optimization"):
        dlth.MagnitudePruning(0.5)


def run_python(program):
    # TFMOT, imported above, has set the variable for this process.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_tf_keras_stays_what_the_user_chose():
    result = run_python(
        "import os, dlth_tf as dlth\n"
        "dlth.MagnitudePruning(0.5)\n"
        "import tensorflow as tf\n"
        "print(tf.keras.__version__[0], os.environ.get('TF_USE_LEGACY_KERAS'))\n"
    )
    assert result.stdout.split()[-2:] == ["3", "None"], result.stderr
