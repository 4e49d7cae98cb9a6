"""Several replicas in one process train like one."""

import json

import numpy as np
import pytest

from tests.distribution.processes import finish, python


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    out = finish(python("-m", "tests.distribution.replicas", str(folder)))
    return json.loads(out.splitlines()[-1])


CASES = [
    *[(name, number) for name in ("transformation", "fixed") for number in "24"],
    *[(name, "2") for name in ("decoupled", "set", "rigl", "gradual", "early_bird")],
]


@pytest.mark.parametrize(("name", "replicas"), CASES)
def test_the_same_weights_after_50_steps(found, name, replicas):
    assert found[name][replicas]["weights"] < 1e-5


@pytest.mark.parametrize(("name", "replicas"), CASES)
def test_the_same_reported_loss(found, name, replicas):
    assert found[name][replicas]["loss"] < 1e-5


@pytest.mark.parametrize(("name", "replicas"), CASES)
def test_the_same_ticket(found, name, replicas):
    assert found[name][replicas]["same_ticket"]


@pytest.mark.parametrize(("name", "replicas"), CASES)
def test_every_replica_has_the_same_bits(found, name, replicas):
    assert not found[name][replicas]["copies_differ"]


@pytest.mark.parametrize("name", ["fixed", "transformation"])
def test_no_mask_goes_from_replica_to_replica(found, name):
    assert "float32" in found["sent_types"][name]
    assert "bool" not in found["sent_types"][name]


@pytest.mark.parametrize(
    ("name", "replicas"),
    [c for c in CASES if c[0] in ("fixed", "set", "rigl", "gradual")],
)
def test_removed_weights_are_exactly_zero(found, name, replicas):
    assert found[name][replicas]["nonzero"] == 0


@pytest.mark.parametrize(("name", "replicas"), CASES)
def test_nothing_is_left_on_the_variables(found, name, replicas):
    assert not found[name][replicas]["left_behind"]


@pytest.mark.parametrize("kind", ["mixed_bfloat16", "mixed_float16", "compiled"])
def test_zeros_are_exact_in_half_precision(found, kind):
    nonzero, loss, copies_differ = found["half_precision"][kind]
    assert nonzero == 0 and not copies_differ
    assert np.isfinite(loss).all() and loss[-1] < loss[0]


def test_an_overflow_on_one_replica_is_skipped_by_all(found):
    assert found["overflow"] == {"unchanged": True, "scale": 0.5}


def test_statistics_differ_between_replicas_until_they_are_averaged(found):
    statistics = found["statistics"]
    assert statistics["apart_before"] > 1e-3
    assert statistics["apart_after"] == 0
    assert statistics["off_the_mean"] < 1e-6


def test_export_equals_evaluation_once_statistics_are_averaged(found):
    assert found["statistics"]["export"] < 1e-6


def test_synchronized_batch_norm_trains_like_one_device(found):
    assert found["synchronized"] < 1e-5
