"""The last two states of a training, and what becomes of damaged ones."""

import keras
import numpy as np
import pytest

from dlth_tf.experiment.engine.checkpoint import Checkpoints, Progress
from dlth_tf.experiment.plan.protocol import Interval


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def folder(model, tmp_path):
    """Three states, of which two are kept: after 2 and after 3 epochs."""
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        model.layers[0].bias.assign([epoch, epoch])
        checkpoints.save(model, Progress(epoch=epoch))
    return tmp_path


def newest(folder) -> tuple[int, list[str]]:
    said = []
    return Checkpoints(folder).read(said.append).progress.epoch, said


def file_of(folder, epoch: int):
    """The file of a state: the others are moved away to see which is left."""
    for path in folder.glob("checkpoint-*.npz"):
        with np.load(path) as file:
            if f'"epoch": {epoch},' in str(file["progress"]):
                return path


def test_the_newest_of_two_is_used(folder):
    assert len(list(folder.glob("checkpoint-*.npz"))) == 2
    assert newest(folder) == (3, [])


def test_the_state_comes_back(folder, model):
    model.layers[0].bias.assign([0, 0])
    Checkpoints(folder).read(print).restore_model(model)
    assert keras.ops.convert_to_numpy(model.layers[0].bias).tolist() == [3, 3]


def test_a_truncated_one_is_noticed_wherever_it_ends(folder):
    path = file_of(folder, 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        epoch, said = newest(folder)
        assert epoch == 2
        assert str(path) in said[0] and "after epoch 2" in said[0]


def test_a_flipped_bit_never_changes_what_is_read(folder):
    path = file_of(folder, 3)
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    noticed = 0
    for place in chance.integers(len(whole), size=200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.integers(8)
        path.write_bytes(damaged)
        epoch, said = newest(folder)
        assert epoch == (2 if said else 3)
        noticed += bool(said)
    assert noticed > 100


def test_a_new_state_takes_the_place_of_the_damaged_one(folder, model):
    file_of(folder, 3).write_bytes(b"")
    checkpoints = Checkpoints(folder)
    checkpoints.read(lambda line: None)
    checkpoints.save(model, Progress(epoch=4))
    assert newest(folder) == (4, [])
    assert file_of(folder, 2) is not None


def test_both_damaged_is_the_beginning(folder):
    for path in folder.glob("checkpoint-*.npz"):
        path.write_bytes(b"PK")
    epoch, said = newest(folder)
    assert epoch == 0
    assert len(said) == 2


def test_a_write_that_fails_leaves_the_newest(folder, model, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    checkpoints = Checkpoints(folder)
    checkpoints.read(print)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save(model, Progress(epoch=4))
    assert newest(folder) == (3, [])
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("500", Interval(steps=500)),
        ("30s", Interval(seconds=30)),
        ("10min", Interval(seconds=600)),
        ("2h", Interval(seconds=7200)),
    ],
)
def test_interval(text, interval):
    assert Interval.parse(text) == interval


@pytest.mark.parametrize("text", ["", "0", "0min", "often", "-5", "10 parsecs"])
def test_no_interval(text):
    with pytest.raises(ValueError, match="--checkpoint_every must be"):
        Interval.parse(text)
