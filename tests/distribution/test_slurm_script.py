"""When the example job goes back into the queue. SLURM's commands are stubs."""

import os
import shutil
import subprocess

import pytest

from tests.distribution.processes import ROOT

STUBS = {
    "srun": 'exit "$CODE"',
    "scontrol": 'echo "$@"',
}


@pytest.fixture
def ended(tmp_path):
    """The script's exit code and requests, after `srun` has returned a code."""
    for name, action in STUBS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{action}\n")
        path.chmod(0o755)

    def run(code: int, **variables: str) -> tuple[int, str]:
        script = subprocess.run(
            [shutil.which("bash"), ROOT / "docs" / "slurm.sbatch"],
            env={
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "CODE": str(code),
                "SLURM_JOB_ID": "17",
                **variables,
            },
            capture_output=True,
            text=True,
        )
        assert not script.stderr
        return script.returncode, script.stdout.strip()

    return run


@pytest.mark.parametrize("code", [75, 137, 143])
def test_a_stopped_or_killed_worker_puts_the_job_back(ended, code):
    assert ended(code) == (code, "requeue 17")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_an_end_or_an_error_of_all_does_not(ended, code):
    assert ended(code) == (code, "")


def test_what_comes_again_and_again_is_given_up(ended):
    assert ended(75, SLURM_RESTART_COUNT="19") == (75, "requeue 17")
    assert ended(75, SLURM_RESTART_COUNT="20") == (75, "")
