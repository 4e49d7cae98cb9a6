import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver

ROOT = Path(__file__).parents[2]

QUICK = (
    "--dataset=digits",
    "--train_examples=256",
    "--model=quickstart_cnn",
    "--epochs=2",
    "--batch_size=32",
    "--learning_rate=0.05",
    "--penalty_growth=0.2",
    "--penalty_every=1",
    "--penalty_hold=6",
    "--transform_batch_size=32",
    "--sparsity=0.9",
    "--seed=0",
    "--noreport",
)


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tensorflow_has_started():
    """Its first lines, which no setting of the environment stops, are out."""
    import keras

    keras.ops.zeros(())


@pytest.fixture(scope="session")
def partly_zero():
    """An untrained network for the digits, one of whose kernels has zeros."""
    import keras

    from official.modeling.layers import plain
    from official.modeling.networks import build_network

    keras.utils.set_random_seed(0)
    network = build_network("quickstart_cnn", input_shape=(8, 8, 1), classes=10)
    kernel = network.get_layer("stage1_conv").kernel
    kernel.assign(keras.ops.where(keras.ops.abs(kernel) > 0.1, kernel, 0.0))
    return plain(network)


@pytest.fixture
def train(tensorflow_has_started, capfd):
    """Runs the program in this process, on a task of a few seconds."""

    def run(*arguments: str) -> Outcome:
        code = _run(arguments)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def train_once():
    """Runs the program as `train` does, for fixtures that tests share."""
    return lambda *arguments: Outcome(_run(arguments), "", "")


def _run(arguments) -> int:
    from dlth_tf import train as program

    with flagsaver.flagsaver():
        program.flags.FLAGS(["train", *QUICK, *arguments])
        return program.main(["train"])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dlth_tf.train", *arguments]


def shell(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the program as a person does."""
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def results_in(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").open()]
