"""Faults of one program: nothing is lost but the steps since the last checkpoint."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.folder import ExperimentFolder
from dlth_tf.experiment.plan.stages import Training
from tests.faults.program import after_step, unreadable_batch
from tests.faults.same_results import differences
from tests.program.conftest import ROOT

TASK = ("--method=rst", "--validation_fraction=0.2", "--model=mlp")
DENSE = ("--method=dense", "--model=mlp")
CHANGING = ("--method=set,rigl,gradual,eb", "--mask_every=3", "--model=mlp")


@pytest.fixture
def at_step():
    """Lets a fault happen once, after so many training steps from now."""
    with contextlib.ExitStack() as patches:
        yield lambda number, fault: patches.enter_context(after_step(number, fault))


def epochs_in_logs(stage: Path) -> list[int]:
    """The epochs of a stage that TensorBoard shows."""
    logs = EventAccumulator(str(stage / "logs" / "train")).Reload()
    told = "epoch_loss" in logs.Tags()["tensors"]
    return [event.step for event in logs.Tensors("epoch_loss")] if told else []


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def undisturbed(train_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train_once(*TASK, f"--output_dir={folder}").code == 0
    return folder


def test_sigterm_within_an_epoch(train, at_step, undisturbed, tmp_path):
    at_step(9, terminate)
    outcome = train(*TASK, f"--output_dir={tmp_path}")
    assert outcome.code == 75
    assert "Stopped by SIGTERM" in outcome.err.splitlines()[-1]
    outcome = train(*TASK, f"--output_dir={tmp_path}")
    assert "going on after epoch 1 and 3 steps" in outcome.err
    assert not differences(tmp_path, undisturbed)


def test_an_epoch_is_in_the_logs_before_its_state_is_kept(
    train, at_step, monkeypatch, tmp_path
):
    own, logged = Checkpoints.save, []

    def save(self, *arguments):
        (stage,) = tmp_path.glob("stages/train-*")
        logged.append(epochs_in_logs(stage))
        own(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", save)
    at_step(3, terminate)
    assert train(*DENSE, f"--output_dir={tmp_path}").code == 75
    assert train(*DENSE, f"--output_dir={tmp_path}").code == 0
    assert logged == [[], [0], [0, 1]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exit_code_of_a_signal(train, at_step, tmp_path, number):
    at_step(1, lambda: os.kill(os.getpid(), number))
    code = train(*TASK, f"--output_dir={tmp_path}").code
    assert code == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]


SIGNALS_WHERE_EXCEPTIONS_ARE_LOST = """
import os, signal
from dlth_tf.experiment.engine.stop_signals import StopSignals

class Signalling:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

with StopSignals() as stop, stop.wait():
    for _ in range(2):
        Signalling()
    print("went on")
"""


def test_a_second_signal_ends_the_program_wherever_it_is():
    command = [sys.executable, "-c", SIGNALS_WHERE_EXCEPTIONS_ARE_LOST]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\nStopped at once by a second SIGINT.\n"


def test_disk_full(train, monkeypatch, undisturbed, tmp_path):
    own, left = os.fsync, [6]

    def fsync(file):
        if not str(os.readlink(f"/proc/self/fd/{int_of(file)}")).endswith(".tmp"):
            return own(file)
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        return own(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        outcome = train(*TASK, "--checkpoint_every=2", f"--output_dir={tmp_path}")
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert "checkpoint-" in last and "No space left on device" in last
    assert "The same command goes on once there is room." in last
    assert train(*TASK, f"--output_dir={tmp_path}").code == 0
    assert not differences(tmp_path, undisturbed)


def int_of(file) -> int:
    return file if isinstance(file, int) else file.fileno()


def test_unreadable_data_within_an_epoch(train, undisturbed, tmp_path):
    with unreadable_batch(10, PermissionError(13, "Permission denied", "0017.jpeg")):
        outcome = train(*TASK, "--checkpoint_every=2", f"--output_dir={tmp_path}")
    assert outcome.code == 1
    assert outcome.err.strip().splitlines()[-1] == (
        "Error: rst-0.9-seed0: [Errno 13] Permission denied: '0017.jpeg'"
    )
    outcome = train(*TASK, f"--output_dir={tmp_path}")
    assert "going on after epoch 1 and 2 steps" in outcome.err
    assert not differences(tmp_path, undisturbed)


def test_killed_just_after_a_training_was_finished(train, monkeypatch, tmp_path):
    class Killed(BaseException):
        pass

    own = ExperimentFolder.finish

    def finish(self, stage, record):
        own(self, stage, record)
        if isinstance(stage, Training):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ExperimentFolder, "finish", finish)
        with pytest.raises(Killed):
            train(*DENSE, f"--output_dir={tmp_path}")
    assert list(tmp_path.glob("stages/*/checkpoint-*.npz"))
    assert train(*DENSE, f"--output_dir={tmp_path}").code == 0
    assert not list(tmp_path.glob("stages/*/checkpoint-*.npz"))


@pytest.mark.long
@pytest.mark.parametrize("step", [2, 7, 13, 20, 27, 33])
def test_sigterm_while_masks_change(train, at_step, train_once, tmp_path, step):
    assert train_once(*CHANGING, f"--output_dir={tmp_path}/whole").code == 0
    at_step(step, terminate)
    assert train(*CHANGING, f"--output_dir={tmp_path}/hit").code == 75
    assert train(*CHANGING, f"--output_dir={tmp_path}/hit").code == 0
    assert not differences(tmp_path / "hit", tmp_path / "whole")
