"""The library on the JAX backend, in processes of its own."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax", reason="jax is not installed: nothing of the library on JAX")


@pytest.mark.parametrize(
    "check",
    [
        "library_without_tensorflow",
        "golden_mlp",
        "zeros",
        "schedule",
        "stops",
        "no_trace",
    ],
)
def test_on_jax(check, results):
    assert results[check] == "passed"


@pytest.fixture(scope="module")
def results() -> dict[str, str]:
    """What became of each check; they share one process, as JAX is slow to start."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.library.jax_checks"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    lines = [line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line]
    return dict(lines) or {"none": done.stderr[-3000:]}
