"""Killed at any moment, the same command ends with the same bits."""

import random
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.program.conftest import QUICK, ROOT, command, results_in

LONGER = (
    *(*QUICK, "--method=scratch,rst", "--train_examples=1024", "--epochs=6"),
    *("--optimizer=adamw", "--l2=0", "--weight_decay=0.01", "--learning_rate=0.003"),
    *("--schedule=cosine", "--warmup_epochs=2", "--clip_norm=1", "--label_smoothing=0.1"),
)


def start(folder: Path, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(*LONGER, f"--output_dir={folder}", *flags),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, *flags: str) -> str:
    process = start(folder, *flags)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def kill_after_a_checkpoint(folder: Path, seconds: float) -> None:
    """Kills the program a while after it has begun to write, or lets it end."""
    process = start(folder)
    before = checkpoints(folder)
    while process.poll() is None and checkpoints(folder) == before:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def checkpoints(folder: Path) -> set:
    return {
        (path, path.stat().st_mtime_ns)
        for path in folder.glob("stages/*/*.npz")
        if path.exists()
    }


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {
        f"{path.parent.name}/{name}": value
        for path in folder.glob("stages/*/weights.npz")
        for name, value in np.load(path).items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return folder


def test_killed_several_times_it_ends_with_the_same_bits(undisturbed, tmp_path):
    moments = random.Random(0)
    for _ in range(3):
        kill_after_a_checkpoint(tmp_path, moments.uniform(0, 1.5))
    errors = finish(tmp_path)
    expected, found = weights(undisturbed), weights(tmp_path)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    keep = ("method", "test_accuracy", "test_loss", "train_images")
    assert [[r[k] for k in keep] for r in results_in(tmp_path)] == [
        [r[k] for k in keep] for r in results_in(undisturbed)
    ], errors


def test_it_goes_on_from_the_last_epoch(tmp_path):
    process = start(tmp_path, "--method=scratch")
    while not list(tmp_path.glob("stages/*/checkpoint-*.npz")):
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert "going on after epoch" in finish(tmp_path, "--method=scratch")
