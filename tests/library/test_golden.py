"""Equality with the one-shot trajectories that the authors' program produced.

`DLTH_GOLDEN_DIR` names another folder with files of the same format.
"""

import pytest

from tests.library import golden
from tests.library.golden import Golden

ONE_SHOT = [found for found in golden.read_all() if not found.cycles]
FINETUNED = [found for found in ONE_SHOT if "finetune" in found.config]
MLPS = [found for found in ONE_SHOT if found.config["network"] == "mlp"]


def of(trajectories: list[Golden], marks_of_mlps=()):
    marked = [
        pytest.param(t, id=t.name, marks=marks_of_mlps if t in MLPS else ())
        for t in trajectories
    ]
    return pytest.mark.parametrize("trajectory", marked)


def test_the_folder_has_every_kind_of_trajectory():
    assert FINETUNED, f"no one-shot trajectory in {golden.FOLDER}"
    assert MLPS, f"no one-shot trajectory of an mlp in {golden.FOLDER}"


@of(ONE_SHOT, marks_of_mlps=pytest.mark.every_backend)
def test_lambda_is_the_same_at_every_step(trajectory):
    measured = golden.lambdas_in_step(trajectory.transformation())
    assert len(measured) == len(trajectory.lambdas)
    error = abs(measured - trajectory.lambdas).max()
    assert error <= golden.LAMBDA_TOLERANCE


@of(ONE_SHOT, marks_of_mlps=pytest.mark.every_backend)
def test_transformation_follows_every_recorded_step(trajectory):
    last = golden.LAST_COMPARABLE_STEP[trajectory.config["network"]]
    expected = [k for k in trajectory.recorded("step") if k <= last]
    compared = golden.follow_transformation(trajectory, jit_compile=False)
    assert compared[: len(expected)] == expected
    assert expected


@of(FINETUNED, marks_of_mlps=pytest.mark.every_backend)
def test_finetuning_follows_every_recorded_step(trajectory):
    last = golden.last_comparable_finetune_step(trajectory)
    expected = [k for k in trajectory.recorded("finetune_step") if 0 < k <= last]
    assert golden.follow_finetuning_somehow(trajectory) == expected
    assert expected


@of(MLPS)
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 7}])
def test_mlp_however_it_is_compiled(trajectory, options):
    steps = len(trajectory.arrays["batch_indices"])
    compared = golden.follow_transformation(trajectory, **options)
    assert compared[-1] == steps


@of(MLPS)
@pytest.mark.parametrize("alter", ["step", "final", "finetune_step", "mask"])
def test_an_altered_file_is_noticed(trajectory, alter, monkeypatch):
    prefix = alter
    if alter.endswith("step"):
        prefix = f"{alter}{next(k for k in trajectory.recorded(alter) if k)}"
    key = next(k for k in trajectory.arrays if k.startswith(f"{prefix}/"))
    altered = trajectory.arrays[key].copy()
    altered.flat[0] = 1 - altered.flat[0] if alter == "mask" else altered.flat[0] + 1e-3
    monkeypatch.setitem(trajectory.arrays, key, altered)
    with pytest.raises(AssertionError, match="is off by"):
        golden.follow_transformation(trajectory, jit_compile=False)
        golden.follow_finetuning_somehow(trajectory)
