"""SET and RigL from one `fit` to the next: checkpoints, interruptions, later fits."""

import keras
import pytest

import dlth_tf as dlth
from tests.library.dynamic_training import (
    ALGORITHMS,
    STEPS,
    Recorder,
    assert_same_masks,
    compiled,
    fit,
    ticket_for,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_later_fit_knows_nothing_of_it(algorithm):
    model = compiled()
    training = ALGORITHMS[algorithm](ticket_for(model))
    fit(model, training)
    ticket, step = training.ticket, model.optimizer.iterations
    assert "_backend_update_step" not in vars(model.optimizer)
    assert all(variable.constraint is None for variable in model.trainable_variables)
    fit(model, epochs=1)
    assert int(step) == 3 * STEPS
    removed = ~ticket.masks["first"]
    assert keras.ops.convert_to_numpy(model.layers[0].kernel)[removed].all()
    assert_same_masks(training.ticket, ticket)


@pytest.mark.every_backend
def test_nothing_stays_when_fit_raises():
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 4:
                raise KeyboardInterrupt

    model = compiled()
    training = ALGORITHMS["rigl"](ticket_for(model))
    with pytest.raises(KeyboardInterrupt):
        fit(model, training, Fails())
    assert training.step == 5
    assert "_backend_update_step" not in vars(model.optimizer)
    fit(model, epochs=1)
    removed = ~training.ticket.masks["first"]
    assert keras.ops.convert_to_numpy(model.layers[0].kernel)[removed].all()


@pytest.mark.every_backend
def test_a_second_fit_with_it_goes_on_from_its_ticket():
    model = compiled()
    training = ALGORITHMS["set"](ticket_for(model))
    fit(model, training)
    reached = training.ticket
    fit(model, training, epochs=1, steps_per_epoch=2)  # before the first change
    assert_same_masks(training.ticket, reached)


@pytest.mark.parametrize("algorithm", ["set", "rigl"])
def test_after_until_the_mask_stays(algorithm):
    model = compiled()
    kind = {"set": dlth.SparseEvolutionaryTraining, "rigl": dlth.RigL}[algorithm]
    training = kind(ticket_for(model), every=2, until=6)
    recorder = Recorder(training)
    fit(model, training, recorder, epochs=1)
    moved = [
        (before["first"]["mask"] != after["first"]["mask"]).any()
        for before, after in zip(recorder.steps, recorder.steps[1:], strict=False)
    ]
    # SET after the second and the fourth step; RigL in the first, third and fifth.
    changes = {"set": [1, 3], "rigl": [2, 4]}[algorithm]
    assert [place + 1 for place, change in enumerate(moved) if change] == changes


class Fails(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_weights_restored_without_their_mask_are_refused(tmp_path):
    model = compiled()
    ticket = ticket_for(model)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(model, backup, Fails())
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(ValueError, match="The file holds no state of RigL"):
        fit(compiled(), ALGORITHMS["rigl"](ticket), backup)
