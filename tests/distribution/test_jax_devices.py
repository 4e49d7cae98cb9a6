"""Four devices on JAX, by Keras's own distribution, train like one."""

import json

import numpy as np
import pytest

from tests.distribution.processes import finish, four_jax_devices

pytest.importorskip("jax", reason="jax is not installed: nothing of devices on JAX")

NAMES = ("transformation", "fixed", "set", "rigl")
CASES = [(name, layout) for name in NAMES for layout in ("data", "model")]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("backup"))
    out = finish(four_jax_devices("-m", "tests.distribution.jax_devices", folder))
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_four_devices_train_like_one(found, name, layout):
    assert found[name][layout]["weights"] < 1e-6
    assert found[name][layout]["loss"] < 1e-6
    assert found[name][layout]["same_ticket"]


@pytest.mark.parametrize(("name", "layout"), [c for c in CASES if c[0] in NAMES[1:]])
def test_removed_weights_are_exactly_zero(found, name, layout):
    assert found[name][layout]["nonzero"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_sharded_like_its_kernel(found, name):
    data, model = found[name]["data"], found[name]["model"]
    assert data["parts"] == [[12, 16], [16, 4]]
    assert model["parts"] == [[12, 8], [16, 2]]
    assert data["masks_lie_like_kernels"] and model["masks_lie_like_kernels"]


def test_a_fit_that_raises_leaves_the_optimizer_as_it_was(found):
    assert found["interrupted"]["same_variables"]
    assert np.isfinite(found["interrupted"]["loss_afterwards"]).all()


def test_a_training_goes_on_from_a_backup(found):
    resumed = [found["interrupted"][name] for name in ("weights", "same_ticket", "steps")]
    assert resumed == [0.0, True, 20]


def test_the_program_measures_the_same_on_four_devices(found):
    (one,), (four,) = (found["program"][name]["results"] for name in ("one", "four"))
    assert four["test_accuracy"] == one["test_accuracy"]
    assert four["test_loss"] == pytest.approx(one["test_loss"], abs=1e-5)
    for stage, epochs in one["history"].items():
        for a, b in zip(epochs, four["history"][stage], strict=True):
            assert b == pytest.approx(a, abs=1e-5)


def test_the_program_trains_on_all_devices(found):
    assert found["program"]["devices"] == 4


def test_the_program_goes_on_with_the_same_bits(found):
    program = found["program"]
    assert program["checkpoints"] and program["same_bits"]
    assert "going on after epoch 1 and 3 steps" in program["gone on"]["said"]


def test_the_program_leaves_no_distribution_behind(found):
    assert not any(found["program"][name]["left_behind"] for name in ("four", "gone on"))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("batch", ["--batch_size", "multiple of the 4", "30"]),
        ("strategy", ["one_device, mirrored", "jax", "multi_worker_mirrored"]),
        ("workers", ["--worker_hosts", "jax"]),
        ("gpus", ["--num_gpus=2", "JAX"]),
    ],
)
def test_what_jax_has_no_use_for_is_refused_in_one_line(found, case, words):
    refused = found["program"]["refused"][case]
    (line,) = refused["said"].splitlines()
    assert refused["code"] == 2 and all(word in line for word in words)
