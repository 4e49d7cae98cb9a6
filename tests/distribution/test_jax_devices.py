"""Four devices on JAX, by Keras's own distribution, train like one."""

import json

import numpy as np
import pytest

from tests.distribution.processes import finish, four_jax_devices

pytest.importorskip("jax", reason="jax is not installed: nothing of devices on JAX")

NAMES = ("transformation", "fixed", "set", "rigl", "scaled and averaged")
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
    assert found["raised"]["same_variables"]
    assert np.isfinite(found["raised"]["loss"]).all()


def test_a_training_goes_on_from_a_backup(found):
    assert found["backed up"] == {"weights": 0.0, "same_ticket": True, "steps": 30}
