"""Equality with the trajectories that the authors' program produced.

`DLTH_GOLDEN_DIR` names another folder with files of the same format.
"""

import numpy as np
import pytest

from tests.library import golden
from tests.library.golden import Golden

FILES = sorted(golden.FOLDER.glob("*.npz"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def trajectory(request) -> Golden:
    return one_shot(Golden(request.param))


def one_shot(found: Golden) -> Golden:
    if found.is_iterative:
        pytest.skip(f"{found.name}: an iterative trajectory, methods yet to come")
    return found


def test_the_folder_has_trajectories():
    assert FILES, f"no .npz file in {golden.FOLDER}"


def test_lambda_is_the_same_at_every_step(trajectory):
    measured = golden.lambdas_in_step(trajectory)
    assert len(measured) == len(trajectory.lambdas)
    error = np.abs(measured - trajectory.lambdas).max()
    assert error <= golden.LAMBDA_TOLERANCE


def test_transformation_follows_every_recorded_step(trajectory):
    last = golden.LAST_COMPARABLE_STEP[trajectory.config["network"]]
    expected = [k for k in trajectory.recorded("step") if k <= last]
    compared = golden.follow_transformation(trajectory, jit_compile=False)
    assert compared[: len(expected)] == expected
    assert expected


def test_finetuning_follows_every_recorded_step(trajectory):
    if "finetune" not in trajectory.config:
        pytest.skip(f"{trajectory.name}: holds no finetuning")
    last = golden.last_comparable_finetune_step(trajectory)
    expected = [k for k in trajectory.recorded("finetune_step") if 0 < k <= last]
    assert golden.follow_finetuning_somehow(trajectory) == expected
    assert expected


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 7}])
def test_mlp_however_it_is_compiled(trajectory, options):
    if trajectory.config["network"] != "mlp":
        pytest.skip(f"{trajectory.name}: no mlp, one way of compiling is enough")
    steps = len(trajectory.arrays["batch_indices"])
    compared = golden.follow_transformation(trajectory, **options)
    assert compared[-1] == steps


@pytest.mark.parametrize("alter", ["step", "final", "finetune_step", "mask"])
def test_an_altered_file_is_noticed(trajectory, alter):
    if trajectory.config["network"] != "mlp":
        pytest.skip(f"{trajectory.name}: altered ones take long, the mlp is enough")
    prefix = alter
    if alter.endswith("step"):
        prefix = f"{alter}{next(k for k in trajectory.recorded(alter) if k)}"
    key = next(k for k in trajectory.arrays if k.startswith(f"{prefix}/"))
    altered = trajectory.arrays[key].copy()
    altered.flat[0] = 1 - altered.flat[0] if alter == "mask" else altered.flat[0] + 1e-3
    trajectory.arrays[key] = altered
    with pytest.raises(AssertionError, match="is off by"):
        golden.follow_transformation(trajectory, jit_compile=False)
        golden.follow_finetuning_somehow(trajectory)
