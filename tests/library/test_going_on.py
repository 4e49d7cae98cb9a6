"""What Keras itself saves of a training within `fit`, and how it goes on."""

import warnings

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import compiled, fit

pytestmark = pytest.mark.every_backend

EPOCHS = 3
TRAININGS = {
    "transformation": lambda ticket: dlth.RandomSparseTransformation(ticket, growth=0.1),
    "SET": lambda ticket: dlth.SparseEvolutionaryTraining(ticket, every=4),
    "RigL": lambda ticket: dlth.RigL(ticket, until=15, every=4),
}
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
}


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == EPOCHS - 1:
            raise KeyboardInterrupt


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def assert_same_end(model, training, undisturbed, expected):
    for found, wanted in zip(state(model), state(undisturbed), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for name, mask in expected.ticket.masks.items():
        np.testing.assert_array_equal(training.ticket.masks[name], mask)
    assert training.step == expected.step


@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_backup_and_restore_ends_with_the_same_bits(kind, optimizer, tmp_path):
    undisturbed, killed, resumed = (
        compiled(optimizer=OPTIMIZERS[optimizer]()) for _ in range(3)
    )
    ticket = dlth.random_ticket(undisturbed, 0.5, seed=0)
    expected = TRAININGS[kind](ticket)
    fit(undisturbed, expected, epochs=EPOCHS)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(killed, TRAININGS[kind](ticket), backup, Killed(), epochs=EPOCHS)
    assert len(killed.optimizer.variables) == len(undisturbed.optimizer.variables)
    training = TRAININGS[kind](ticket)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    fit(resumed, backup, training, epochs=EPOCHS)
    assert_same_end(resumed, training, undisturbed, expected)


def test_a_step_done_before_is_not_done_again_after_other_trainings(tmp_path):
    """Keras's own count of steps began before the transformation did."""
    model = compiled()
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    fit(model)
    with pytest.raises(KeyboardInterrupt):
        fit(model, TRAININGS["transformation"](ticket), backup, Killed(), epochs=EPOCHS)
    training = TRAININGS["transformation"](ticket)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    fit(compiled(), training, backup, epochs=EPOCHS)
    assert training.step == EPOCHS * 6


def test_a_model_from_within_fit_is_one_of_plain_keras_and_goes_on(tmp_path):
    path = tmp_path / "model.keras"
    undisturbed, first = compiled(), compiled()
    ticket = dlth.random_ticket(first, 0.5, seed=0)
    expected = TRAININGS["RigL"](ticket)
    fit(undisturbed, expected, epochs=EPOCHS)
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    fit(first, TRAININGS["RigL"](ticket), checkpoint, epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Skipping variable loading")
        loaded = keras.saving.load_model(path)
    for found, wanted in zip(state(loaded), state(first), strict=True):
        np.testing.assert_array_equal(found, wanted)

    training = TRAININGS["RigL"](ticket)
    restore = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: loaded.load_weights(path)
    )
    fit(loaded, training, restore, initial_epoch=1, epochs=EPOCHS)
    assert_same_end(loaded, training, undisturbed, expected)


def test_early_bird_goes_on(tmp_path):
    undisturbed, killed, resumed = (compiled() for _ in range(3))

    def early_bird():
        return dlth.EarlyBird(0.9, threshold=1e-9, window=3)

    expected = fit(undisturbed, early_bird(), epochs=EPOCHS).history["mask_distance"]
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(killed, early_bird(), backup, Killed(), epochs=EPOCHS)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    found = fit(resumed, early_bird(), backup, epochs=EPOCHS).history["mask_distance"]
    assert found == expected[-1:]


def test_early_bird_begins_anew_with_every_fit():
    model = compiled(optimizer=keras.optimizers.SGD(1e-6))
    early_bird = dlth.EarlyBird(0.5, window=3)
    for _ in range(2):
        fit(model, early_bird, epochs=9)
        assert early_bird.settled_epoch == 3
