"""Faults of one program: nothing is lost but the steps since the last checkpoint."""

import os
import signal

import pytest

from tests.program import faults

METHODS = "--method=rst,set,rigl,gradual"
TASK = (METHODS, "--mask_every=3", "--validation_fraction=0.2", "--model=mlp")


@pytest.fixture(scope="module")
def undisturbed(train_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train_once(*TASK, f"--output_dir={folder}").code == 0
    return folder


@pytest.mark.parametrize("step", [3, 6, 9, 14, 21, 25, 33])
def test_sigterm_loses_nothing(train, monkeypatch, undisturbed, tmp_path, step):
    with monkeypatch.context() as patch:
        faults.at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        outcome = train(*TASK, f"--output_dir={tmp_path}")
    assert outcome.code == 75
    assert "Stopped by SIGTERM" in outcome.err.splitlines()[-1]
    assert train(*TASK, f"--output_dir={tmp_path}").code == 0
    faults.assert_same(tmp_path, undisturbed)
