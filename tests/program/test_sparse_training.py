"""The rivals whose masks change during training: set, rigl and gradual."""

import json
import signal

import numpy as np
import pytest

from dlth_tf.experiment.engine.stop_signals import Stopped
from dlth_tf.tickets.ticket import Ticket
from tests.program.conftest import results_in
from tests.program.test_usage import only_line

METHODS = ("set", "rigl", "gradual")
COMMAND = ("--method=set,rigl,gradual", "--epochs=3", "--mask_every=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed")


def arrays(folder):
    return {
        f"{path.parent.name}/{name}": value
        for path in folder.glob("stages/*/weights.npz")
        for name, value in np.load(path).items()
    }


def tickets(folder):
    return {
        f"{path.parent.name}/{name}": mask
        for path in folder.glob("stages/*/stage.ticket")
        for name, mask in Ticket.load(path).masks.items()
    }


def test_results_tell_the_final_masks(train, folder):
    outcome = train(f"--output_dir={folder}", *COMMAND)
    assert outcome.code == 0, outcome.err
    results = {result["method"]: result for result in results_in(folder)}
    assert set(results) == set(METHODS)
    for method, result in results.items():
        assert result["train_images"] == 3 * 256
        weights = np.load(f"{result['stages'][-1]}/weights.npz")
        kernel = weights["stage1_conv/kernel"]
        ticket = Ticket.load(f"{result['stages'][-1]}/stage.ticket")
        assert not kernel[~ticket.masks["stage1_conv"]].any(), method
        per_layer = result["sparsity_per_layer"]
        assert per_layer["stage1_conv"] == pytest.approx(0.9, abs=1e-3), method
        assert per_layer["stem_conv"] == 0.0
        assert result["weights_left"] == pytest.approx(1 - ticket.sparsity)


def test_set_and_rigl_begin_with_the_shared_random_ticket(folder):
    begun = {
        path: json.loads(path.read_text())["definition"]
        for path in folder.glob("stages/train-by-*/stage.json")
    }
    assert len(begun) == 2
    assert len({definition["ticket"] for definition in begun.values()}) == 1
    (start,) = folder.glob("stages/random-ticket*/stage.ticket")
    first = Ticket.load(start).masks["stage1_conv"]
    for path in begun:
        moved = Ticket.load(path.with_name("stage.ticket")).masks["stage1_conv"]
        assert np.count_nonzero(moved) == np.count_nonzero(first)
        assert (moved != first).any()


def test_stopped_after_an_epoch_it_ends_with_the_same_bits(
    train, folder, tmp_path, monkeypatch
):
    from dlth_tf.experiment.engine.fit_callbacks import SaveCheckpoint

    save = SaveCheckpoint.on_epoch_end

    def save_and_stop(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 0:
            raise Stopped(signal.SIGINT)

    monkeypatch.setattr(SaveCheckpoint, "on_epoch_end", save_and_stop)
    stops = 0
    while (outcome := train(f"--output_dir={tmp_path}", *COMMAND)).code == 130:
        stops += 1
    assert outcome.code == 0, outcome.err
    assert stops == len(METHODS)
    for found, wanted in (
        (arrays(tmp_path), arrays(folder)),
        (tickets(tmp_path), tickets(folder)),
    ):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--mask_every=0", ["--mask_every", "0"]),
        ("--mask_every=13", ["--mask_every must be at most 12", "13"]),
        ("--mask_until=1.5", ["--mask_until", "1.5"]),
        ("--drop_fraction=0", ["--drop_fraction", "0"]),
    ],
)
def test_bad_values_end_in_one_line(train, tmp_path, flag, words):
    outcome = train(f"--output_dir={tmp_path}/new", "--method=gradual", flag)
    assert outcome.code == 2
    line = only_line(outcome.err)
    for word in words:
        assert word in line
